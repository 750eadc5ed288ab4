//! The HTTP endpoints that clients connect to.

mod body;
mod hosts;
pub(crate) mod incoming;
mod origins;
pub(crate) mod proxies;
pub(crate) mod sockjs;
mod stack;
mod upgrade;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use tramline_sockjs::{GREETING, Route, Transport};

pub use self::body::Body;
pub(crate) use self::hosts::Hosts;
use self::incoming::Incoming;
pub(crate) use self::origins::Origins;
use self::origins::Verdict;
pub(crate) use self::proxies::Proxies;
pub use self::sockjs::SockJs;
use self::sockjs::SockJsService;
pub(crate) use self::stack::{
    Admitted, Front, Handle, KeepExtension, Refusals, Stack, keep_extension,
};
pub(crate) use self::upgrade::offered_protocols;

use crate::model::inbound::SessionInfo;
use crate::model::log::log_client;
use crate::model::user::Handshake;
use crate::model::user::User;
use crate::net::lifecycle::Lifecycle;
use crate::net::transport::messages::RawFraming;
use crate::net::transport::websocket::{Plain, SockJs as SockJsFrames};
use tramline_broker::SessionId;

/// A stack mounted at a path of the web server.
pub(crate) struct Mounted<S: Stack> {
    handle: Arc<Handle<S>>,
    /// The part of the path that the web server does not strip from requests.
    mounted_at: Option<ByteString>,
    sockjs: Option<Arc<SockJsService>>,
}

impl<S: Stack> Mounted<S> {
    pub(crate) fn new(handle: Arc<Handle<S>>) -> Self {
        Self {
            handle,
            mounted_at: None,
            sockjs: None,
        }
    }

    pub(crate) fn sockjs(&mut self, options: SockJs) {
        self.sockjs = Some(Arc::new(SockJsService::new(options)));
    }

    pub(crate) fn at(&mut self, path: &str) {
        self.mounted_at = Some(path.trim_end_matches('/').into());
    }

    pub(crate) fn stack(&self) -> &Arc<S> {
        &self.handle.stack
    }

    /// The part of a request's path that is for the endpoint; `None` if it is mounted elsewhere than configured.
    fn path<'a>(&self, path: &'a str) -> Option<&'a str> {
        match &self.mounted_at {
            Some(place) => {
                let rest = path.strip_prefix(&**place)?;
                (rest.is_empty() || rest.starts_with('/')).then_some(rest)
            }
            // Routers that strip a prefix may leave one slash or two where there was none or one.
            None if path.bytes().all(|byte| byte == b'/') => Some(""),
            None => Some(path),
        }
    }

    pub(crate) async fn answer<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data: Buf + Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let stack = self.stack();
        let front = stack.front();
        let (mut parts, body) = request.into_parts();
        // Each path below drops it, unless it needs it.
        let body = Incoming::new(body);
        let path = parts.uri.path().to_owned();
        let path = self.path(&path);
        let route = match (path, &self.sockjs) {
            (Some(path), Some(service)) => service.route(path),
            (Some("" | "/"), None) => Route::Greeting,
            _ => Route::NotFound,
        };
        let embedded =
            matches!(route, Route::Transport { transport, .. } if !transport.names_origin());
        let verdict = match embedded {
            true => front.origins.judge_embedded(&parts, front),
            false => front.origins.judge(&parts, front),
        };
        match verdict {
            Verdict::Permitted => {}
            Verdict::WithoutCredentials => without_credentials(&mut parts),
            refused => {
                let (origin, host) = (
                    parts.headers.get(header::ORIGIN),
                    parts.headers.get(header::HOST),
                );
                stack.counters().origins.increment();
                log_client!(
                    INFO if stack.may_log_request(&parts),
                    { stack = stack.name(), remote = ?front.client(&parts) },
                    format_args!("foreign origin refused; {}", refused.remedy()),
                    format_args!("{origin:?} to {host:?} at {}", parts.uri.path())
                );
                return text(StatusCode::FORBIDDEN, "this page may not connect here\n");
            }
        }
        let Some(service) = &self.sockjs else {
            return match route {
                Route::Greeting => self.upgrade(parts, |_| Plain).await,
                _ => self.refused(not_found()),
            };
        };
        match route {
            Route::Greeting if parts.method != Method::GET => self.refused(not_get()),
            // An endpoint takes WebSocket at its own path; without an upgrade that path returns SockJS's greeting.
            Route::Greeting if is_handshake(&parts.headers) => self.upgrade(parts, |_| Plain).await,
            Route::Greeting => text(StatusCode::OK, GREETING),
            Route::RawWebSocket => self.upgrade(parts, |_| Plain).await,
            Route::Iframe => {
                let ancestors = front.origins.frame_ancestors();
                self.refused_if_so(service.iframe(&parts, ancestors.as_deref()))
            }
            Route::Info if stack.lifecycle().is_closing() => {
                self.refused(going_away(stack.lifecycle()))
            }
            Route::Info => self.refused_if_so(service.info(&parts)),
            Route::Transport {
                transport: Transport::WebSocket,
                ..
            } if parts.method != Method::GET => self.refused(not_allowed("GET")),
            Route::Transport {
                transport: Transport::WebSocket,
                ..
            } => {
                let (limits, every) = (stack.payload_limits(), service.config().heartbeat);
                let framing = move |now| SockJsFrames::new(limits, every, now);
                self.upgrade(parts, framing).await
            }
            Route::Transport {
                session, transport, ..
            } => {
                let served = service.serve(stack, session, transport, parts, body);
                self.refused_if_so(served.await)
            }
            _ => self.refused(not_found()),
        }
    }

    /// Answers a WebSocket handshake and starts the session behind it.
    async fn upgrade<F: RawFraming>(
        &self,
        mut parts: Parts,
        framing: impl FnOnce(Instant) -> F + Send + 'static,
    ) -> Response<Body> {
        let stack = self.stack();
        if stack.lifecycle().is_closing() {
            return self.refused(going_away(stack.lifecycle()));
        }
        let (mut response, upgrade) = match upgrade::check(&**stack, F::NAME, &mut parts) {
            Ok(accepted) => accepted,
            Err(response) => return self.refused(response),
        };
        match stack.admit(&mut parts).await {
            Ok(Admitted { opening, protocol }) => {
                if let Some(protocol) = protocol {
                    response
                        .headers_mut()
                        .insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
                }
                upgrade::start(Arc::clone(stack), opening, upgrade, framing);
                response
            }
            Err(response) => self.refused(response),
        }
    }

    /// Counts an answer that refuses the method, finds no room or throttles.
    fn refused_if_so(&self, response: Response<Body>) -> Response<Body> {
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::TOO_MANY_REQUESTS => self.refused(response),
            _ => response,
        }
    }

    fn refused(&self, response: Response<Body>) -> Response<Body> {
        let stack = self.stack();
        stack.counters().requests.increment();
        log_client!(
            DEBUG,
            { stack = stack.name(), status = response.status().as_u16() },
            "request refused"
        );
        response
    }
}

impl<S: Stack> Clone for Mounted<S> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
            mounted_at: self.mounted_at.clone(),
            sockjs: self.sockjs.clone(),
        }
    }
}

impl<S: Stack> fmt::Debug for Mounted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted")
            .field("stack", self.stack())
            .field("mounted_at", &self.mounted_at)
            .field("sockjs", &self.sockjs)
            .finish()
    }
}

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns true for a WebSocket handshake, even if a proxy has taken its `Upgrade` off.
fn is_handshake(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) || headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// Takes from a request all that says whose it is: any page may have sent it, with its visitor's cookies.
fn without_credentials(parts: &mut Parts) {
    let cookies = parts.headers.get_all(header::COOKIE).iter();
    let cookies = DroppedCookies(cookies.cloned().collect());
    for name in [header::COOKIE, header::AUTHORIZATION] {
        parts.headers.remove(name);
    }
    let mut extensions = std::mem::take(&mut parts.extensions);
    if let Some(peer) = extensions.remove::<SocketAddr>() {
        parts.extensions.insert(peer);
    }
    if let Some(upgrade) = extensions.remove::<OnUpgrade>() {
        parts.extensions.insert(upgrade);
    }
    parts.extensions.insert(cookies);
}

/// Cookies that say nothing here but to a load balancer, which finds its own in the answer again.
#[derive(Clone)]
struct DroppedCookies(Vec<HeaderValue>);

/// The part of its request that a session keeps.
pub(crate) fn session_info(front: &Front, parts: &Parts) -> SessionInfo {
    let keep = &front.keep_headers;
    let kept = keep.iter().flat_map(|name| {
        let values = parts.headers.get_all(name).iter();
        // Copied: the value is a slice of the whole request head.
        values.filter_map(move |value| {
            Some((
                name.clone(),
                HeaderValue::from_bytes(value.as_bytes()).ok()?,
            ))
        })
    });
    let headers = (!keep.is_empty()).then(|| Box::new(kept.collect::<HeaderMap<HeaderValue>>()));
    let origin = parts.headers.get(header::ORIGIN);
    let remote = front.client(parts);
    SessionInfo {
        id: SessionId::random(),
        user: parts.extensions.get::<User>().cloned(),
        handshake: Handshake {
            path: parts.uri.path().into(),
            query: parts.uri.query().map(Into::into),
            origin: origin
                .and_then(|origin| origin.to_str().ok())
                .map(Into::into),
            remote,
            headers,
            extensions: front.kept_extensions(&parts.extensions),
        },
    }
}

pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=UTF-8");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// Refuses new clients during shutdown; existing sessions may still fetch their messages.
fn going_away(lifecycle: &Lifecycle) -> Response<Body> {
    let mut response = text(
        StatusCode::SERVICE_UNAVAILABLE,
        "the server is going away\n",
    );
    let seconds = HeaderValue::from(lifecycle.retry_after());
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

fn not_get() -> Response<Body> {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "a WebSocket handshake is a GET\n",
    );
    let get = HeaderValue::from_static("GET");
    response.headers_mut().insert(header::ALLOW, get);
    response
}

/// Without body and content type, as the SockJS test script demands.
fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
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
