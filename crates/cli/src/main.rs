//! `tramline`: STOMP on the command line, the stores of durable queues, and the server without Rust.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod commands;
mod connection;
mod failure;
mod gateway;
mod output;

use crate::commands::{bridge, load, request, send, serve, store, sub, tail, user};

/// A server gives the memory of a burst back once it is over.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// STOMP on the command line, against any server; the stores of Tramline's durable queues; and a server that a file
/// describes.
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
    Serve(serve::Serve),
    Check(serve::Check),
    User(user::User),
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
        Command::Serve(command) => command.run().await,
        Command::Check(command) => command.run(),
        Command::User(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tramline: {failure}");
            failure.code()
        }
    }
}
