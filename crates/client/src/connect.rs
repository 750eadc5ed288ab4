use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};

use bytestring::ByteString;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tramline_stomp::{ClientConfig, Headers, HeartBeat, Limits, Version};
use tramline_websocket::{Connection, Role};

use crate::client::Client;
use crate::error::Error;
use crate::{
    BoxFuture,
    driver::{self, Driver},
    handle::Handle,
    handshake::{self, Target},
    link::{Framing, Link, websocket_config},
};

/// A connection to open; await it to do so.
///
/// [`Client::connect`] and [`Client::over`] create one. Nothing happens before it is awaited, which must be within a
/// tokio runtime: the connection is a task of that runtime.
///
/// Dropping the future cancels the attempt and closes the connection.
///
/// # Errors
///
/// - [`Error::InvalidRequest`]: the URL or an HTTP header is invalid.
/// - [`Error::Io`], [`Error::Timeout`]: the network or the server did not answer.
/// - [`Error::Handshake`]: the server refused the WebSocket.
/// - [`Error::ServerError`]: the server refused the session, as for a wrong password.
/// - [`Error::ClosedByServer`], [`Error::Protocol`]: the server speaks another protocol.
///
/// # Example: log in
///
/// ```no_run
/// use std::time::Duration;
/// use tramline_client::{Client, Error};
///
/// # async fn example() -> Result<(), Error> {
/// let client = Client::connect("ws://localhost:8080/ws")
///     .login("ann", "secret")
///     .http_header("origin", "http://localhost:8080")
///     .connect_timeout(Duration::from_secs(3))
///     .await?;
/// assert_eq!(client.connected().user_name.as_deref(), Some("ann"));
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct Connect {
    protocol: Protocol,
    stream: Option<Box<dyn Stream>>,
    config: ClientConfig,
    /// Set by the application; the URL's host otherwise.
    host: Option<ByteString>,
    http_headers: Vec<(String, String)>,
    connect_timeout: Duration,
    close_timeout: Duration,
    inbox: usize,
    send_queue: usize,
}

enum Protocol {
    WebSocket { url: String },
    Plain,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connect {
    pub(crate) fn websocket(url: String) -> Self {
        Self::new(Protocol::WebSocket { url })
    }

    pub(crate) fn plain(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::new(Protocol::Plain).over(io)
    }

    fn new(protocol: Protocol) -> Self {
        let limits = Limits::default().with_body(DEFAULT_BODY);
        let mut config = ClientConfig::new(DEFAULT_HOST).with_limits(limits);
        config.versions.reverse();
        Self {
            protocol,
            stream: None,
            config,
            host: None,
            http_headers: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            inbox: DEFAULT_QUEUE,
            send_queue: DEFAULT_QUEUE,
        }
    }

    /// Uses this stream instead of opening a TCP connection: through a proxy, a TLS library or, in tests, a pipe in
    /// memory. The WebSocket handshake, if the URL asks for one, is done over it.
    pub fn over(mut self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        self.stream = Some(Box::new(io));
        self
    }

    /// Sets the `login` and `passcode` headers of CONNECT. Default none.
    pub fn login(mut self, login: impl Into<ByteString>, passcode: impl Into<ByteString>) -> Self {
        self.config = self.config.with_login(login, passcode);
        self
    }

    /// Sets the `host` header of CONNECT: the virtual host. Default the URL's host; `/` without a URL, which is
    /// RabbitMQ's default.
    pub fn host(mut self, host: impl Into<ByteString>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Adds a header to CONNECT, after the others.
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.config = self.config.with_header(name, value);
        self
    }

    /// Adds a header to the WebSocket handshake, such as `authorization`, `cookie` or `origin`. The handshake's own,
    /// such as `host` and `sec-websocket-protocol`, are refused when the builder is awaited. Plain STOMP has no such
    /// headers, and ignores them.
    pub fn http_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.http_headers.push((name.into(), value.into()));
        self
    }

    /// Sets the STOMP versions offered in CONNECT, and as WebSocket sub-protocols in this order. Default all, the
    /// newest first. An empty list offers 1.0 and no sub-protocol.
    pub fn versions(mut self, versions: impl IntoIterator<Item = Version>) -> Self {
        self.config.versions = versions.into_iter().collect();
        self
    }

    /// How often we promise to send something, and how often the server should. Zero for never. Default 10 s each: a
    /// dead server is noticed within 30 s, and proxies cut idle connections after 60 s. The slower of a promise and the
    /// other side's wish holds; the server is considered dead after three times that.
    ///
    /// Times are rounded up to milliseconds.
    pub fn heart_beat(mut self, send: Duration, receive: Duration) -> Self {
        self.config = self.config.with_heart_beat(HeartBeat {
            send: millis(send),
            receive: millis(receive),
        });
        self
    }

    /// The time limit for everything until CONNECTED. Default 10 s: enough for a slow login, and short enough for a
    /// waiting person.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The time limit at a disconnect for the server to read what was sent; then to confirm DISCONNECT; then to close.
    /// Default 5 s each: enough for a busy server, without delaying the end of a process for long.
    pub fn close_timeout(mut self, limit: Duration) -> Self {
        self.close_timeout = limit;
        self
    }

    /// The maximum body of a message or ERROR, in bytes. Default 1,048,576: the application chose its server, and may
    /// trust it with more than a server grants its clients. A longer one ends the connection with [`Error::Protocol`].
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.config.limits.body = bytes;
        self
    }

    /// The maximum of unread messages of a subscription, in bytes of bodies and headers, unless it [sets its
    /// own](crate::Subscribe::inbox). Default 1,048,576: seconds of a busy topic. At most one message more is held, and
    /// 64 KiB per connection that have been read already.
    pub fn inbox(mut self, bytes: usize) -> Self {
        self.inbox = bytes;
        self
    }

    /// The maximum of messages that wait to be sent, in bytes of bodies and headers; beyond it, sends wait for room, in
    /// their order. Default 1,048,576; at most 268,435,456. A message that is larger than the queue takes it alone.
    pub fn send_queue(mut self, bytes: usize) -> Self {
        self.send_queue = bytes;
        self
    }

    async fn connect(mut self) -> Result<Client, Error> {
        let after = self.connect_timeout;
        match self.protocol {
            Protocol::Plain => {
                let stream = self
                    .stream
                    .take()
                    .ok_or_else(|| Error::invalid("no stream"))?;
                let opened = self.open(stream, Framing::Plain, &[]);
                timeout(after, opened).await
            }
            Protocol::WebSocket { ref url } => {
                let target = Target::parse(url)?;
                timeout(after, self.upgrade(target)).await
            }
        }
        .unwrap_or(Err(Error::Timeout {
            waiting_for: "the connection",
            after,
        }))
    }

    async fn upgrade(mut self, target: Target) -> Result<Client, Error> {
        let headers = self.http_headers.iter();
        let headers = headers
            .map(|(name, value)| handshake::http_header(name, value))
            .collect::<Result<_, _>>()?;
        let versions = self.config.versions.clone();
        let config = websocket_config(self.config.limits.body);
        let machine = Connection::new(Role::Client, config);
        let framing = Framing::WebSocket(Box::new(machine));
        self.config.host = target.host.as_str().into();
        match self.stream.take() {
            Some(stream) => {
                let shaken = handshake::shake_hands(stream, &target, &versions, headers);
                let (stream, leading) = shaken.await?;
                self.open(stream, framing, &leading).await
            }
            None => {
                let stream = TcpStream::connect((&*target.host, target.port)).await?;
                stream.set_nodelay(true)?;
                let shaken = handshake::shake_hands(stream, &target, &versions, headers);
                let (stream, leading) = shaken.await?;
                self.open(stream, framing, &leading).await
            }
        }
    }

    async fn open<I>(mut self, io: I, framing: Framing, leading: &[u8]) -> Result<Client, Error>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if let Some(host) = self.host {
            self.config.host = host;
        }
        let mut link = Link::new(io, framing, self.config, leading);
        let connected = driver::open(&mut link).await?;
        let (handle, shared, commands) = Handle::new(connected, self.inbox, self.send_queue);
        tokio::spawn(Driver::new(link, commands, shared, self.close_timeout).run());
        Ok(Client::new(Arc::new(handle)))
    }
}

impl IntoFuture for Connect {
    type Output = Result<Client, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.connect())
    }
}

impl fmt::Debug for Connect {
    /// Neither URL nor HTTP headers: both may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::WebSocket { .. } => "WebSocket",
            Protocol::Plain => "Plain",
        };
        let names: Headers = self
            .http_headers
            .iter()
            .map(|(name, _)| (name.as_str(), "***"))
            .collect();
        f.debug_struct("Connect")
            .field("protocol", &protocol)
            .field("config", &self.config)
            .field("http_headers", &names)
            .field("connect_timeout", &self.connect_timeout)
            .field("close_timeout", &self.close_timeout)
            .field("inbox", &self.inbox)
            .field("send_queue", &self.send_queue)
            .finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

const DEFAULT_BODY: usize = 1024 * 1024;
const DEFAULT_QUEUE: usize = 1024 * 1024;
const DEFAULT_HOST: &str = "/";
