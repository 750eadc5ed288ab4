use std::{pin::pin, time::Duration};

use clap::{Args, ValueEnum};
use tramline_client::{AckMode, Overflow};

use super::{Stop, stop};
use crate::connection::{Connection, header, seconds};
use crate::failure::Failure;
use crate::output::{Progress, line, object};

/// Print the messages of a destination, each as a line of JSON.
///
/// With --ack, a message is acknowledged when its line is written.
#[derive(Args)]
pub(crate) struct Sub {
    /// What to subscribe to.
    destination: String,
    #[command(flatten)]
    connection: Connection,
    /// Who acknowledges.
    #[arg(long, value_enum, default_value = "auto")]
    ack: Ack,
    /// How many messages may be unacknowledged.
    #[arg(long)]
    prefetch: Option<u32>,
    /// A header of SUBSCRIBE, as NAME:VALUE.
    #[arg(short = 'H', long, value_parser = header)]
    header: Vec<(String, String)>,
    /// Do not wait for the receipt of SUBSCRIBE, for servers that send none.
    #[arg(long)]
    unconfirmed: bool,
    /// End after so many messages.
    #[arg(short = 'n', long)]
    count: Option<u64>,
    /// End after so many seconds.
    #[arg(long = "for", value_parser = seconds)]
    duration: Option<Duration>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Ack {
    Auto,
    Client,
    ClientIndividual,
}

impl From<Ack> for AckMode {
    fn from(ack: Ack) -> Self {
        match ack {
            Ack::Auto => Self::Auto,
            Ack::Client => Self::Client,
            Ack::ClientIndividual => Self::ClientIndividual,
        }
    }
}

impl Sub {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.connect(false).await?;
        let mut subscribe = client
            .subscribe(self.destination)
            .ack(self.ack.into())
            .overflow(Overflow::PushBack);
        if let Some(prefetch) = self.prefetch {
            subscribe = subscribe.prefetch(prefetch);
        }
        for (name, value) in self.header {
            subscribe = subscribe.header(name, value);
        }
        if self.unconfirmed {
            subscribe = subscribe.unconfirmed();
        }
        let mut messages = subscribe.await?;
        eprintln!("subscribed");
        let mut progress = Progress::new("messages");
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut stopping = pin!(stop(self.duration));
        while left > 0 {
            let message = tokio::select! {
                message = messages.next() => message,
                stopped = &mut stopping => {
                    progress.done();
                    client.disconnect().await?;
                    return match (stopped, self.count) {
                        (Stop::TimeOver, Some(count)) => Err(Failure::TimeOver(format!(
                            "only {} of {count} messages came in time", count - left
                        ))),
                        _ => Ok(()),
                    };
                }
            };
            let Some(message) = message else {
                break;
            };
            let message = message?;
            line(&object(&message).to_string())?;
            if !matches!(self.ack, Ack::Auto) {
                message.ack().await?;
            }
            progress.add(1);
            left -= 1;
        }
        progress.done();
        Ok(client.disconnect().await?)
    }
}
