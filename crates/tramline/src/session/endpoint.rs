//! Where clients connect over HTTP, as a tower service.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use bytestring::ByteString;
use http::request::Parts;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use crate::net;
use crate::net::endpoint::{Body, BoxError, Handle, Mounted, SockJs};
use crate::stack::messaging::Messaging;
use crate::stack::shared::MessagingStack;

/// A tower [`Service`] that clients connect to: WebSocket at its own path and, [with SockJS](Self::with_sockjs), that
/// below it. Made by [`Messaging::endpoint`](crate::Messaging::endpoint).
///
/// | Request | Answer |
/// |---|---|
/// | `GET` with `Upgrade: websocket` at the endpoint's path | STOMP over WebSocket, offered as `v12.stomp`, `v11.stomp` or `v10.stomp` |
/// | `GET …/websocket` | the same |
/// | `GET …/info`, `…/iframe.html`, `…/{server}/{session}/{transport}` | [SockJS](SockJs), where it is on; then `GET` at the endpoint's path greets |
/// | from a page of another origin | 403 |
/// | anything else | 400, 404, 405 or 426, with a text that says why |
///
/// The session's user is the [`User`](crate::User) in the request's extensions, and its [remote address](crate::login::Handshake::remote) the
/// `std::net::SocketAddr` there, if the server or a middleware put one in, as [`tramline::serve`](crate::serve()) does; else the
/// socket's own. The web server must let connections be upgraded, as `tramline::serve` and `axum::serve` do.
///
/// # Example: mounted in axum
///
/// ```
/// use axum::Router;
/// # fn mount(messaging: tramline::Messaging) -> Router {
/// Router::new().nest_service("/ws", messaging.endpoint().with_sockjs())
/// # }
/// # let _ = mount;
/// ```
#[derive(Clone)]
pub struct Endpoint(Mounted<MessagingStack>);

impl Messaging {
    /// A tower service for clients to connect to, by WebSocket at its own path.
    ///
    /// Mount it with `nest_service("/ws", messaging.endpoint())`, or see [`Endpoint::at`].
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(Arc::clone(&self.handle))
    }
}

impl Endpoint {
    pub(crate) fn new(handle: Arc<Handle<MessagingStack>>) -> Self {
        Self(Mounted::new(handle))
    }

    /// Offers SockJS below the endpoint's path, for clients where WebSocket cannot pass: `new SockJS('/ws')`. With the
    /// options of the settings, where the stack was given any, else with the defaults.
    #[must_use]
    pub fn with_sockjs(self) -> Self {
        let options = self.0.stack().sockjs.clone();
        self.sockjs(options)
    }

    /// Offers SockJS with these options.
    ///
    /// Endpoints of one [`Messaging`](crate::Messaging) that have the same options share their SockJS sessions, so an
    /// endpoint may be made for each connection or request.
    #[must_use]
    pub fn sockjs(mut self, options: SockJs) -> Self {
        self.0.sockjs(options);
        self
    }

    /// Accepts a WebSocket handshake whose connection a server without tower services holds: checks it as a request to the
    /// endpoint's own path, and gives the answer to write. `parts` is the head of the request, with what its middleware
    /// knows in the extensions: the [`User`](crate::User), the peer's `std::net::SocketAddr`. SockJS has more requests
    /// than this one, and is not served so.
    ///
    /// # Errors
    ///
    /// The answer that refuses: 400, 403, 405, 426 or 503, with a text that says why.
    ///
    /// # Example: below any server that gives its socket away
    ///
    /// ```
    /// use http::request::Parts;
    /// use tokio::net::TcpStream;
    /// use tramline::Messaging;
    ///
    /// # async fn write(_: &mut TcpStream, _: &http::Response<impl Sized>) {}
    /// async fn upgrade(messaging: Messaging, head: Parts, mut socket: TcpStream) {
    ///     match messaging.endpoint().accept(head).await {
    ///         Ok(accepted) => {
    ///             write(&mut socket, accepted.response()).await; // 101, its headers, and an empty line
    ///             accepted.serve_upgraded(socket).await;
    ///         }
    ///         Err(refused) => write(&mut socket, &refused).await,
    ///     }
    /// }
    /// # let _ = upgrade;
    /// ```
    pub async fn accept(&self, parts: Parts) -> Result<Accepted, Response<Body>> {
        self.0.accept(parts).await.map(Accepted)
    }

    /// Takes requests whose path still has the place where the endpoint is mounted: for `route_service` on `/ws`,
    /// `/ws/` and `/ws/{*rest}`. Then `/ws` and `/ws//` are told apart, which `nest_service` does not allow.
    #[must_use]
    pub fn at(mut self, path: impl Into<ByteString>) -> Self {
        self.0.at(&path.into());
        self
    }
}

/// A WebSocket handshake that was accepted: made by [`Endpoint::accept`].
#[must_use = "write its response, then serve it"]
pub struct Accepted(net::endpoint::Accepted<MessagingStack>);

impl Accepted {
    /// The answer to write: 101 with its headers.
    pub fn response(&self) -> &Response<()> {
        self.0.response()
    }

    /// Runs the session to its end on the connection, of which the answer was the last that HTTP has written, and the
    /// request the last that it has read. Set `TCP_NODELAY` on a TCP socket below it.
    pub async fn serve_upgraded<T>(self, io: T)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.0.serve(io).await;
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Accepted").field(self.response()).finish()
    }
}

impl<B> Service<Request<B>> for Endpoint
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
        let mounted = self.0.clone();
        Box::pin(async move { Ok(mounted.answer(request).await) })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.0).finish()
    }
}
