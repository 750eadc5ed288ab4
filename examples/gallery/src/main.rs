//! The demo applications of Tramline under one roof: `cargo run --release` at the root of the repository.
//!
//! Each demo is a crate of its own next door, with its page beside it; this one mounts them, serves the pages from
//! memory and starts and ends well.

mod libraries;
mod operations;
mod pages;

use std::env;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use clap::Parser;
use serde::Serialize;
use tokio::net::TcpListener;
use tower_sessions::ExpiredDeletion;
use tower_sessions_rusqlite_store::RusqliteStore;
use tower_sessions_rusqlite_store::tokio_rusqlite::Connection;
use tracing_subscriber::EnvFilter;
use tramline::serve::stop_signal;
use tramline::settings::{Settings, SettingsError};
use tramline::{BuildError, Messaging, MessagingBuilder};
use tramline_example_login::{login, people};
use tramline_example_notifications::Key;
use tramline_example_notifications::inbox::Inboxes;
use tramline_example_portfolio::Application;
use tramline_example_portfolio::quotes::Quotes;
use tramline_example_transports::Echoes;
use tramline_login::{FileUsers, Login};

/// What a stopping gallery may still take for running handlers and queued messages; with what requests get beyond it
/// (`serve.shutdown_time`), the ten seconds that orchestrators commonly leave between SIGTERM and SIGKILL.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

/// Tramline's demo applications.
///
/// Limits and options: `tramline.toml` here, or the file that TRAMLINE_CONFIG names, and variables such as
/// TRAMLINE_LIMITS_BODY.
#[derive(Debug, Parser)]
#[command(name = "gallery", version)]
struct Options {
    /// Address to listen on; port 0 takes any free port.
    #[arg(
        long,
        env = "TRAMLINE_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    listen: String,

    /// File of users, a line `name:hash` for each, in place of the demos' three.
    #[arg(long, env = "TRAMLINE_USERS", value_name = "FILE")]
    users: Option<PathBuf>,

    /// SQLite file of the web sessions, which outlive a restart.
    #[arg(
        long,
        env = "TRAMLINE_SESSIONS",
        value_name = "FILE",
        default_value = "gallery-sessions.sqlite"
    )]
    sessions: PathBuf,

    /// User who may use the console at /console and read /metrics; ada, unless the users are of a file.
    #[arg(long, env = "TRAMLINE_OPERATOR", value_name = "NAME")]
    operator: Option<String>,
}

impl Options {
    /// The name of the operator; nobody's without one.
    fn operator(&self) -> Option<String> {
        let of_demos = || self.users.is_none().then(|| "ada".to_owned());
        self.operator.clone().or_else(of_demos)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    // So that sockets are read between the turns of thousands of sessions: see the guide's page on deploying.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(31)
        .global_queue_interval(31)
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(options)),
        Err(error) => {
            eprintln!("there is no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();

    let settings = match settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}\nAll keys: crates/tramline/src/guide/settings.md");
            return ExitCode::FAILURE;
        }
    };
    let listener = match TcpListener::bind(&options.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!(
                "cannot listen on {}: {error}\nChoose another address with --listen ADDR or TRAMLINE_LISTEN=ADDR.",
                options.listen
            );
            return ExitCode::FAILURE;
        }
    };
    match serve(listener, &options, &settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the gallery ended: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As [`Settings::load`] reads them, with heart-beats that show a page within seconds that its server hangs.
fn settings() -> Result<Settings, SettingsError> {
    let mut defaults = Settings::default();
    defaults.limits.heart_beat.send = HEART_BEAT;
    let loader = Settings::loader().defaults(defaults);
    let loader = match env::var_os("TRAMLINE_CONFIG") {
        Some(path) if !path.is_empty() => loader.file(path),
        _ => loader.file_if_there("tramline.toml"),
    };
    loader.environment("TRAMLINE").load()
}

/// Milliseconds; `page/connection.js` asks for as much.
const HEART_BEAT: u32 = 2_000;

/// Where the endpoints are: the login leaves it to them whose pages may use them.
const SOCKETS: [&str; 10] = [
    "/ws",
    "/gs-guide-websocket",
    "/chat/ws",
    "/notifications/ws",
    "/portfolio/ws",
    "/whiteboard/ws",
    "/echo",
    "/echo-without-websocket",
    "/echo-polling",
    "/echo-rest",
];

/// The demos' messaging, one stack each; the echoes, which need none; and the login that the demos share.
struct Demos {
    login: Login,
    chat: Messaging,
    greeting: Messaging,
    greeting_json: Messaging,
    notifications: Messaging,
    inboxes: Inboxes,
    portfolio: Application,
    transports: Echoes,
    whiteboard: Messaging,
}

impl Demos {
    fn build(login: Login, settings: &Settings) -> Result<Self, BuildError> {
        // The names are the demos', and the broker carries for them what it carried.
        let in_memory = |name: &'static str, demo: MessagingBuilder| {
            demo.settings(settings)
                .name(name)
                .broker(settings.broker.embedded().topics("/topic"))
                .build()
        };
        let inboxes = Inboxes::default();
        Ok(Self {
            greeting: in_memory("greeting", tramline_example_greeting::messaging())?,
            greeting_json: in_memory(
                "greeting-json",
                tramline_example_greeting::json::messaging(),
            )?,
            notifications: login
                .bind(tramline_example_notifications::messaging(
                    settings,
                    inboxes.clone(),
                ))
                .build()?,
            inboxes,
            chat: login
                .bind(tramline_example_chat::messaging())
                .settings(settings)
                .name("chat")
                .broker(tramline_example_chat::broker(settings.broker.embedded()))
                .build()?,
            portfolio: Application::start(
                login.bind(Messaging::builder()).settings(settings),
                Quotes::default(),
            )?,
            transports: Echoes::build()?,
            whiteboard: login
                .bind(tramline_example_whiteboard::messaging())
                .settings(settings)
                .name("whiteboard")
                .broker(tramline_example_whiteboard::broker(
                    settings.broker.embedded(),
                ))
                .build()?,
            login,
        })
    }

    /// Every page, and the messaging endpoints that the pages talk to.
    fn app(&self, operator: Option<String>) -> Router {
        let app = pages::router()
            .nest_service("/ws", self.greeting.endpoint().with_sockjs())
            .nest_service("/gs-guide-websocket", self.greeting_json.endpoint())
            .merge(tramline_example_notifications::router(
                &self.notifications,
                self.inboxes.clone(),
                Key::random(),
            ))
            .merge(tramline_example_chat::router(&self.chat))
            .merge(tramline_example_whiteboard::router(&self.whiteboard))
            .nest_service(
                "/portfolio/ws",
                self.portfolio.messaging().endpoint().with_sockjs(),
            )
            .merge(self.transports.router())
            .merge(tramline_example_login::router())
            .merge(operations::router(&self.stacks(), operator));
        let stacks = self.stacks().map(Messaging::clone);
        let figures = get(async move || axum::Json(Figures::of(&stacks)));
        self.login.protect(app.route("/figures", figures))
    }

    fn stacks(&self) -> [&Messaging; 6] {
        [
            &self.chat,
            &self.greeting,
            &self.greeting_json,
            &self.notifications,
            self.portfolio.messaging(),
            &self.whiteboard,
        ]
    }

    async fn shutdown(&self, deadline: Duration) {
        let left = tokio::join!(
            self.chat.shutdown(deadline),
            self.greeting.shutdown(deadline),
            self.greeting_json.shutdown(deadline),
            self.notifications.shutdown(deadline),
            self.portfolio.shutdown(deadline),
            self.transports.shutdown(deadline),
            self.whiteboard.shutdown(deadline)
        );
        let sessions = left.0 + left.1 + left.2 + left.3 + left.4 + left.5 + left.6;
        if sessions > 0 {
            tracing::warn!(sessions, "some sessions did not end in time");
        }
    }
}

/// What the first page shows of the running server.
#[derive(Debug, Default, Serialize)]
struct Figures {
    sessions: u64,
    received: u64,
    sent: u64,
}

impl Figures {
    fn of(stacks: &[Messaging]) -> Self {
        stacks
            .iter()
            .map(Messaging::stats)
            .fold(Self::default(), |sum, stats| Self {
                sessions: sum.sessions + stats.sessions_open,
                received: sum.received + stats.messages_received,
                sent: sum.sent + stats.messages_sent,
            })
    }
}

/// The store of web sessions in an SQLite file, which is made if there is none.
async fn sessions(file: &Path) -> Result<RusqliteStore, Box<dyn std::error::Error>> {
    let store = RusqliteStore::new(Connection::open(file).await?);
    store.migrate().await?;
    let expired = store.clone();
    tokio::spawn(async move {
        loop {
            if let Err(error) = expired.delete_expired().await {
                tracing::warn!(%error, "expired web sessions not deleted");
            }
            tokio::time::sleep(EXPIRED_DELETED_EVERY).await;
        }
    });
    Ok(store)
}

const EXPIRED_DELETED_EVERY: Duration = Duration::from_secs(600);

async fn serve(
    listener: TcpListener,
    options: &Options,
    settings: &Settings,
) -> Result<(), Box<dyn std::error::Error>> {
    let login = match &options.users {
        Some(file) => login(FileUsers::read(file)?),
        None => login(people()),
    };
    let sessions = sessions(&options.sessions).await.map_err(|error| {
        let file = options.sessions.display();
        format!("web sessions in {file}: {error}; choose another file with --sessions FILE or TRAMLINE_SESSIONS=FILE")
    })?;
    let login = SOCKETS
        .iter()
        .fold(login, |login, path| login.sockets(path));
    let login = login.store(sessions).page(pages::login).build()?;
    let demos = Demos::build(login, settings)?;
    let app = demos.app(options.operator());
    println!("Tramline gallery: http://{}", listener.local_addr()?);

    let server = tramline::serve(listener, app)
        .limits(settings.serve.clone())
        .trusted_proxies(settings.trusted_proxies.iter().cloned());
    server
        .with_graceful_shutdown(async move {
            stop_signal().await;
            tracing::info!("stopping");
            // Meanwhile the server goes on accepting, and newcomers are refused by 503.
            demos.shutdown(SHUTDOWN_DEADLINE).await;
        })
        .await?;
    tracing::info!("stopped");
    Ok(())
}
