//! One attempt to open a session, and what every attempt needs.

use std::{
    future::poll_fn,
    task::{Poll, ready},
    time::Duration,
};

use bytestring::ByteString;
use http::{HeaderName, HeaderValue, header};
use tokio::time::timeout;
use tramline_stomp::{ClientConfig, ClientEvent, Connected};
use tramline_websocket::{Connection, Role};

use crate::address::{Address, Protocol};
use crate::credentials::{Credentials, Source};
use crate::error::Error;
use crate::link::{Framing, Link, websocket_config};
use crate::stream::{BoxStream, Dialer};
use crate::{handshake, sockjs};

/// Everything that an attempt needs, so that there can be several.
pub(crate) struct Plan {
    /// Empty for plain STOMP over a stream of the application's.
    pub(crate) addresses: Vec<Address>,
    pub(crate) dialer: Dialer,
    /// Without credentials and virtual host.
    pub(crate) config: ClientConfig,
    /// Set by the application; see [`Connect::host`](crate::Connect::host).
    pub(crate) host: Option<ByteString>,
    pub(crate) http_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) credentials: Source,
    /// For each address.
    pub(crate) connect_timeout: Duration,
}

/// An open session.
pub(crate) struct Opened {
    pub(crate) link: Link,
    pub(crate) connected: Connected,
    /// The number of its address.
    pub(crate) address: usize,
    /// The transport carries no bytes that are not UTF-8.
    pub(crate) text_only: bool,
}

impl Plan {
    /// Tries each address once, beginning with number `first`; returns the last error if none answers.
    pub(crate) async fn open_any(&self, first: usize) -> Result<Opened, Error> {
        let count = self.addresses.len();
        let mut last = Error::invalid("there is no address to connect to");
        for number in (first..first + count).map(|number| number % count) {
            match self.open(None, number).await {
                Ok(opened) => return Ok(opened),
                Err(error) => last = error,
            }
            tracing::debug!(target: "tramline::client", error = %last, "an address failed");
        }
        Err(last)
    }

    /// Opens a session at an address, over this stream if there is one.
    pub(crate) async fn open(
        &self,
        stream: Option<BoxStream>,
        number: usize,
    ) -> Result<Opened, Error> {
        let after = self.connect_timeout;
        let address = self.addresses.get(number);
        let attempt = async {
            let credentials = (self.credentials)().await;
            let credentials = credentials.map_err(|error| Error::Credentials {
                reason: error.to_string(),
            })?;
            let (mut link, text_only) = self.link(stream, address, credentials).await?;
            let connected = connected(&mut link).await?;
            Ok(Opened {
                link,
                connected,
                address: number,
                text_only,
            })
        };
        let waiting_for = "the connection";
        let attempt = timeout(after, attempt).await;
        let attempt = attempt.unwrap_or(Err(Error::Timeout { waiting_for, after }));
        match (attempt, address) {
            (Ok(opened), _) => Ok(opened),
            (Err(error), Some(address)) => Err(Error::Connect {
                address: address.to_string(),
                cause: Box::new(error),
            }),
            (Err(error), None) => Err(error),
        }
    }

    /// Returns a link whose stream is ready, and whether it carries text only.
    async fn link(
        &self,
        stream: Option<BoxStream>,
        address: Option<&Address>,
        credentials: Credentials,
    ) -> Result<(Link, bool), Error> {
        let mut http_headers = self.http_headers.clone();
        let mut config = self.config.clone();
        if let Some((login, passcode)) = credentials.login {
            config = config.with_login(login, passcode);
        }
        if let Some(token) = credentials.bearer {
            let value = format!("Bearer {token}");
            let mut header: HeaderValue = value
                .parse()
                .map_err(|_| Error::invalid("the token has characters that no header may have"))?;
            header.set_sensitive(true);
            http_headers.push((header::AUTHORIZATION, header));
            config = config.with_header("Authorization", value);
        }
        let Some(address) = address else {
            let stream = stream.ok_or_else(|| Error::invalid("there is no stream"))?;
            config.host = self.host.clone().unwrap_or_else(|| config.host.clone());
            return Ok((Link::new(stream, Framing::Plain, config, &[]), false));
        };
        config.host = match (&self.host, address.protocol) {
            (Some(host), _) => host.clone(),
            // Brokers look for a virtual host, not for the machine's name.
            (None, Protocol::Stomp) => config.host,
            (None, _) => address.host.as_str().into(),
        };
        let stream = match stream {
            Some(stream) => self.dialer.secure(stream, address).await?,
            None => self.dialer.open(address).await?,
        };
        let protocols: Vec<_> = config
            .versions
            .iter()
            .map(|one| one.subprotocol())
            .collect();
        match address.protocol {
            Protocol::Stomp => Ok((Link::new(stream, Framing::Plain, config, &[]), false)),
            Protocol::WebSocket => {
                let (stream, leading) =
                    handshake::shake_hands(stream, address, &protocols, http_headers).await?;
                Ok((websocket(stream, config, &leading), false))
            }
            Protocol::SockJs => {
                let server = sockjs::Server::new(&self.dialer, address, http_headers);
                match server
                    .open(stream, &protocols, config.limits.body, sockjs::Cut::Nowhere)
                    .await?
                {
                    sockjs::Way::WebSocket(stream, leading) => {
                        Ok((websocket(stream, config, &leading), false))
                    }
                    sockjs::Way::Http(stream) => {
                        Ok((Link::new(stream, Framing::Plain, config, &[]), true))
                    }
                }
            }
        }
    }
}

/// Waits for CONNECTED.
async fn connected(link: &mut Link) -> Result<Connected, Error> {
    poll_fn(|context| {
        loop {
            let _ = link.poll_write(context);
            match ready!(link.poll_event(context))? {
                ClientEvent::Connected(connected) => return Poll::Ready(Ok(connected)),
                ClientEvent::Error(frame) => return Poll::Ready(Err(Error::from(&frame))),
                ClientEvent::Failed(error) => return Poll::Ready(Err(error.into())),
                // The machine lets no other event through before CONNECTED.
                _ => {}
            }
        }
    })
    .await
}

fn websocket(stream: BoxStream, config: ClientConfig, leading: &[u8]) -> Link {
    let machine = Connection::new(Role::Client, websocket_config(config.limits.body));
    let framing = Framing::WebSocket(Box::new(machine));
    Link::new(stream, framing, config, leading)
}
