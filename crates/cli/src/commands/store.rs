use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tramline_store::{OpenError, Report, export, inspect, repair};

use crate::failure::Failure;
use crate::output::line;

/// Look at the store of an embedded broker's durable queues, check it, read it out, mend it.
///
/// Its report goes to stderr. Exit code 1 if something that was confirmed may be gone.
#[derive(Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print each queue as a line of JSON: `queue`, `messages`, `bytes`. Changes nothing.
    Inspect(Directory),
    /// Check every byte, and print only what is wrong. Changes nothing.
    Verify(Directory),
    /// Write all messages as STOMP frames SEND, which any client can send again. Changes nothing.
    Export(Directory),
    /// Cut off what was never confirmed and set aside what is damaged, as the application does when it starts. The store
    /// must not be in use.
    Repair(Directory),
}

#[derive(Args)]
struct Directory {
    /// The store's directory.
    directory: PathBuf,
}

impl Store {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (directory, report) = match self.action {
            Action::Inspect(Directory { directory }) => {
                let report = inspect(&directory).map_err(failed(&directory))?;
                for queue in &report.queues {
                    let (name, messages, bytes) = (&*queue.name, queue.messages, queue.bytes);
                    line(
                        &json!({ "queue": name, "messages": messages, "bytes": bytes }).to_string(),
                    )?;
                }
                (directory, report)
            }
            Action::Verify(Directory { directory }) => {
                let report = inspect(&directory).map_err(failed(&directory))?;
                (directory, report)
            }
            Action::Export(Directory { directory }) => {
                let mut out = stdout().lock();
                let report = export(&directory, &mut out).map_err(failed(&directory))?;
                out.flush().map_err(Failure::io("cannot write to stdout"))?;
                (directory, report)
            }
            Action::Repair(Directory { directory }) => {
                let report = repair(&directory).map_err(failed(&directory))?;
                (directory, report)
            }
        };
        reported(&directory, &report)
    }
}

fn failed(directory: &std::path::Path) -> impl FnOnce(OpenError) -> Failure {
    let directory = directory.display().to_string();
    |error| Failure::Store(directory, error)
}

fn reported(directory: &std::path::Path, report: &Report) -> Result<(), Failure> {
    let directory = directory.display();
    eprintln!("{directory}: {report}");
    match report.has_losses() {
        true => Err(Failure::Lost(directory.to_string())),
        false => Ok(()),
    }
}
