//! `cargo run --release -p tramline-floor -- --listen 127.0.0.1:9001`

use std::io;
use std::net::SocketAddr;

use clap::Parser;

/// The least that a STOMP server over WebSocket can do.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .global_queue_interval(EVENT_INTERVAL)
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(options.listen).await?;
        println!("listening on {}", listener.local_addr()?);
        // In a task of its own: the thread that blocks on a future is not as cheap to wake.
        tokio::spawn(tramline_floor::serve(listener)).await?
    })
}

/// As `tramline-bench` has it.
const EVENT_INTERVAL: u32 = 31;
