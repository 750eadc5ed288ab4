use std::{fmt, future::IntoFuture, io, sync::Arc, time::Duration};

use bytestring::ByteString;
use tokio::io::{AsyncRead, AsyncWrite};
use tramline_stomp::{ClientConfig, HeartBeat, Limits, Version};

use crate::BoxFuture;
use crate::address::Address;
use crate::attempt::Plan;
use crate::client::Client;
use crate::credentials::{BoxError, Credentials, Source};
use crate::driver::{Again, Driver};
use crate::error::Error;
use crate::handle::{Handle, HandleConfig};
use crate::handshake;
use crate::reconnect::Reconnect;
use crate::stream::{BoxStream, Dial, Dialer};
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// A connection to open; await it to do so.
///
/// [`Client::connect`] and [`Client::over`] create one. Nothing happens before it is awaited, which must be within a
/// tokio runtime: the connection is a task of that runtime.
///
/// Dropping the future cancels the attempt and closes the connection.
///
/// # Errors
///
/// - [`Error::InvalidRequest`]: the URL, an HTTP header or a certificate is invalid.
///
/// The others are the [`cause`](Error::cause) of an [`Error::Connect`], which names the address:
///
/// - [`Error::Io`], [`Error::Timeout`]: the network or the server did not answer, or TLS refused its certificate.
/// - [`Error::Credentials`]: the application's [source of credentials](Connect::credentials) failed.
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
    /// Empty for plain STOMP over a stream.
    urls: Vec<String>,
    stream: Option<BoxStream>,
    dial: Option<Dial>,
    config: ClientConfig,
    host: Option<ByteString>,
    http_headers: Vec<(String, String)>,
    credentials: Source,
    #[cfg(feature = "tls")]
    tls: Tls,
    connect_timeout: Duration,
    close_timeout: Duration,
    answer_timeout: Duration,
    reconnect: Option<Reconnect>,
    fresh_credentials: bool,
    inbox: usize,
    send_queue: usize,
}

impl Connect {
    pub(crate) fn to(url: String) -> Self {
        Self::new(vec![url])
    }

    pub(crate) fn plain(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::new(Vec::new()).over(io)
    }

    fn new(urls: Vec<String>) -> Self {
        let limits = Limits::default().with_body(DEFAULT_BODY);
        let mut config = ClientConfig::new(DEFAULT_HOST).with_limits(limits);
        config.versions.reverse();
        Self {
            urls,
            stream: None,
            dial: None,
            config,
            host: None,
            http_headers: Vec::new(),
            credentials: fixed(Credentials::default()),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(60),
            reconnect: None,
            fresh_credentials: false,
            inbox: DEFAULT_QUEUE,
            send_queue: DEFAULT_QUEUE,
        }
    }

    /// Adds an address, which is tried when those before it do not answer. Its scheme may be another.
    ///
    /// # Example: two brokers
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), tramline_client::Error> {
    /// let client = tramline_client::Client::connect("stomp://broker1.internal")
    ///     .fallback("stomp://broker2.internal")
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn fallback(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Uses this stream instead of opening a TCP connection: through a proxy or, in tests, a pipe in memory. The
    /// handshakes of TLS and WebSocket, if the URL asks for them, are done over it.
    pub fn over(mut self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        self.stream = Some(Box::new(io));
        self
    }

    /// Opens streams by this function of host and port, instead of a TCP connection: through a proxy, or with sockets of
    /// other settings. In contrast to [`over`](Self::over) it can be called again.
    ///
    /// # Example: a shorter way to the broker
    ///
    /// ```no_run
    /// use tokio::net::UnixStream;
    ///
    /// # async fn example() -> Result<(), tramline_client::Error> {
    /// let client = tramline_client::Client::connect("stomp://localhost")
    ///     .dial(|_host, _port| UnixStream::connect("/run/broker.sock"))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dial<F, O, S>(mut self, open: F) -> Self
    where
        F: Fn(String, u16) -> O + Send + Sync + 'static,
        O: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.dial = Some(Arc::new(move |host, port| {
            let opening = open(host, port);
            Box::pin(async move { Ok(Box::new(opening.await?) as BoxStream) })
        }));
        self
    }

    /// Sets the certificates of `stomps://`, `wss://` and `https://`. Default [`Tls::system`].
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the `login` and `passcode` headers of CONNECT. Default none.
    pub fn login(mut self, login: impl Into<ByteString>, passcode: impl Into<ByteString>) -> Self {
        self.credentials = fixed(Credentials::login(login, passcode));
        self.fresh_credentials = false;
        self
    }

    /// Sets the header `Authorization: Bearer TOKEN`, in CONNECT and in the HTTP requests of WebSocket and SockJS. Default
    /// none.
    pub fn bearer(mut self, token: impl Into<ByteString>) -> Self {
        self.credentials = fixed(Credentials::bearer(token));
        self.fresh_credentials = false;
        self
    }

    /// Asks for the credentials of every attempt, for tokens that expire. The time counts as the attempt's. In place of
    /// [`login`](Self::login) and [`bearer`](Self::bearer): the last one set counts.
    pub fn credentials<F, O>(mut self, source: F) -> Self
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
    {
        self.credentials = Arc::new(move || Box::pin(source()));
        self.fresh_credentials = true;
        self
    }

    /// Sets the `host` header of CONNECT: the virtual host. Default `/` for `stomp://`, `stomps://` and streams, which
    /// is RabbitMQ's default, and the URL's host otherwise.
    pub fn host(mut self, host: impl Into<ByteString>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Adds a header to CONNECT, after the others.
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.config = self.config.with_header(name, value);
        self
    }

    /// Adds a header to the HTTP requests of WebSocket and SockJS, such as `authorization`, `cookie` or `origin`. The
    /// handshake's own, such as `host` and `sec-websocket-protocol`, are refused when the builder is awaited. Plain STOMP
    /// has no such headers, and ignores them.
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

    /// The time limit for everything until CONNECTED, at each address. Default 10 s: enough for a slow login, and short enough for a
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

    /// The time limit for each answer that an await waits for: a receipt, room in [the queue](Self::send_queue), the
    /// acknowledgement or the transaction to be taken. With [`reconnect`](Self::reconnect) the time without a connection
    /// counts. Default 60 s, twice what Tramline gives a handler. A missed answer is an [`Error::Timeout`], and the
    /// connection goes on.
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.answer_timeout = limit;
        self
    }

    /// Connects again when the connection is lost. Default never: the client ends, for the application to make another.
    /// The first connection is tried once; a stream given to [`over`](Self::over) cannot be opened again, which is an
    /// [`Error::InvalidRequest`].
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = Some(reconnect);
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
        let (stream, reconnect) = (self.stream.take(), self.reconnect.take());
        if stream.is_some() && reconnect.is_some() {
            return Err(Error::invalid(
                "a stream cannot be opened again; give a function that opens streams to `Connect::dial`, or leave \
                 `reconnect` out",
            ));
        }
        let (close_timeout, fresh_credentials) = (self.close_timeout, self.fresh_credentials);
        let config = HandleConfig {
            inbox: self.inbox,
            send_queue: self.send_queue,
            answer_timeout: self.answer_timeout,
            fails_when_down: reconnect.as_ref().is_some_and(|one| one.fail_sends),
        };
        let plan = self.plan()?;
        let opened = match stream {
            Some(stream) => plan.open(Some(stream), 0).await?,
            None => plan.open_any(0).await?,
        };
        let again = reconnect.map(|reconnect| Again {
            plan,
            reconnect,
            address: opened.address,
            attempts: 0,
            fresh_credentials,
        });
        let (handle, commands) = Handle::new(opened.connected, opened.text_only, &config);
        let driver = Driver::new(opened.link, commands, handle.mail(), again, close_timeout);
        tokio::spawn(driver.run());
        Ok(Client::new(Arc::new(handle)))
    }

    fn plan(self) -> Result<Plan, Error> {
        let addresses = self.urls.iter().map(|url| Address::parse(url));
        let addresses: Vec<_> = addresses.collect::<Result<_, _>>()?;
        let headers = self.http_headers.iter();
        let http_headers = headers
            .map(|(name, value)| handshake::http_header(name, value))
            .collect::<Result<_, _>>()?;
        let secured = addresses.iter().any(|address| address.tls);
        #[cfg(feature = "tls")]
        let dialer = Dialer {
            dial: self.dial,
            tls: secured.then(|| self.tls.connector()).transpose()?,
        };
        #[cfg(not(feature = "tls"))]
        let dialer = Dialer { dial: self.dial };
        if cfg!(not(feature = "tls")) && secured {
            return Err(Error::invalid(
                "stomps://, wss:// and https:// need the feature `tls` of tramline-client",
            ));
        }
        Ok(Plan {
            addresses,
            dialer,
            config: self.config,
            host: self.host,
            http_headers,
            credentials: self.credentials,
            connect_timeout: self.connect_timeout,
        })
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
    /// Addresses without path and query, headers without values: all of them may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.urls.iter().map(|url| match Address::parse(url) {
            Ok(address) => address.to_string(),
            Err(_) => "invalid".to_owned(),
        });
        let addresses: Vec<_> = addresses.collect();
        let headers = self.config.headers.iter().map(|(name, _)| name);
        let http_headers = self.http_headers.iter().map(|(name, _)| name);
        f.debug_struct("Connect")
            .field("addresses", &addresses)
            .field("versions", &self.config.versions)
            .field("heart_beat", &self.config.heart_beat)
            .field("limits", &self.config.limits)
            .field("host", &self.host)
            .field("headers", &headers.collect::<Vec<_>>())
            .field("http_headers", &http_headers.collect::<Vec<_>>())
            .field("connect_timeout", &self.connect_timeout)
            .field("close_timeout", &self.close_timeout)
            .field("answer_timeout", &self.answer_timeout)
            .field("reconnect", &self.reconnect)
            .field("inbox", &self.inbox)
            .field("send_queue", &self.send_queue)
            .finish_non_exhaustive()
    }
}

/// Returns the same credentials for every attempt.
fn fixed(credentials: Credentials) -> Source {
    Arc::new(move || {
        let credentials = credentials.clone();
        Box::pin(async move { Ok(credentials) })
    })
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

const DEFAULT_BODY: usize = 1024 * 1024;
const DEFAULT_QUEUE: usize = 1024 * 1024;
const DEFAULT_HOST: &str = "/";
