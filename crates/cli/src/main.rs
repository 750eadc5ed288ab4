//! `tramline`: STOMP on the command line, and the stores of durable queues.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod commands;
mod connection;
mod failure;
mod output;

use crate::commands::{bridge, load, request, send, store, sub, tail};

/// STOMP on the command line, against any server, and the stores of Tramline's durable queues.
///
/// Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed on the way, 2 wrong command line,
/// 3 no connection, 4 the time is over.
#[derive(Parser)]
#[command(name = "tramline", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sub(sub::Sub),
    Send(send::Send),
    Request(request::Request),
    Tail(tail::Tail),
    Bridge(bridge::Bridge),
    Load(load::Load),
    Store(store::Store),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Sub(command) => command.run().await,
        Command::Send(command) => command.run().await,
        Command::Request(command) => command.run().await,
        Command::Tail(command) => command.run().await,
        Command::Bridge(command) => command.run().await,
        Command::Load(command) => command.run().await,
        Command::Store(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tramline: {failure}");
            failure.code()
        }
    }
}
