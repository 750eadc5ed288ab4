//! One node of an application that stands behind nginx or HAProxy, with `nginx.conf` and `haproxy.cfg` next to it.
//!
//! `cargo run -p tramline-example-behind-a-proxy -- --listen 127.0.0.1:8080 --node a`; the guide's page "behind a proxy" says
//! what each setting of the three is for.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, Response};
use axum::routing::get;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;
use tramline::limits::HeartBeat;
use tramline::login::Handshake;
use tramline::policy::{Policy, deny, permit};
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
        .nest_service("/ws", endpoint)
        .layer(from_fn(remote));

    let listener = TcpListener::bind(&options.listen).await?;
    println!("node {}: http://{}", options.node, listener.local_addr()?);
    serve(listener, app, messaging).await
}

/// Who is at the other end of the connection, the proxy, so that it is known whether it may be believed.
async fn remote(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(peer);
    next.run(request).await
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

/// Serves until SIGTERM or Ctrl-C. Then newcomers hear 503, which sends the proxy to another node, and whoever is here is
/// closed with 1001 and comes back to one.
async fn serve(
    listener: TcpListener,
    app: Router,
    messaging: Messaging,
) -> Result<(), Box<dyn std::error::Error>> {
    let (begin, begun) = oneshot::channel();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        stop_signal().await;
        // `overdue` below is there whether or not it still listens.
        let _ = begin.send(());
        let left = messaging.shutdown(SHUTDOWN_DEADLINE).await;
        if left > 0 {
            tracing::warn!(left, "some sessions did not end in time");
        }
    });
    let overdue = async {
        // An error means that the server, which holds the sender, is gone: then it won the race below.
        let _ = begun.await;
        tokio::time::sleep(SHUTDOWN_DEADLINE + Duration::from_secs(1)).await;
    };
    tokio::select! {
        ended = server => ended?,
        () = overdue => tracing::warn!("some connections did not end in time and are dropped"),
    }
    Ok(())
}

/// SIGTERM where there is one, or Ctrl-C.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                Ok(()) = tokio::signal::ctrl_c() => return,
            }
        }
    }
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "cannot listen for Ctrl-C");
        std::future::pending::<()>().await;
    }
}
