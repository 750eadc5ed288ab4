//! One node of an application that stands behind nginx or HAProxy, with `nginx.conf` and `haproxy.cfg` next to it.
//!
//! `cargo run -p tramline-example-behind-a-proxy -- --listen 127.0.0.1:8080 --node a`; the guide's page "behind a proxy" says
//! what each setting of the three is for.

use std::io::{self, IsTerminal};
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use clap::Parser;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tramline::limits::HeartBeat;
use tramline::login::Handshake;
use tramline::policy::{Policy, deny, permit};
use tramline::serve::stop_signal;
use tramline::{
    BuildError, EmbeddedBroker, Limits, MessageRouter, Messaging, SockJs, State, message,
};

/// What a stopping node may take for handlers that run and messages that wait.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(8);

/// One node of an application behind a proxy.
#[derive(Debug, Parser)]
#[command(name = "behind-a-proxy", version)]
struct Options {
    /// Address to listen on; port 0 takes any free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// What this node calls itself in its greetings.
    #[arg(long, value_name = "NAME", default_value = "a")]
    node: String,
    /// Milliseconds between heart-beats, each way.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    heart_beat: u32,
    /// The proxy's address or network; its X-Forwarded-... headers count.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    trusted_proxy: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();

    let messaging = messaging(&options)?;
    let endpoint = messaging
        .endpoint()
        .sockjs(SockJs::default().session_cookie(true));
    let page = Html(format!(
        "<!doctype html><title>Node {}</title>",
        options.node
    ));
    let app = Router::new()
        .route("/", get(page))
        .nest_service("/ws", endpoint);

    let listener = TcpListener::bind(&options.listen).await?;
    println!("node {}: http://{}", options.node, listener.local_addr()?);
    serve(listener, app, messaging, options.trusted_proxy).await?;
    Ok(())
}

async fn greet(State(node): State<String>, handshake: Handshake, name: String) -> String {
    let address = match handshake.remote() {
        Some(remote) => remote.ip().to_string(),
        None => "an unknown address".to_owned(),
    };
    format!("Hello, {name} at {address}, from node {node}!")
}

fn messaging(options: &Options) -> Result<Messaging, BuildError> {
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/greetings", permit())
        .otherwise(deny());
    let mut limits = Limits::default();
    limits.heart_beat = HeartBeat {
        send: options.heart_beat,
        receive: options.heart_beat,
    };
    let routes = MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings"));

    Messaging::builder()
        .name("behind-a-proxy")
        .routes(routes.with_state(options.node.clone()))
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy)
        .limits(limits)
        .trusted_proxies([options.trusted_proxy.clone()])
        .build()
}

/// Serves until SIGTERM or Ctrl-C. Then newcomers are refused by 503, which sends the proxy to another node, and whoever
/// is here is closed with 1001 and comes back to one.
async fn serve(
    listener: TcpListener,
    app: Router,
    messaging: Messaging,
    trusted_proxy: String,
) -> io::Result<()> {
    tramline::serve(listener, app)
        .trusted_proxies([trusted_proxy])
        .with_graceful_shutdown(async move {
            stop_signal().await;
            let left = messaging.shutdown(SHUTDOWN_DEADLINE).await;
            if left > 0 {
                tracing::warn!(left, "some sessions did not end in time");
            }
        })
        .await
}
