use std::path::PathBuf;

use clap::Args;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, stdin},
};
use tramline_client::{Client, SendMessage};

use crate::connection::{Connection, header};
use crate::failure::Failure;
use crate::output::Progress;

/// Send a message, or one for each line of a file.
///
/// Each is confirmed by a receipt before the command ends.
#[derive(Args)]
pub(crate) struct Send {
    /// Where to send.
    destination: String,
    /// The body; without it, from --file or stdin.
    body: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// A file with the body; `-` for stdin.
    #[arg(short, long, conflicts_with = "body")]
    file: Option<PathBuf>,
    /// Send each line by itself, as soon as it is there.
    #[arg(long, conflicts_with = "body")]
    lines: bool,
    /// The `content-type` header.
    #[arg(long)]
    content_type: Option<String>,
    /// A header of SEND, as NAME:VALUE.
    #[arg(short = 'H', long, value_parser = header)]
    header: Vec<(String, String)>,
    /// Ask for no receipts: faster, and nothing says that messages arrived.
    #[arg(long)]
    no_receipt: bool,
}

impl Send {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.connect(false).await?;
        if let Some(body) = self.body.clone() {
            self.send(&client, body.into_bytes()).await?;
        } else {
            let mut input = self.input().await?;
            if self.lines {
                self.send_lines(&client, input).await?;
            } else {
                let mut body = Vec::new();
                let read = input.read_to_end(&mut body).await;
                read.map_err(Failure::io("cannot read the body"))?;
                self.send(&client, body).await?;
            }
        }
        Ok(client.disconnect().await?)
    }

    async fn input(&self) -> Result<Box<dyn AsyncRead + Unpin>, Failure> {
        match &self.file {
            Some(path) if path.as_os_str() != "-" => {
                let file = File::open(path).await;
                let what = format!("cannot read {}", path.display());
                Ok(Box::new(file.map_err(Failure::io(what))?))
            }
            _ => Ok(Box::new(stdin())),
        }
    }

    async fn send_lines(
        &self,
        client: &Client,
        input: impl AsyncRead + Unpin,
    ) -> Result<(), Failure> {
        let mut lines = BufReader::new(input).lines();
        let mut progress = Progress::new("messages sent");
        loop {
            let line = lines.next_line().await;
            let Some(line) = line.map_err(Failure::io("cannot read a line"))? else {
                progress.done();
                return Ok(());
            };
            self.send(client, line.into_bytes()).await?;
            progress.add(1);
        }
    }

    async fn send(&self, client: &Client, body: Vec<u8>) -> Result<(), Failure> {
        let mut message: SendMessage = client.send(self.destination.as_str(), body);
        if let Some(content_type) = &self.content_type {
            message = message.content_type(content_type.as_str());
        }
        for (name, value) in &self.header {
            message = message.header(name.as_str(), value.as_str());
        }
        let sent = match self.no_receipt {
            true => message.flush(),
            false => message.receipt(),
        };
        Ok(sent.await?)
    }
}
