//! The options of a connection.

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use tramline_client::{Client, Connect, Reconnect, Tls};

use crate::failure::Failure;

#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The server: stomp://, stomps://, ws://, wss://, or http:// and https:// for SockJS. Repeated: tried in turn.
    #[arg(long, env = "TRAMLINE_URL", required = true, value_delimiter = ',')]
    url: Vec<String>,
    /// The `login` header of CONNECT.
    #[arg(long, env = "TRAMLINE_LOGIN")]
    login: Option<String>,
    /// The `passcode` header of CONNECT; better in the environment, where `ps` does not show it.
    #[arg(
        long,
        env = "TRAMLINE_PASSCODE",
        hide_env_values = true,
        requires = "login"
    )]
    passcode: Option<String>,
    /// A bearer token, for CONNECT and the HTTP requests.
    #[arg(
        long,
        env = "TRAMLINE_TOKEN",
        hide_env_values = true,
        conflicts_with = "login"
    )]
    token: Option<String>,
    /// The virtual host.
    #[arg(long)]
    host: Option<String>,
    /// A header of CONNECT, as NAME:VALUE.
    #[arg(long, value_parser = header)]
    connect_header: Vec<(String, String)>,
    /// A header of the HTTP requests, as NAME:VALUE.
    #[arg(long, value_parser = header)]
    http_header: Vec<(String, String)>,
    /// Root certificates (PEM) to trust, in place of the system's.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// A certificate (PEM) to show to the server.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// The private key (PEM) of the certificate.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Seconds until an address counts as dead.
    #[arg(long, default_value = "10", value_parser = seconds)]
    connect_timeout: Duration,
    /// Connect again when the connection is lost.
    #[arg(long)]
    reconnect: bool,
}

impl Connection {
    /// Connects; `again` as if `--reconnect` were given.
    pub(crate) async fn connect(&self, again: bool) -> Result<Client, Failure> {
        Ok(self.builder(again)?.await?)
    }

    pub(crate) fn builder(&self, again: bool) -> Result<Connect, Failure> {
        let (first, others) = self
            .url
            .split_first()
            .ok_or_else(|| Failure::Usage("--url is missing".into()))?;
        let mut connect = Client::connect(first).connect_timeout(self.connect_timeout);
        for other in others {
            connect = connect.fallback(other);
        }
        if let Some(login) = &self.login {
            let passcode = self.passcode.clone().unwrap_or_default();
            connect = connect.login(login.as_str(), passcode);
        }
        if let Some(token) = &self.token {
            connect = connect.bearer(token.as_str());
        }
        if let Some(host) = &self.host {
            connect = connect.host(host.as_str());
        }
        for (name, value) in &self.connect_header {
            connect = connect.header(name.as_str(), value.as_str());
        }
        for (name, value) in &self.http_header {
            connect = connect.http_header(name, value);
        }
        if again || self.reconnect {
            connect = connect.reconnect(Reconnect::new());
        }
        Ok(connect.tls(self.tls()?))
    }

    fn tls(&self) -> Result<Tls, Failure> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(Failure::io(format!("cannot read {}", path.display())))
        };
        let mut tls = match &self.ca {
            Some(path) => Tls::with_roots(read(path)?),
            None => Tls::system(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            tls = tls.client_certificate(read(cert)?, read(key)?);
        }
        Ok(tls)
    }
}

/// Reads NAME:VALUE.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a header is NAME:VALUE".into()),
    }
}

/// Reads a number of seconds, such as 0.5.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .map_err(|_| "it is a number of seconds, such as 0.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
