//! STOMP without HTTP: a listener's connections, or any stream.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

#[cfg(feature = "tls")]
use http::HeaderMap;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(feature = "tls")]
use tokio::time::Instant;

use super::SessionTask;
use crate::model::inbound::SessionInfo;
use crate::model::user::Handshake;
#[cfg(feature = "tls")]
use crate::model::user::User;
use crate::net::listener::accept;
#[cfg(feature = "tls")]
use crate::net::places::Places;
#[cfg(feature = "tls")]
use crate::net::tls::{Protocol, Tls};
use crate::net::transport::io::{Io, prepare};
use crate::net::transport::tcp::Tcp;
use crate::stack::messaging::Messaging;
use crate::stack::shared::MessagingStack;
use tramline_broker::SessionId;

/// The port where STOMP over plain TCP is usually found; brokers and clients agree on it by custom.
pub const DEFAULT_STOMP_PORT: u16 = 61613;

/// The port where STOMP over TLS is usually found.
#[cfg(feature = "tls")]
pub const DEFAULT_STOMPS_PORT: u16 = 61614;

impl Messaging {
    /// Serves STOMP over plain TCP: every connection of `listener` is a session, with the handlers, policy, broker,
    /// limits and counters that the web endpoint's sessions have. The usual port is [`DEFAULT_STOMP_PORT`].
    ///
    /// The future takes connections until [`shutdown`](Self::shutdown) is called or the last `Messaging` and
    /// [`Endpoint`](crate::endpoint::Endpoint) are dropped; it keeps neither alive. Sessions are tasks of their own, so that
    /// dropping the future ends the accepting and no session. A connection that sends no CONNECT is closed after
    /// [`Limits::connect_time`](crate::Limits::connect_time). Where a WebSocket is told the reason of its end by a close
    /// code, a TCP client hears an ERROR. Who agreed on no heart-beats is probed by TCP's own keep-alive after a minute of
    /// silence, so that a peer that is gone without a word is known to be after two.
    ///
    /// There is no HTTP request here. So the user comes from [`connect`](crate::MessageRouter::connect) alone, and
    /// there is no origin to check: all that a page's script can send to such a port is HTTP, which ends with its first
    /// line.
    ///
    /// # Errors
    ///
    /// When the listener does not listen. What time can mend, such as too many open files, is logged and waited for.
    ///
    /// # Example: one stack for browsers and for programs
    ///
    /// ```no_run
    /// use tramline::endpoint::DEFAULT_STOMP_PORT;
    /// use tramline::Messaging;
    ///
    /// # async fn serve(messaging: Messaging) -> std::io::Result<()> {
    /// let tcp = tokio::net::TcpListener::bind(("0.0.0.0", DEFAULT_STOMP_PORT)).await?;
    /// tokio::spawn(messaging.serve_tcp(tcp));
    ///
    /// let app: axum::Router = axum::Router::new().nest_service("/ws", messaging.endpoint());
    /// axum::serve(tokio::net::TcpListener::bind("0.0.0.0:8080").await?, app).await
    /// # }
    /// ```
    pub fn serve_tcp(
        &self,
        listener: TcpListener,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        take(Arc::clone(&self.handle.stack), listener, start)
    }

    /// Serves STOMP over TLS, with the certificates of `tls`: the rest is as in [`serve_tcp`](Self::serve_tcp). The usual port is
    /// [`DEFAULT_STOMPS_PORT`]. Feature `tls`.
    ///
    /// A handshake has [`Limits::connect_time`](crate::Limits::connect_time), and so has the CONNECT behind it. At most 1,000
    /// handshakes are under way, and 100 of one address or of one IPv6 network of 64 bits; a further connection is closed. A
    /// client that speaks without TLS receives an ERROR. The [user](crate::tls::TlsFiles::user) of a client's certificate is
    /// the session's, unless a token or a [connect](crate::MessageRouter::connect) handler knows another.
    ///
    /// # Errors
    ///
    /// When the listener does not listen.
    #[cfg(feature = "tls")]
    pub fn serve_tls(
        &self,
        listener: TcpListener,
        tls: Tls,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let places = Places::new(HANDSHAKES, HANDSHAKES_OF_ADDRESS);
        take(
            Arc::clone(&self.handle.stack),
            listener,
            move |stack, socket, remote| start_tls(stack, socket, remote, &places, &tls),
        )
    }

    /// Serves one session of STOMP over a stream that the application opened: TLS, a Unix socket, a pipe in a test.
    ///
    /// The future is the session: it begins with the first poll, ends when the session has ended and its stream is
    /// closed, and dropping it cuts the stream. `remote` is what [`Handshake::remote`](crate::login::Handshake::remote) shows.
    /// The rest is as in [`serve_tcp`](Self::serve_tcp), which suits bare sockets better, and serves TLS by `serve_tls`: it sets TCP_NODELAY, which here
    /// is the application's to do below its TLS.
    ///
    /// # Example: a session in memory
    ///
    /// ```
    /// # use tramline::policy::{Policy, permit};
    /// # use tramline::{EmbeddedBroker, Messaging};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let messaging = Messaging::builder()
    /// #     .broker(EmbeddedBroker::new().topics("/topic"))
    /// #     .policy(Policy::builder().otherwise(permit()))
    /// #     .build()?;
    /// let (mut client, stream) = tokio::io::duplex(1024);
    /// let session = tokio::spawn(messaging.serve_stream(stream, None));
    ///
    /// client.write_all(b"CONNECT\naccept-version:1.2\n\n\0DISCONNECT\nreceipt:bye\n\n\0").await?;
    /// client.shutdown().await?;
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer).await?;
    /// assert!(answer.starts_with("CONNECTED\nversion:1.2\n"));
    /// assert!(answer.ends_with("RECEIPT\nreceipt-id:bye\n\n\0"));
    /// session.await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve_stream(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        remote: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let stack = Arc::clone(&self.handle.stack);
        async move {
            stack.drive();
            session(stack, Io::Other(Box::new(stream)), remote).await;
        }
    }
}

/// Takes connections until the stack closes.
async fn take(
    stack: Arc<MessagingStack>,
    listener: TcpListener,
    start: impl Fn(&Arc<MessagingStack>, TcpStream, SocketAddr),
) -> io::Result<()> {
    let mut closed = pin!(stack.closed());
    let start = |socket, remote| {
        if admit(&stack, &socket, remote) {
            start(&stack, socket, remote);
        }
    };
    let mut taking = pin!(accept(&listener, &stack.name, start));
    std::future::poll_fn(|context| match closed.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => taking.as_mut().poll(context),
    })
    .await
}

/// Plain TCP clients often agree on no heart-beats, and STOMP has no ping: without this a consumer whose machine lost its
/// power would keep what it was given for ever.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Returns false if the address opens connections too fast; else sets the socket's options.
fn admit(stack: &Arc<MessagingStack>, socket: &TcpStream, remote: SocketAddr) -> bool {
    if stack.rates.connection(Some(remote.ip())).is_err() {
        stack.counters.requests_refused.increment();
        return false;
    }
    prepare(socket);
    if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&KEEP_ALIVE) {
        tracing::debug!(stack = %stack.name, %error, "a socket does not take SO_KEEPALIVE");
    }
    stack.drive();
    true
}

fn start(stack: &Arc<MessagingStack>, socket: TcpStream, remote: SocketAddr) {
    tokio::spawn(session(Arc::clone(stack), Io::Tcp(socket), Some(remote)));
}

/// Handshakes of TLS under way. Each takes a millisecond of a core, or as long as its client likes.
#[cfg(feature = "tls")]
const HANDSHAKES: usize = 1_000;
#[cfg(feature = "tls")]
const HANDSHAKES_OF_ADDRESS: usize = 100;

#[cfg(feature = "tls")]
fn start_tls(
    stack: &Arc<MessagingStack>,
    socket: TcpStream,
    remote: SocketAddr,
    places: &Arc<Places>,
    tls: &Tls,
) {
    let Ok(place) = places.take(stack.front.proxies.counted(remote)) else {
        stack.counters.requests_refused.increment();
        return;
    };
    let (stack, tls) = (Arc::clone(stack), tls.clone());
    tokio::spawn(async move {
        let deadline = Instant::now() + stack.limits.connect_time;
        let accepted = {
            let mut accepted = pin!(tls.accept(socket, remote, Protocol::Stomp, deadline));
            let mut closed = pin!(stack.closed());
            std::future::poll_fn(|context| match closed.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => accepted.as_mut().poll(context),
            })
            .await
        };
        drop(place);
        let Some((stream, peer)) = accepted else {
            return;
        };
        let mut known = peer.extensions();
        let user = known.remove::<User>();
        let mut handshake = Handshake::new("", None, Some(remote));
        let kept = stack.front.kept_extensions(&known);
        handshake.keep(None, HeaderMap::new(), kept, None);
        let info = SessionInfo {
            id: SessionId::random(),
            user,
            handshake,
        };
        let io = Io::Tls(Box::new((stream, None)));
        // A separate task: that of the handshake is larger.
        tokio::spawn(SessionTask::new(stack, info, Tcp::new(io)));
    });
}

/// The session on a stream. Must be called inside a runtime, after [`MessagingStack::drive`].
fn session(stack: Arc<MessagingStack>, io: Io, remote: Option<SocketAddr>) -> SessionTask<Tcp> {
    let info = SessionInfo {
        id: SessionId::random(),
        user: None,
        handshake: Handshake::new("", None, remote),
    };
    SessionTask::new(stack, info, Tcp::new(io))
}
