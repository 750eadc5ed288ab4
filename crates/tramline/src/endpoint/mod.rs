//! Where clients connect: HTTP in, sessions out.

mod body;
mod origins;
mod sockjs;
mod tcp;
mod upgrade;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Buf;
use bytestring::ByteString;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tower_service::Service;
use tramline_sockjs::{GREETING, Route, route};

pub use self::body::Body;
pub(crate) use self::origins::Origins;
pub(crate) use self::sockjs::SockJsSessions;
pub use self::tcp::DEFAULT_STOMP_PORT;

use crate::inbound::SessionInfo;
use crate::messaging::Handle;
use crate::transport::websocket::{Framing, Plain, SockJs};
use crate::{Handshake, SessionId, User};

/// A tower [`Service`] that clients connect to: WebSocket at its own path and, [with SockJS](Self::with_sockjs), that
/// below it. Made by [`Messaging::endpoint`](crate::Messaging::endpoint).
///
/// | Request | Answer |
/// |---|---|
/// | `GET` with `Upgrade: websocket` at the endpoint's path | STOMP over WebSocket, offered as `v12.stomp`, `v11.stomp` or `v10.stomp` |
/// | `GET …/websocket` | the same |
/// | `GET …/info`, `…/{server}/{session}/{transport}` | SockJS, where it is on |
/// | from a page of another origin | 403 |
/// | anything else | 400, 404, 405 or 426, with a text that says why |
///
/// The session's user is the [`User`] in the request's extensions, and its [remote address](Handshake::remote) the
/// `std::net::SocketAddr` there, if a middleware put one in; else the socket's own. The web server must let connections be upgraded, as
/// `axum::serve` does.
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
pub struct Endpoint {
    handle: Arc<Handle>,
    /// The part of the path that is not taken off before requests come here.
    mounted_at: Option<ByteString>,
    sockjs: Option<Arc<tramline_sockjs::Config>>,
}

impl Endpoint {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self {
            handle,
            mounted_at: None,
            sockjs: None,
        }
    }

    /// Offers SockJS below the endpoint's path, for clients where WebSocket cannot pass: `new SockJS('/ws')`.
    #[must_use]
    pub fn with_sockjs(self) -> Self {
        self.with_sockjs_config(tramline_sockjs::Config::default())
    }

    /// Offers SockJS with other settings than its defaults.
    #[must_use]
    pub fn with_sockjs_config(mut self, config: tramline_sockjs::Config) -> Self {
        self.sockjs = Some(Arc::new(config));
        self
    }

    /// Takes requests whose path still has the place where the endpoint is mounted: for `route_service` on `/ws`,
    /// `/ws/` and `/ws/{*rest}`. Then `/ws` and `/ws//` are told apart, which `nest_service` does not allow.
    #[must_use]
    pub fn at(mut self, path: impl Into<ByteString>) -> Self {
        let path: ByteString = path.into();
        self.mounted_at = Some(path.trim_end_matches('/').into());
        self
    }

    /// The part of a request's path that is for the endpoint; `None` if it was mounted elsewhere than it was told.
    fn path<'a>(&self, path: &'a str) -> Option<&'a str> {
        match &self.mounted_at {
            Some(place) => {
                let rest = path.strip_prefix(&**place)?;
                (rest.is_empty() || rest.starts_with('/')).then_some(rest)
            }
            // What strips a prefix leaves one slash or two where there was none or one.
            None if path.bytes().all(|byte| byte == b'/') => Some(""),
            None => Some(path),
        }
    }

    async fn answer<B>(self, mut request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data: Buf + Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let shared = &self.handle.shared;
        let origin = request.headers().get(header::ORIGIN).cloned();
        if !shared.origins.permit(request.headers(), request.uri()) {
            shared.counters.origins_refused.increment();
            tracing::info!(stack = %shared.name, ?origin, path = request.uri().path(), "foreign origin refused");
            return text(
                StatusCode::FORBIDDEN,
                "this page's origin may not connect here; see `allowed_origins`\n",
            );
        }
        let path = request.uri().path().to_owned();
        let Some(path) = self.path(&path) else {
            return self.refused(not_found());
        };
        let Some(config) = &self.sockjs else {
            return match path {
                "" | "/" => self.upgrade(&mut request, |_| Plain),
                _ => self.refused(not_found()),
            };
        };
        match route(path) {
            Route::Greeting if request.method() != Method::GET => self.refused(not_get()),
            // An endpoint takes WebSocket at its own path; without an upgrade that is SockJS's greeting.
            Route::Greeting if request.headers().contains_key(header::UPGRADE) => {
                self.upgrade(&mut request, |_| Plain)
            }
            Route::Greeting => text(StatusCode::OK, GREETING),
            Route::RawWebSocket if config.websocket => self.upgrade(&mut request, |_| Plain),
            Route::Info if shared.is_closing() => going_away(),
            Route::Info => sockjs::info(config, &request),
            Route::Transport {
                session, transport, ..
            } => {
                if transport == tramline_sockjs::Transport::WebSocket {
                    if !config.websocket {
                        return self.refused(not_found());
                    }
                    let (limits, every) = (shared.limits.payload(), config.heartbeat);
                    return self.upgrade(&mut request, move |now| SockJs::new(limits, every, now));
                }
                let session = session.to_owned();
                let info = self.session_info(&request);
                sockjs::serve(shared, config, &session, transport, info, request).await
            }
            _ => self.refused(not_found()),
        }
    }

    /// Answers a WebSocket handshake and starts the session behind it.
    fn upgrade<F: Framing, B>(
        &self,
        request: &mut Request<B>,
        framing: impl FnOnce(Instant) -> F + Send + 'static,
    ) -> Response<Body> {
        let shared = &self.handle.shared;
        if shared.is_closing() {
            return going_away();
        }
        match upgrade::answer(shared, F::NAME, request) {
            Ok((response, upgrade)) => {
                let info = self.session_info(request);
                upgrade::start(Arc::clone(shared), info, upgrade, framing);
                response
            }
            Err(response) => self.refused(response),
        }
    }

    /// What a session keeps of its request.
    fn session_info<B>(&self, request: &Request<B>) -> SessionInfo {
        let keep = &self.handle.shared.keep_headers;
        let kept = keep.iter().flat_map(|name| {
            let values = request.headers().get_all(name).iter();
            // A copy: the value is a slice of the whole request head.
            values.filter_map(move |value| {
                Some((
                    name.clone(),
                    HeaderValue::from_bytes(value.as_bytes()).ok()?,
                ))
            })
        });
        let headers =
            (!keep.is_empty()).then(|| Box::new(kept.collect::<HeaderMap<HeaderValue>>()));
        let origin = request.headers().get(header::ORIGIN);
        SessionInfo {
            id: SessionId::random(),
            user: request.extensions().get::<User>().cloned(),
            handshake: Handshake {
                path: request.uri().path().into(),
                origin: origin
                    .and_then(|origin| origin.to_str().ok())
                    .map(Into::into),
                remote: request.extensions().get::<SocketAddr>().copied(),
                headers,
            },
        }
    }

    fn refused(&self, response: Response<Body>) -> Response<Body> {
        let shared = &self.handle.shared;
        shared.counters.requests_refused.increment();
        tracing::debug!(stack = %shared.name, status = response.status().as_u16(), "request refused");
        response
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
        let endpoint = self.clone();
        Box::pin(async move { Ok(endpoint.answer(request).await) })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("messaging", &self.handle.shared)
            .field("mounted_at", &self.mounted_at)
            .field("sockjs", &self.sockjs)
            .finish()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=UTF-8");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// For newcomers at the end; sessions that are there may collect what is theirs.
fn going_away() -> Response<Body> {
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "the server is going away\n",
    )
}

fn not_get() -> Response<Body> {
    not_allowed("GET", "a WebSocket handshake is a GET\n")
}

fn not_allowed(allow: &'static str, why: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, why);
    let allow = HeaderValue::from_static(allow);
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

fn not_found() -> Response<Body> {
    text(
        StatusCode::NOT_FOUND,
        "there is nothing here; clients connect to the endpoint's own path\n",
    )
}
