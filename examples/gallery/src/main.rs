//! The demo applications of Tramline under one roof: `cargo run --release` at the root of the repository.
//!
//! Each demo is a crate of its own next door, with its page beside it; this one mounts them, serves the pages from
//! memory and starts and ends well.

mod libraries;
mod pages;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use clap::Parser;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tramline::serve::stop_signal;
use tramline::settings::Settings;
use tramline::{BuildError, Messaging, MessagingBuilder};
use tramline_example_login::Login;
use tramline_example_notifications::inbox::Inboxes;
use tramline_example_portfolio::Application;
use tramline_example_portfolio::quotes::Quotes;
use tramline_example_transports::Echoes;

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

    let settings = match Settings::load() {
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
    match serve(listener, &settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the gallery ended: {error}");
            ExitCode::FAILURE
        }
    }
}

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
}

impl Demos {
    fn build(settings: &Settings) -> Result<Self, BuildError> {
        // The names are the demos', and the broker carries for them what it carried.
        let in_memory = |name: &'static str, demo: MessagingBuilder| {
            demo.settings(settings)
                .name(name)
                .broker(settings.broker.embedded().topics("/topic"))
                .build()
        };
        let inboxes = Inboxes::default();
        Ok(Self {
            login: Login::new(),
            greeting: in_memory("greeting", tramline_example_greeting::messaging())?,
            greeting_json: in_memory(
                "greeting-json",
                tramline_example_greeting::json::messaging(),
            )?,
            notifications: tramline_example_notifications::messaging(settings, inboxes.clone())
                .build()?,
            inboxes,
            chat: in_memory("chat", tramline_example_chat::messaging())?,
            portfolio: Application::start(
                Messaging::builder().settings(settings),
                Quotes::default(),
            )?,
            transports: Echoes::build()?,
        })
    }

    /// Every page, and the messaging endpoints that the pages talk to.
    fn app(&self) -> Router {
        let app = pages::router()
            .nest_service("/ws", self.greeting.endpoint().with_sockjs())
            .nest_service("/gs-guide-websocket", self.greeting_json.endpoint())
            .merge(tramline_example_notifications::router(
                &self.notifications,
                self.inboxes.clone(),
            ))
            .merge(tramline_example_chat::router(&self.chat))
            .nest_service(
                "/portfolio/ws",
                self.portfolio.messaging().endpoint().with_sockjs(),
            )
            .merge(self.transports.router())
            .merge(self.login.router());
        self.login.identify(app)
    }

    async fn shutdown(&self, deadline: Duration) {
        let left = tokio::join!(
            self.chat.shutdown(deadline),
            self.greeting.shutdown(deadline),
            self.greeting_json.shutdown(deadline),
            self.notifications.shutdown(deadline),
            self.portfolio.shutdown(deadline),
            self.transports.shutdown(deadline)
        );
        let sessions = left.0 + left.1 + left.2 + left.3 + left.4 + left.5;
        if sessions > 0 {
            tracing::warn!(sessions, "some sessions did not end in time");
        }
    }
}

async fn serve(
    listener: TcpListener,
    settings: &Settings,
) -> Result<(), Box<dyn std::error::Error>> {
    let demos = Demos::build(settings)?;
    let app = demos.app();
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
