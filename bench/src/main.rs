//! The server that load generators are pointed at: STOMP at `/stomp`, every topic and queue open to everyone.
//!
//! `cargo run --release -p tramline-bench -- --listen 127.0.0.1:9002`

use std::future::IntoFuture;
use std::net::SocketAddr;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use tramline::endpoint::Compression;
use tramline::policy::{Policy, permit};
use tramline::serve::ServeLimits;
use tramline::{EmbeddedBroker, MessageRouter, Messaging, message};

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9002")]
    listen: SocketAddr,
    /// Worker threads; 0 runs everything on one thread without a scheduler of several.
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Compress messages of so many bytes and more for clients that offer it.
    #[arg(long)]
    compress_above: Option<u32>,
    /// Connections that one address may have.
    #[arg(long, default_value_t = 20_000)]
    connections_per_address: usize,
    /// Log to standard error, as `info` or `tramline=debug`; nothing unless given.
    #[arg(long)]
    log: Option<EnvFilter>,
}

/// Sends what it gets to a topic: `/app/bench` and `/app/echo/{name}` for going through a handler.
async fn relay(body: String) -> String {
    body
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    if let Some(filter) = options.log {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
    }
    let compression = options
        .compress_above
        .map_or(Compression::Off, Compression::AboveSize);
    let runtime = match options.workers {
        0 => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .global_queue_interval(EVENT_INTERVAL)
            .build()?,
        workers => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .global_queue_interval(EVENT_INTERVAL)
            .build()?,
    };
    runtime.block_on(async {
        let messaging = Messaging::builder()
            .name("bench")
            .routes(
                MessageRouter::new()
                    .route("/bench", message(relay).send_to("/topic/bench"))
                    .route("/echo/{name}", message(relay).send_to("/topic/echo/{name}")),
            )
            .broker(EmbeddedBroker::new().topics("/topic").queues("/queue"))
            .policy(Policy::builder().otherwise(permit()))
            .compression(compression)
            .build()?;
        let app: axum::Router =
            axum::Router::new().nest_service("/stomp", messaging.endpoint().with_sockjs());
        let mut limits = ServeLimits::default();
        limits.connections_per_address = options.connections_per_address;
        let listener = tokio::net::TcpListener::bind(options.listen).await?;
        println!("listening on {}", listener.local_addr()?);
        // In a task of its own: the thread that blocks on a future is not as cheap to wake.
        tokio::spawn(tramline::serve(listener, app).limits(limits).into_future()).await??;
        Ok(())
    })
}

/// Turns of tasks between two looks at the sockets: see the guide's page on deploying.
const EVENT_INTERVAL: u32 = 31;
