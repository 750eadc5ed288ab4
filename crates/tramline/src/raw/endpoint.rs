//! The service that clients connect to.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use bytestring::ByteString;
use http::{HeaderName, Request, Response};
use tower_service::Service;

use super::handler::{self, HandlerOutput};
use super::handshake::{self, HandshakeRefused, HandshakeRequest, Interceptor};
use super::limits::RawLimits;
use super::sessions::Sessions;
use super::shared::{RawStack, StartHandler};
use super::socket::Socket;
use super::stats::{RawCounters, RawStats};
use crate::model::build_error::BuildError;
use crate::model::clock::now;
use crate::model::log::LogBudget;
use crate::net::compression::Compression;
use crate::net::drain::drain;
use crate::net::endpoint::SockJs;
use crate::net::endpoint::{
    Body, BoxError, Front, Handle, Hosts, Mounted, Origins, Proxies, TokenPlaces,
};
use crate::net::open_sessions::OpenSessions;
use crate::net::wheel::{Driver, Wheel};
use crate::stack::limits::zero_limits;

/// A tower [`Service`] that passes its clients' connections to a handler of yours, without STOMP: WebSocket at its own
/// path, and [with SockJS](RawEndpointBuilder::with_sockjs) that below it.
///
/// Mount it with `nest_service("/echo", endpoint)`, or see [`RawEndpointBuilder::at`]. It answers requests as
/// [`Endpoint`](crate::endpoint::Endpoint) does.
///
/// Cheap to clone. When the last clone is dropped, those in the web server included, the connections are closed with
/// 1001; [`shutdown`](Self::shutdown) does the same and waits.
///
/// # Example: an echo
///
/// ```
/// use tramline::raw::{RawEndpoint, SendError, Socket};
///
/// async fn echo(mut socket: Socket) -> Result<(), SendError> {
///     while let Some(message) = socket.receive().await {
///         socket.send(message).await?;
///     }
///     Ok(())
/// }
///
/// let endpoint = RawEndpoint::builder(echo).build()?;
/// let app: axum::Router = axum::Router::new().nest_service("/echo", endpoint);
/// # let _ = app;
/// # Ok::<(), tramline::BuildError>(())
/// ```
#[derive(Clone)]
pub struct RawEndpoint {
    mounted: Mounted<RawStack>,
}

impl RawEndpoint {
    /// Begins an endpoint with the handler of its connections: an async function or closure that takes a [`Socket`] and
    /// returns nothing or a [`Result`](HandlerOutput).
    ///
    /// It is called once for each connection, and runs on that connection's task. When it returns, the queued messages
    /// are written, and the connection is closed with 1000. If it panics, its client is closed with 1011; no other
    /// connection is affected. The connection's end does not stop it: [`receive`](Socket::receive) returns `None` and
    /// [`send`](super::SocketSender::send) an error, and the handler may go on for
    /// [`RawLimits::handler_time`] before it is dropped. Where it leaves messages waiting, nothing
    /// is read, and the end shows only when a [ping](RawLimits::keep_alive) cannot be written.
    ///
    /// # Example: state
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use tramline::raw::{RawEndpoint, Socket};
    ///
    /// async fn greet(mut socket: Socket, visits: Arc<AtomicUsize>) {
    ///     let visit = 1 + visits.fetch_add(1, Ordering::Relaxed);
    ///     if socket.send(format!("you are visitor {visit}")).await.is_ok() {
    ///         socket.receive().await;
    ///     }
    /// }
    ///
    /// let visits = Arc::new(AtomicUsize::new(0));
    /// let endpoint = RawEndpoint::builder(move |socket| greet(socket, Arc::clone(&visits))).build()?;
    /// # let _ = endpoint;
    /// # Ok::<(), tramline::BuildError>(())
    /// ```
    pub fn builder<H, F>(handler: H) -> RawEndpointBuilder
    where
        H: Fn(Socket) -> F + Send + Sync + 'static,
        F: Future<Output: HandlerOutput> + Send + 'static,
    {
        RawEndpointBuilder {
            handler: handler::erase(handler),
            name: ByteString::from_static("raw"),
            protocols: Vec::new(),
            interceptors: Vec::new(),
            origins: Origins::default(),
            hosts: Hosts::default(),
            proxies: Proxies::default(),
            keep_headers: Vec::new(),
            compression: Compression::Off,
            limits: RawLimits::default(),
            parts: false,
            pongs: false,
            sockjs: None,
            mounted_at: None,
        }
    }

    /// The open connections.
    pub fn sessions(&self) -> Sessions {
        Sessions(Arc::clone(self.mounted.stack()))
    }

    /// The counters of what the endpoint has done and refused so far.
    pub fn stats(&self) -> RawStats {
        self.mounted.stack().counters.snapshot()
    }

    /// Reads the counters, without keeping the endpoint.
    #[cfg(feature = "metrics")]
    pub(crate) fn reader(&self) -> impl Fn() -> Option<RawStats> + Send + Sync + 'static {
        let stack = Arc::downgrade(self.mounted.stack());
        move || Some(stack.upgrade()?.counters.snapshot())
    }

    /// Closes all connections with 1001 and waits for them and their handlers, until `deadline` at most; returns how
    /// many were still open then.
    ///
    /// New ones are refused with 503 from now on. Queued messages are written first. Dropping the future stops the
    /// waiting, not the closing.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        use crate::net::endpoint::Stack;

        let stack = self.mounted.stack();
        let lifecycle = stack.sessions.lifecycle();
        lifecycle.close_within(deadline);
        stack.close();
        lifecycle.all_gone(deadline, || stack.sessions.len()).await
    }

    /// Closes all connections gradually, spread over the time `over`, with 1012 and a window for connecting again in
    /// the reason: as [`Messaging::drain`](crate::Messaging::drain) does; returns how many were still open 5 s later.
    pub async fn drain(&self, over: Duration) -> usize {
        use crate::net::endpoint::Stack;

        let stack = self.mounted.stack();
        drain(
            stack.sessions.lifecycle(),
            over,
            || stack.sessions.len(),
            || stack.sessions.all(),
            |channel| stack.end(&channel),
            || stack.close(),
        )
        .await
    }
}

impl<B> Service<Request<B>> for RawEndpoint
where
    B: http_body::Body<Data: Buf + Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mounted = self.mounted.clone();
        Box::pin(async move { Ok(mounted.answer(request).await) })
    }
}

impl fmt::Debug for RawEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawEndpoint").field(&self.mounted).finish()
    }
}

/// Makes a [`RawEndpoint`]; [`build`](Self::build) reports all configuration errors at once.
#[must_use = "finish with `build`"]
pub struct RawEndpointBuilder {
    handler: StartHandler,
    name: ByteString,
    protocols: Vec<ByteString>,
    interceptors: Vec<Interceptor>,
    origins: Origins,
    hosts: Hosts,
    proxies: Proxies,
    keep_headers: Vec<HeaderName>,
    compression: Compression,
    limits: RawLimits,
    parts: bool,
    pongs: bool,
    sockjs: Option<SockJs>,
    mounted_at: Option<ByteString>,
}

impl RawEndpointBuilder {
    /// Sets the name that distinguishes this endpoint in logs. Default `raw`.
    pub fn name(mut self, name: impl Into<ByteString>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the sub-protocols that the handler speaks, the best first: a connection gets the first of these that its
    /// client offers, and the handler gets it from [`protocol`](super::SocketSender::protocol).
    ///
    /// A client that offers none of them is connected without one; an [interceptor](Self::intercept) can refuse it. Default:
    /// none.
    pub fn protocols<P: Into<ByteString>>(
        mut self,
        protocols: impl IntoIterator<Item = P>,
    ) -> Self {
        self.protocols.extend(protocols.into_iter().map(Into::into));
        self
    }

    /// Adds an interceptor, which inspects each request for a connection before it is answered: it may refuse it with
    /// an HTTP status, set its user, choose the sub-protocol, and add attributes for the handler.
    ///
    /// Several interceptors run in the order in which they were added, each with the result of the previous one; the
    /// first refusal ends it. They run after the checks of the origin and of the handshake's headers, and for SockJS's
    /// HTTP transports once for each session. They have [`RawLimits::handshake_time`] together.
    ///
    /// # Example: a token in the query, a tenant for the handler
    ///
    /// ```
    /// use http::StatusCode;
    /// use tramline::User;
    /// use tramline::raw::{HandshakeRefused, HandshakeRequest, RawEndpoint, Socket};
    ///
    /// #[derive(Clone)]
    /// struct Tenant(String);
    ///
    /// async fn only_members(request: HandshakeRequest) -> Result<HandshakeRequest, HandshakeRefused> {
    ///     let Some(tenant) = request.header("x-tenant").map(str::to_owned) else {
    ///         return Err(HandshakeRefused::new(StatusCode::BAD_REQUEST, "which tenant?"));
    ///     };
    ///     match request.uri().query() {
    ///         Some("token=secret") => Ok(request.with_user(User::new("alice")).with_attribute(Tenant(tenant))),
    ///         _ => Err(HandshakeRefused::new(StatusCode::UNAUTHORIZED, "members only")),
    ///     }
    /// }
    ///
    /// async fn serve(socket: Socket) {
    ///     let Tenant(tenant) = socket.attributes().get().expect("the interceptor added it");
    ///     let _ = socket.send(format!("welcome to {tenant}")).await;
    /// }
    ///
    /// let endpoint = RawEndpoint::builder(serve).intercept(only_members).build()?;
    /// # let _ = endpoint;
    /// # Ok::<(), tramline::BuildError>(())
    /// ```
    pub fn intercept<I, F>(mut self, interceptor: I) -> Self
    where
        I: Fn(HandshakeRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Result<HandshakeRequest, HandshakeRefused>> + Send + 'static,
    {
        self.interceptors.push(handshake::erase(interceptor));
        self
    }

    /// Sets the web pages whose scripts may connect, besides those of the server's own origin; as
    /// [`MessagingBuilder::allowed_origins`](crate::MessagingBuilder::allowed_origins). Default: none besides.
    pub fn allowed_origins<O: Into<ByteString>>(
        mut self,
        origins: impl IntoIterator<Item = O>,
    ) -> Self {
        self.origins = Origins::new(origins.into_iter().map(Into::into));
        self
    }

    /// Sets the names under which pages reach this server by plain HTTP; as
    /// [`MessagingBuilder::allowed_hosts`](crate::MessagingBuilder::allowed_hosts). Default: none.
    pub fn allowed_hosts<N: Into<ByteString>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.hosts = Hosts::new(names.into_iter().map(Into::into));
        self
    }

    /// Sets the proxies that are trusted to report the client's address and the host it asked for; as
    /// [`MessagingBuilder::trusted_proxies`](crate::MessagingBuilder::trusted_proxies). Default: none.
    pub fn trusted_proxies<P: Into<ByteString>>(
        mut self,
        proxies: impl IntoIterator<Item = P>,
    ) -> Self {
        self.proxies = Proxies::new(proxies.into_iter().map(Into::into));
        self
    }

    /// Sets the headers of the HTTP request that a session keeps for its [handshake](super::SocketSender::handshake).
    /// Default: none, since a browser sends some 4 KiB of them.
    pub fn keep_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.keep_headers.extend(names);
        self
    }

    /// Sets the compression of messages for clients that offer it: see [`Compression`] for its cost. A broadcast is
    /// compressed once for all. Default: [`Compression::Off`].
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the limits of each connection. Default [`RawLimits::default`].
    pub fn limits(mut self, limits: RawLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Passes messages to [`receive_event`](Socket::receive_event) in parts as they arrive, so that a message much
    /// larger than memory should hold can be processed; no part of it is kept here. Default `false`.
    ///
    /// Raise [`RawLimits::message`], which bounds the sum of the parts.
    ///
    /// # Example: an upload of any size
    ///
    /// ```
    /// use tramline::raw::{RawEndpoint, RawLimits, Received, Socket};
    ///
    /// async fn measure(mut socket: Socket) {
    ///     let mut size = 0;
    ///     while let Some(Received::Part { part, is_last }) = socket.receive_event().await {
    ///         size += part.len();
    ///         if is_last && socket.send(format!("{size} bytes")).await.is_err() {
    ///             return;
    ///         }
    ///     }
    /// }
    ///
    /// let mut limits = RawLimits::default();
    /// limits.message = 4 << 30;
    /// limits.fragments = u32::MAX;
    /// let endpoint = RawEndpoint::builder(measure).partial_messages(true).limits(limits).build()?;
    /// # let _ = endpoint;
    /// # Ok::<(), tramline::BuildError>(())
    /// ```
    pub fn partial_messages(mut self, on: bool) -> Self {
        self.parts = on;
        self
    }

    /// Passes pongs to [`receive_event`](Socket::receive_event). Default `false`: they count as a sign of life and are
    /// dropped.
    pub fn pongs(mut self, on: bool) -> Self {
        self.pongs = on;
        self
    }

    /// Offers SockJS below the endpoint's path, for clients that cannot use WebSocket: `new SockJS('/echo')`. The
    /// handler is the same, but can send and receive text only.
    pub fn with_sockjs(self) -> Self {
        self.sockjs(SockJs::default())
    }

    /// Offers SockJS with other options than its defaults.
    pub fn sockjs(mut self, options: SockJs) -> Self {
        self.sockjs = Some(options);
        self
    }

    /// Accepts requests whose path still includes the path at which the endpoint is mounted, as
    /// [`Endpoint::at`](crate::endpoint::Endpoint::at).
    pub fn at(mut self, path: impl Into<ByteString>) -> Self {
        self.mounted_at = Some(path.into());
        self
    }

    /// Builds the endpoint. Starts nothing: the first connection does, on the runtime that serves it.
    ///
    /// # Errors
    ///
    /// [`BuildError`] with all configuration errors.
    pub fn build(self) -> Result<RawEndpoint, BuildError> {
        let mut errors = self.origins.errors.clone();
        errors.extend(self.hosts.errors.iter().cloned());
        errors.extend(self.proxies.errors.iter().cloned());
        for (index, protocol) in self.protocols.iter().enumerate() {
            if protocol.is_empty() || !protocol.bytes().all(is_token) {
                errors.push(format!(
                    "sub-protocol {protocol:?}: must be letters, digits and `!#$%&'*+-.^_|~` (RFC 6455 section 4.1)"
                ));
            }
            if self.protocols[..index].contains(protocol) {
                errors.push(format!("sub-protocol {protocol:?} is named twice"));
            }
        }
        let limits = &self.limits;
        errors.extend(zero_limits([
            ("message", limits.message == 0),
            ("frame", limits.frame == Some(0)),
            ("fragments", limits.fragments == 0),
            ("outbox", limits.outbox == 0),
            ("send_time", limits.send_time.is_zero()),
            ("handshake_time", limits.handshake_time.is_zero()),
            ("handler_time", limits.handler_time.is_zero()),
            ("idle_timeout", limits.idle_timeout == Some(Duration::ZERO)),
            ("keep_alive_timeout", limits.keep_alive_timeout.is_zero()),
        ]));
        if !errors.is_empty() {
            return Err(BuildError::new("the raw endpoint", errors));
        }
        let stack = RawStack {
            name: self.name,
            handler: self.handler,
            protocols: self.protocols,
            interceptors: self.interceptors,
            limits: self.limits,
            parts: self.parts,
            pongs: self.pongs,
            front: Front {
                origins: self.origins,
                hosts: self.hosts,
                proxies: self.proxies,
                tokens: TokenPlaces::default(),
                keep_headers: self.keep_headers,
                keep_extensions: Vec::new(),
                compression: self.compression,
            },
            wheel: Arc::new(Wheel::new(now())),
            driver: Driver::default(),
            counters: RawCounters::default(),
            log_budget: LogBudget::new(now()),
            sessions: OpenSessions::default(),
        };
        let handle = Handle::new(Arc::new(stack));
        let mut mounted = Mounted::new(Arc::new(handle));
        if let Some(options) = self.sockjs {
            mounted.sockjs(options);
        }
        if let Some(path) = self.mounted_at {
            mounted.at(&path);
        }
        Ok(RawEndpoint { mounted })
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl fmt::Debug for RawEndpointBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEndpointBuilder")
            .field("name", &self.name)
            .field("protocols", &self.protocols)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
