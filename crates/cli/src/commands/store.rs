use std::io::{Write, stdout};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tramline_store::{Report, export, inspect, repair};

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
        let (Action::Inspect(Directory { directory })
        | Action::Verify(Directory { directory })
        | Action::Export(Directory { directory })
        | Action::Repair(Directory { directory })) = &self.action;
        let report = match &self.action {
            Action::Inspect(_) | Action::Verify(_) => inspect(directory),
            Action::Export(_) => export(directory, &mut stdout().lock()),
            Action::Repair(_) => repair(directory),
        };
        let place = directory.display().to_string();
        let report = report.map_err(|error| Failure::Store(place.clone(), error))?;
        match &self.action {
            Action::Inspect(_) => queues(&report)?,
            Action::Export(_) => stdout()
                .flush()
                .map_err(Failure::io("cannot write to stdout"))?,
            Action::Verify(_) | Action::Repair(_) => {}
        }
        eprintln!("{place}: {report}");
        match report.has_losses() {
            true => Err(Failure::Lost(place)),
            false => Ok(()),
        }
    }
}

fn queues(report: &Report) -> Result<(), Failure> {
    report.queues.iter().try_for_each(|queue| {
        let (name, messages, bytes) = (&*queue.name, queue.messages, queue.bytes);
        line(&json!({ "queue": name, "messages": messages, "bytes": bytes }).to_string())
    })
}
