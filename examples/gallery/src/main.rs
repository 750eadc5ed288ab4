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
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;
use tramline::settings::Settings;
use tramline::{BuildError, Messaging, MessagingBuilder};
use tramline_example_login::Login;
use tramline_example_notifications::inbox::Inboxes;
use tramline_example_portfolio::Application;
use tramline_example_portfolio::quotes::Quotes;
use tramline_example_transports::Echoes;

/// What a stopping gallery may still take for running handlers and queued messages; with the second that connections get
/// beyond it, less than the ten that orchestrators commonly leave between SIGTERM and SIGKILL.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(8);

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

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
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

    let (begin, begun) = oneshot::channel();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        shutdown_signal().await;
        tracing::info!("stopping");
        // `overdue` below is there whether or not it still listens.
        let _ = begin.send(());
        // Meanwhile axum goes on accepting, and newcomers hear 503.
        demos.shutdown(SHUTDOWN_DEADLINE).await;
    });
    let overdue = async {
        // An error means that the server future, which holds the sender, is gone: then it won the race below.
        let _ = begun.await;
        tokio::time::sleep(SHUTDOWN_DEADLINE + Duration::from_secs(1)).await;
    };
    tokio::select! {
        ended = server => ended?,
        () = overdue => tracing::warn!("some connections did not end in time and are dropped"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Ctrl-C, or SIGTERM where there is one.
async fn shutdown_signal() {
    let interrupt = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "cannot listen for Ctrl-C");
            std::future::pending::<()>().await;
        }
    };

    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen for SIGTERM");
                std::future::pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();

    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
