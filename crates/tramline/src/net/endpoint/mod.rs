//! The HTTP endpoints that clients connect to.

mod accept;
mod body;
mod credentials;
mod handle;
mod hosts;
pub(crate) mod incoming;
mod origins;
pub(crate) mod proxies;
mod refusals;
pub(crate) mod sockjs;
mod stack;
mod tokens;
mod upgrade;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use tramline_sockjs::{GREETING, Route, Transport};
use tramline_websocket::Agreement;

pub(crate) use self::accept::Accepted;
pub use self::body::Body;
pub(crate) use self::body::BoxError;
use self::credentials::without_credentials;
pub(crate) use self::handle::Handle;
pub(crate) use self::hosts::Hosts;
use self::incoming::Incoming;
pub(crate) use self::origins::Origins;
use self::origins::Verdict;
pub(crate) use self::proxies::Proxies;
use self::refusals::{going_away, not_allowed, not_found, not_get};
pub(crate) use self::refusals::{text, too_many};
pub use self::sockjs::SockJs;
use self::sockjs::SockJsService;
pub(crate) use self::stack::{Admitted, Front, KeepExtension, Refusals, Stack, keep_extension};
pub(crate) use self::tokens::{TokenPlaces, bearer};
pub(crate) use self::upgrade::offered_protocols;

use crate::model::inbound::SessionInfo;
use crate::model::log::log_client;
use crate::model::user::Handshake;
use crate::model::user::User;
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
        self.sockjs = Some(self.handle.sockjs(options));
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
        if let Err(refused) = self.judge(&mut parts, embedded) {
            return refused;
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
            Route::Info => self.refused_if_so(service.info(&**stack, &parts)),
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

    /// Refuses a request from a foreign page, and takes its credentials from one that any page may have sent.
    #[expect(
        clippy::result_large_err,
        reason = "once per request, and it is the answer"
    )]
    fn judge(&self, parts: &mut Parts, embedded: bool) -> Result<(), Response<Body>> {
        let stack = self.stack();
        let front = stack.front();
        let verdict = match embedded {
            true => front.origins.judge_embedded(parts, front),
            false => front.origins.judge(parts, front),
        };
        match verdict {
            Verdict::Permitted => {}
            Verdict::WithoutCredentials => without_credentials(parts),
            refused => {
                let (origin, host) = (
                    parts.headers.get(header::ORIGIN),
                    parts.headers.get(header::HOST),
                );
                stack.counters().origins.increment();
                log_client!(
                    INFO if stack.may_log_request(parts),
                    { stack = stack.name(), remote = ?front.client(parts) },
                    format_args!("foreign origin refused; {}", refused.remedy()),
                    format_args!("{origin:?} to {host:?} at {}", parts.uri.path())
                );
                return Err(text(
                    StatusCode::FORBIDDEN,
                    "this page may not connect here\n",
                ));
            }
        }
        Ok(())
    }

    /// Answers a WebSocket handshake and starts the session behind it.
    async fn upgrade<F: RawFraming>(
        &self,
        mut parts: Parts,
        framing: impl FnOnce(Instant) -> F + Send + 'static,
    ) -> Response<Body> {
        let stack = self.stack();
        let connection = parts.extensions.remove::<OnUpgrade>();
        match self.begin(&mut parts).await {
            Ok((response, agreement, opening)) => {
                let Some(connection) = connection else {
                    return self.refused(upgrade::impossible(&**stack, &parts, F::NAME));
                };
                let stack = Arc::clone(stack);
                upgrade::start(stack, opening, connection, agreement, framing);
                response
            }
            Err(response) => response,
        }
    }

    /// Checks a WebSocket handshake, and begins its session; returns the answer that accepts or refuses it.
    async fn begin(
        &self,
        parts: &mut Parts,
    ) -> Result<(Response<Body>, Option<Agreement>, S::Opening), Response<Body>> {
        let stack = self.stack();
        if stack.lifecycle().is_closing() {
            return Err(self.refused(going_away(stack.lifecycle())));
        }
        let checked = upgrade::check(&**stack, parts);
        let (mut response, agreement) = checked.map_err(|refused| self.refused(refused))?;
        let admitted = stack.admit(parts).await;
        let Admitted { opening, protocol } = admitted.map_err(|refused| self.refused(refused))?;
        if let Some(protocol) = protocol {
            let headers = response.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        Ok((response, agreement, opening))
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

/// Returns true for a WebSocket handshake, even if a proxy has taken its `Upgrade` off.
fn is_handshake(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) || headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

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
    let origin = parts.headers.get(header::ORIGIN);
    let remote = front.client(parts);
    let origin = origin.and_then(|origin| origin.to_str().ok());
    let mut handshake = Handshake::new(parts.uri.path(), origin, remote);
    let extensions = front.kept_extensions(&parts.extensions);
    let token = front.tokens.find(parts);
    handshake.keep(parts.uri.query(), kept.collect(), extensions, token);
    SessionInfo {
        id: SessionId::random(),
        user: parts.extensions.get::<User>().cloned(),
        handshake,
    }
}
