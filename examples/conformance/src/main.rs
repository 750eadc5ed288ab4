//! The server that foreign test suites and clients point at: `cargo run -p tramline-example-conformance`.
//!
//! One module per service, each of which gives a router and says what is in it. The README says how to run each suite.

mod raw;
mod stomp;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use clap::Parser;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use tramline::Messaging;

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
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error")),
        )
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the conformance server ended: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let http = bind(&options.listen, "--listen").await?;
    let tcp = bind(&options.stomp_tcp, "--stomp-tcp").await?;
    let stomp = stomp::messaging()?;
    let raw = raw::services()?;
    let app = Router::new()
        .merge(stomp::router(&stomp))
        .merge(raw.router());

    // Whoever starts this reads where it listens.
    println!("HTTP: http://{}", http.local_addr()?);
    println!("STOMP over TCP: {}", tcp.local_addr()?);
    let stomp_tcp = stomp.serve_tcp(tcp);
    let web = async { axum::serve(http, app).await };
    tokio::select! {
        ended = web => ended?,
        ended = stomp_tcp => ended?,
        () = stop_signal() => shutdown(&stomp, &raw).await,
    }
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

/// Ctrl-C, or SIGTERM where there is one.
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
