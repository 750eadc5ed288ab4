use std::time::Duration;

use clap::Args;

use crate::connection::{Connection, header, seconds};
use crate::failure::Failure;
use crate::output::{line, object};

/// Send a request and print its reply as a line of JSON.
#[derive(Args)]
pub(crate) struct Request {
    /// Where to send.
    destination: String,
    /// The body.
    #[arg(default_value = "")]
    body: String,
    #[command(flatten)]
    connection: Connection,
    /// Where the reply comes to. Default a temporary queue.
    #[arg(long)]
    reply_to: Option<String>,
    /// The `content-type` header.
    #[arg(long)]
    content_type: Option<String>,
    /// A header of SEND, as NAME:VALUE.
    #[arg(short = 'H', long, value_parser = header)]
    header: Vec<(String, String)>,
    /// Seconds to wait for the reply.
    #[arg(long, default_value = "30", value_parser = seconds)]
    timeout: Duration,
    /// Print the reply's body alone.
    #[arg(long)]
    body_only: bool,
}

impl Request {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.connect(false).await?;
        let mut request = client
            .request(self.destination, self.body)
            .timeout(self.timeout);
        if let Some(reply_to) = self.reply_to {
            request = request.reply_to(reply_to);
        }
        if let Some(content_type) = self.content_type {
            request = request.content_type(content_type);
        }
        for (name, value) in self.header {
            request = request.header(name, value);
        }
        let reply = request.await?;
        match self.body_only {
            true => line(&String::from_utf8_lossy(&reply.body))?,
            false => line(&object(&reply).to_string())?,
        }
        Ok(client.disconnect().await?)
    }
}
