//! `cargo run --release -p tramline-load -- --help`

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use tramline_load::attack::{self, Times};
use tramline_load::connection::Target;
use tramline_load::flood::{self, Flood};
use tramline_load::workload::{self, NAMED};

/// Loads or attacks a server that speaks STOMP over WebSocket, and prints one line of JSON.
#[derive(Debug, Parser)]
#[command(name = "tramline-load")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the names of workloads and attacks, as JSON.
    List,
    /// Runs a workload and measures the server.
    Run {
        name: String,
        #[command(flatten)]
        server: Server,
        /// Measures less, in two or three seconds.
        #[arg(long)]
        quick: bool,
    },
    /// Measures what an attack does to an innocent client and to the server's memory.
    Attack {
        name: String,
        #[command(flatten)]
        server: Server,
        /// File that the server's standard error goes to.
        #[arg(long, value_name = "FILE")]
        log: PathBuf,
        /// Shorter times, and memory after ten seconds instead of a minute.
        #[arg(long)]
        quick: bool,
    },
    /// Attacks, and measures nothing.
    Flood {
        name: String,
        #[arg(long)]
        url: Target,
        #[arg(long)]
        seconds: u64,
    },
}

#[derive(Debug, clap::Args)]
struct Server {
    /// The server's endpoint: ws://ADDRESS:PORT/PATH.
    #[arg(long)]
    url: String,
    /// The server's process.
    #[arg(long)]
    pid: u32,
}

fn main() -> ExitCode {
    match start(Options::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tramline-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(command: Command) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command {
        Command::List => println!("{}", list()),
        Command::Run {
            name,
            server,
            quick,
        } => {
            let named = NAMED.iter().find(|named| named.name == name);
            let named = named.ok_or_else(|| unknown(&name))?;
            let workload = if quick { named.quick } else { named.full };
            let target = target(&server.url)?;
            let outcome = runtime.block_on(workload::run(workload, &target, server.pid))?;
            println!("{}", serde_json::to_string(&outcome)?);
        }
        Command::Attack {
            name,
            server,
            log,
            quick,
        } => {
            let flood = Flood::named(&name).ok_or_else(|| unknown(&name))?;
            let times = if quick { Times::QUICK } else { Times::FULL };
            let target = target(&server.url)?;
            let run = attack::run(flood, &target, &server.url, server.pid, &log, times);
            println!("{}", serde_json::to_string(&runtime.block_on(run)?)?);
        }
        Command::Flood { name, url, seconds } => {
            let flood = Flood::named(&name).ok_or_else(|| unknown(&name))?;
            let time = Duration::from_secs(seconds);
            let done = runtime.block_on(flood::run(flood, url, time, 1.0));
            println!("{done}");
        }
    }
    Ok(())
}

fn target(url: &str) -> io::Result<Target> {
    url.parse().map_err(io::Error::other)
}

fn list() -> Value {
    let workloads = NAMED
        .iter()
        .map(|named| json!({ "name": named.name, "what": named.what }));
    let attacks = Flood::ALL
        .iter()
        .map(|flood| json!({ "name": flood.name(), "what": flood.what() }));
    json!({ "workloads": workloads.collect::<Vec<_>>(), "attacks": attacks.collect::<Vec<_>>() })
}

fn unknown(name: &str) -> io::Error {
    io::Error::other(format!(
        "nothing is called {name:?}; `list` prints the names"
    ))
}
