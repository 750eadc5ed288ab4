//! The commands, one a file: options as a `clap` struct, and `run`.

use std::time::Duration;

use tokio::{signal::ctrl_c, time::sleep};

pub(crate) mod bridge;
pub(crate) mod load;
pub(crate) mod request;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod store;
pub(crate) mod sub;
pub(crate) mod tail;
pub(crate) mod user;

/// Why a command that runs for ever stops.
#[derive(PartialEq, Eq)]
pub(crate) enum Stop {
    CtrlC,
    TimeOver,
}

/// Waits for Ctrl-C, or for the time to be over.
pub(crate) async fn stop(limit: Option<Duration>) -> Stop {
    let time_over = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Without a handler the signal ends the process, as it does without us.
        Ok(()) = ctrl_c() => Stop::CtrlC,
        () = time_over => Stop::TimeOver,
    }
}
