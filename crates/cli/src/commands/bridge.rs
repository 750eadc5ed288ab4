use std::pin::pin;

use clap::Args;
use tramline_client::{AckMode, Client, Reconnect};

use super::stop;
use crate::connection::{Connection, header};
use crate::failure::Failure;
use crate::output::Progress;

/// Carry the messages of a destination to another, at the same or another server.
///
/// A message is acknowledged when the other server has confirmed it: none is lost, and one may come twice when a
/// connection breaks. Both connections are opened again when they break. Topics need no acknowledgement; add
/// --topic where a server refuses one.
#[derive(Args)]
pub(crate) struct Bridge {
    /// What to subscribe to.
    from: String,
    /// Where to send.
    to: String,
    #[command(flatten)]
    connection: Connection,
    /// The other server. Default the same.
    #[arg(long)]
    to_url: Option<String>,
    /// The login there.
    #[arg(long, requires = "to_url")]
    to_login: Option<String>,
    /// The passcode there.
    #[arg(
        long,
        env = "TRAMLINE_TO_PASSCODE",
        hide_env_values = true,
        requires = "to_login"
    )]
    to_passcode: Option<String>,
    /// The virtual host there.
    #[arg(long, requires = "to_url")]
    to_host: Option<String>,
    /// Subscribe with `ack:auto`.
    #[arg(long)]
    topic: bool,
    /// How many messages may be under way.
    #[arg(long, default_value = "100")]
    prefetch: u32,
    /// A header of SUBSCRIBE, as NAME:VALUE.
    #[arg(short = 'H', long, value_parser = header)]
    header: Vec<(String, String)>,
    /// End after so many messages.
    #[arg(short = 'n', long)]
    count: Option<u64>,
}

impl Bridge {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let from = self.connection.connect(true).await?;
        let to = self.other(&from).await?;
        let mode = match self.topic {
            true => AckMode::Auto,
            false => AckMode::ClientIndividual,
        };
        let mut subscribe = from.subscribe(self.from).ack(mode);
        if !self.topic {
            subscribe = subscribe.prefetch(self.prefetch);
        }
        for (name, value) in self.header {
            subscribe = subscribe.header(name, value);
        }
        let mut messages = subscribe.await?;
        eprintln!("subscribed");
        let mut progress = Progress::new("messages carried");
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut stopping = pin!(stop(None));
        while left > 0 {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = &mut stopping => break,
            };
            let Some(message) = message else {
                break;
            };
            let message = message?;
            to.forward(self.to.as_str(), &message).receipt().await?;
            if !self.topic {
                match message.ack().await {
                    // It comes again.
                    Ok(()) | Err(tramline_client::Error::NotAcknowledgeable { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            progress.add(1);
            left -= 1;
        }
        progress.done();
        from.disconnect().await?;
        if self.to_url.is_some() {
            to.disconnect().await?;
        }
        Ok(())
    }

    async fn other(&self, same: &Client) -> Result<Client, Failure> {
        let Some(url) = &self.to_url else {
            return Ok(same.clone());
        };
        let mut connect = Client::connect(url).reconnect(Reconnect::new());
        if let Some(login) = &self.to_login {
            let passcode = self.to_passcode.clone().unwrap_or_default();
            connect = connect.login(login.as_str(), passcode);
        }
        if let Some(host) = &self.to_host {
            connect = connect.host(host.as_str());
        }
        Ok(connect.await?)
    }
}
