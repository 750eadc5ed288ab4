//! An HTTP server for an application that mounts endpoints: `axum::serve` with an end to everything. Feature `serve`, on
//! by default.

mod body;
mod connection;
mod limits;
mod stats;
mod stop;

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::io::Read;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytestring::ByteString;
use http::{Request, Response};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tower_service::Service;

pub use self::body::RequestBody;
pub use self::limits::ServeLimits;
pub use self::stats::ServeStats;
pub use self::stop::stop_signal;

use self::stats::ServeCounters;
use crate::net::endpoint::{BoxError, Proxies};
use crate::net::listener::accept;
use crate::net::places::{Full, Places};
use crate::net::served::Times;
#[cfg(feature = "tls")]
use crate::net::tls::Tls;
use crate::net::transport::io::prepare;

/// Serves an application, such as an `axum::Router`, on the connections of `listener`.
///
/// Await the [`Server`] that this returns, as with `axum::serve`.
///
/// # Example: a program that ends well
///
/// ```no_run
/// use std::time::Duration;
///
/// use tramline::serve::stop_signal;
///
/// # async fn program(messaging: tramline::Messaging) -> std::io::Result<()> {
/// let app: axum::Router = axum::Router::new().nest_service("/ws", messaging.endpoint().with_sockjs());
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
/// tramline::serve(listener, app)
///     .with_graceful_shutdown(async move {
///         stop_signal().await;
///         messaging.drain(Duration::from_secs(2)).await;
///     })
///     .await
/// # }
/// ```
pub fn serve<A>(listener: TcpListener, app: A) -> Server<A> {
    Server {
        listener,
        app,
        limits: ServeLimits::default(),
        proxies: Vec::new(),
        counters: Arc::default(),
        signal: None,
        #[cfg(feature = "tls")]
        tls: None,
    }
}

/// An HTTP/1.1 server in which every wait has an end, and the number of connections a bound: made by
/// [`serve`](crate::serve()).
///
/// It serves any tower service of HTTP requests and responses, with upgrades to WebSocket. Awaiting it runs it: until
/// its [shutdown](Self::with_graceful_shutdown) is complete, or for ever. Every connection is a task of its own, with
/// `TCP_NODELAY`. Dropping the future drops the connections, but for those that have
/// become WebSockets, which are their [`Messaging`](crate::Messaging)'s to end.
///
/// The client's address is in each request's extensions as a [`SocketAddr`]. So
/// [`Handshake::remote`](crate::login::Handshake::remote) has it over SockJS as well, the
/// [trusted proxies](crate::MessagingBuilder::trusted_proxies) of a stack are recognized without a middleware, and a
/// handler of axum takes it by `Extension<SocketAddr>`.
///
/// HTTP/2 is not spoken: a client that begins with its preface is refused. TLS is a proxy's to end, or the server's own with
/// the feature `tls`.
///
/// # Example: a head that never ends
///
/// ```
/// use std::time::Duration;
///
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
/// use tramline::serve::ServeLimits;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let app: axum::Router = axum::Router::new().route("/", axum::routing::get(async || "whole"));
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let address = listener.local_addr()?;
/// let mut limits = ServeLimits::default();
/// limits.head_time = Duration::from_millis(100);
/// let server = tramline::serve(listener, app).limits(limits);
/// let connections = server.connections();
/// tokio::spawn(server.into_future());
///
/// let ask = async |request: &str| {
///     let mut client = TcpStream::connect(address).await?;
///     client.write_all(request.as_bytes()).await?;
///     let mut answer = String::new();
///     client.read_to_string(&mut answer).await?;
///     std::io::Result::Ok(answer)
/// };
/// assert_eq!(ask("GET / HTTP/1.1\r\nHost: nev").await?, "");
/// assert_eq!(connections.stats().head_timeouts, 1);
/// let answer = ask("GET / HTTP/1.1\r\nHost: whole\r\nConnection: close\r\n\r\n").await?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK"));
/// # Ok(())
/// # }
/// ```
#[must_use = "a server does nothing until it is awaited"]
pub struct Server<A> {
    listener: TcpListener,
    app: A,
    limits: ServeLimits,
    proxies: Vec<ByteString>,
    counters: Arc<ServeCounters>,
    signal: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl<A> Server<A> {
    /// Sets the limits of connections.
    pub fn limits(mut self, limits: ServeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets these addresses and networks have more connections than
    /// [`connections_per_address`](ServeLimits::connections_per_address): proxies, whose connections are other
    /// people's. Written as for [`MessagingBuilder::trusted_proxies`](crate::MessagingBuilder::trusted_proxies), which
    /// should get the same. Default none.
    pub fn trusted_proxies<T: Into<ByteString>>(
        mut self,
        proxies: impl IntoIterator<Item = T>,
    ) -> Self {
        self.proxies = proxies.into_iter().map(Into::into).collect();
        self
    }

    /// Serves by TLS alone: `https://` and `wss://`. Feature `tls`.
    ///
    /// A handshake has [`head_time`](ServeLimits::head_time), together with the head of the first request, and its
    /// connection counts among the [`connections`](ServeLimits::connections) from the beginning. A request without TLS is
    /// answered by 400. The [user](crate::tls::TlsFiles::user) of a client's certificate is that of its sessions.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Stops the server when `signal` ends.
    ///
    /// Until then it serves as before, which [`Messaging::drain`](crate::Messaging::drain) and
    /// [`shutdown`](crate::Messaging::shutdown) need, so await them in `signal`, after [`stop_signal`]. Then the server
    /// takes no more connections. Those without a request end at once, or within a second if a head has begun to
    /// arrive. Requests under way have [`shutdown_time`](ServeLimits::shutdown_time) to end, and the rest is dropped.
    pub fn with_graceful_shutdown(
        mut self,
        signal: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.signal = Some(Box::pin(signal));
        self
    }

    /// The server's connections, to count them.
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.counters))
    }
}

/// The connections of a [`Server`]: to count them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections(Arc<ServeCounters>);

impl Connections {
    /// The counters of what the server has accepted, refused and closed so far.
    pub fn stats(&self) -> ServeStats {
        self.0.snapshot()
    }
}

impl<A, B> IntoFuture for Server<A>
where
    A: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    A::Future: Send,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    /// An error when the listener does not listen, and for a proxy that is no address.
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

/// State that all connections of a server share.
struct Serving {
    limits: ServeLimits,
    times: Times,
    counters: Arc<ServeCounters>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Serving {
    /// Returns true without TLS, under which any answer would need a handshake.
    fn is_plain(&self) -> bool {
        #[cfg(feature = "tls")]
        let is_plain = self.tls.is_none();
        #[cfg(not(feature = "tls"))]
        let is_plain = true;
        is_plain
    }
}

async fn run<A, B>(server: Server<A>) -> io::Result<()>
where
    A: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    A::Future: Send,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let proxies = Proxies::new(server.proxies.into_iter());
    if !proxies.errors.is_empty() {
        let errors = proxies.errors.join("; ");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, errors));
    }
    let mut limits = server.limits;
    limits.connections = limits.places();
    let places = Places::new(limits.connections, limits.connections_per_address);
    let serving = Arc::new(Serving {
        times: Times {
            head: limits.head_time,
            idle: limits.idle_time,
            send: limits.send_time,
        },
        limits,
        counters: server.counters,
        #[cfg(feature = "tls")]
        tls: server.tls,
    });
    // Changes once, when the server stops; connections end when it is dropped.
    let stage = watch::Sender::new(());
    let warned = Mutex::new(None);
    let (app, of_all, stages) = (server.app, Arc::clone(&serving), stage.subscribe());
    let accepted = move |socket: TcpStream, remote: SocketAddr| {
        let counters = &of_all.counters;
        counters.connections_total.increment();
        let place = match places.take(proxies.counted(remote)) {
            Ok(place) => place,
            Err(full) => {
                counters.connections_refused.increment();
                if of_all.is_plain() {
                    refuse(&socket);
                }
                warn(full, remote, &of_all.limits, &warned);
                return;
            }
        };
        prepare(&socket);
        let (app, serving, stage) = (app.clone(), Arc::clone(&of_all), stages.clone());
        tokio::spawn(async move {
            let counters = Arc::clone(&serving.counters);
            let _open = Open::new(&counters);
            connection::serve(socket, remote, place, app, serving, stage).await;
        });
    };
    let mut signal = server
        .signal
        .unwrap_or_else(|| Box::pin(std::future::pending()));
    {
        let mut accepting = pin!(accept(&server.listener, "serve", accepted));
        std::future::poll_fn(|context| match signal.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => accepting.as_mut().poll(context),
        })
        .await?;
    }
    drop(server.listener);
    let _ = stage.send(());
    let _ = tokio::time::timeout(serving.limits.shutdown_time, stage.closed()).await;
    Ok(())
}

/// Counts a connection while it speaks HTTP.
struct Open<'a>(&'a ServeCounters);

impl<'a> Open<'a> {
    fn new(counters: &'a ServeCounters) -> Self {
        counters.http_open.increment();
        Self(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.http_open.decrement();
    }
}

/// Answers a connection without a place, as far as that needs no waiting.
fn refuse(socket: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n\
        Content-Type: text/plain; charset=UTF-8\r\nContent-Length: 21\r\n\r\ntoo many connections\n";
    let socket = SockRef::from(socket);
    let _ = socket.send(ANSWER);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    // A request that is there already would make the end a reset, which may overtake the answer.
    let _ = (&*socket).read(&mut [0; 4096]);
}

/// Logs a refused connection, not more than one in ten seconds.
fn warn(full: Full, remote: SocketAddr, limits: &ServeLimits, last: &Mutex<Option<Instant>>) {
    const EVERY: Duration = Duration::from_secs(10);
    let now = Instant::now();
    let mut last = last.lock();
    if last.is_some_and(|last| now < last + EVERY) {
        return;
    }
    *last = Some(now);
    drop(last);
    match full {
        Full::InAll => tracing::warn!(
            %remote,
            connections = limits.connections,
            "connections are refused: there are as many as may be (`ServeLimits::connections`)"
        ),
        Full::OfAddress => tracing::warn!(
            %remote,
            connections = limits.connections_per_address,
            "connections of an address are refused (`ServeLimits::connections_per_address`); if it is a proxy's, name \
             it in `Server::trusted_proxies`"
        ),
    }
}

impl<A> fmt::Debug for Server<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .field("limits", &self.limits)
            .field("trusted_proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
