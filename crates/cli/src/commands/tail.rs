use std::pin::pin;

use clap::Args;
use tramline_client::State;

use super::stop;
use crate::connection::{Connection, header};
use crate::failure::Failure;
use crate::output::line;

/// Print the bodies of a destination's messages, one a line, for ever.
///
/// A lost connection is opened again, and topics with positions go on where they were.
#[derive(Args)]
pub(crate) struct Tail {
    /// What to subscribe to.
    destination: String,
    #[command(flatten)]
    connection: Connection,
    /// A header of SUBSCRIBE, as NAME:VALUE.
    #[arg(short = 'H', long, value_parser = header)]
    header: Vec<(String, String)>,
    /// Print each message's destination in front.
    #[arg(long)]
    destinations: bool,
}

impl Tail {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.connect(true).await?;
        let mut states = client.states();
        tokio::spawn(async move {
            while let Some(state) = states.next().await {
                match state {
                    State::Connected => eprintln!("connected"),
                    State::Reconnecting { after, error, .. } => {
                        eprintln!("{error}; connecting again in {after:.1?}");
                    }
                    _ => {}
                }
            }
        });
        let mut subscribe = client.subscribe(self.destination);
        for (name, value) in self.header {
            subscribe = subscribe.header(name, value);
        }
        let mut messages = subscribe.await?;
        eprintln!("subscribed");
        let mut stopping = pin!(stop(None));
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = &mut stopping => return Ok(client.disconnect().await?),
            };
            let Some(message) = message else {
                return Ok(());
            };
            let message = message?;
            // What is no text is shown as well as it can be.
            let body = String::from_utf8_lossy(&message.body);
            match self.destinations {
                true => line(&format!("{}: {body}", message.destination))?,
                false => line(&body)?,
            }
        }
    }
}
