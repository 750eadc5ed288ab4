//! The server that foreign test suites and clients point at: `cargo run -p tramline-example-conformance`.
//!
//! One module per service, each of which gives a router and says what is in it. The README says how to run each suite.

mod raw;
mod stomp;

use std::future::IntoFuture;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use clap::Parser;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tramline::Messaging;
use tramline::serve::stop_signal;

/// What suites and foreign clients connect to.
#[derive(Debug, Parser)]
#[command(name = "conformance", version)]
struct Options {
    /// Address for HTTP, WebSocket and SockJS; port 0 takes any free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    listen: String,
    /// Address for STOMP over TCP; port 0 takes any free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:61613")]
    stomp_tcp: String,
    /// Directory of the queues below `/queue/durable/` and of durable subscriptions below `/topic/durable/`; without it
    /// frames there are refused.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error")),
        )
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match start(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the conformance server ended: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    // So that sockets are read between the turns of thousands of sessions: see the guide's page on deploying.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(31)
        .global_queue_interval(31)
        .build()?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let http = bind(&options.listen, "--listen").await?;
    let tcp = bind(&options.stomp_tcp, "--stomp-tcp").await?;
    let stomp = stomp::messaging(options.data.as_deref())?;
    let raw = raw::services()?;
    let app = Router::new()
        .merge(stomp::router(&stomp))
        .merge(raw.router());

    // Whoever starts this reads where it listens.
    println!("HTTP: http://{}", http.local_addr()?);
    println!("STOMP over TCP: {}", tcp.local_addr()?);
    let stomp_tcp = stomp.serve_tcp(tcp);
    let stopping = stomp.clone();
    // Suites open as many connections as they like, all from here.
    let web = tramline::serve(http, app)
        .trusted_proxies(["*"])
        .with_graceful_shutdown(async move {
            stop_signal().await;
            shutdown(&stopping, &raw).await;
        });
    // Ends with the stack's shutdown.
    let (web, stomp_tcp) = tokio::join!(web.into_future(), stomp_tcp);
    web.and(stomp_tcp)?;
    Ok(())
}

async fn bind(address: &str, option: &str) -> Result<TcpListener, String> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose another address with {option}")
    })
}

async fn shutdown(stomp: &Messaging, raw: &raw::Services) {
    let deadline = Duration::from_secs(5);
    let (stomp, raw) = tokio::join!(stomp.shutdown(deadline), raw.shutdown(deadline));
    let left = stomp + raw;
    if left > 0 {
        tracing::warn!(left, "some sessions did not end in time");
    }
}
