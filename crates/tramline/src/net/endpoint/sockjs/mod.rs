//! SockJS at one endpoint: its fixed answers, and its sessions over plain HTTP requests.
//!
//! The sessions' content is not known here: see [`Stack`].

mod answers;
mod cookie;
mod options;
mod sending;
pub(crate) mod sessions;

use std::sync::Arc;

use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use tramline_sockjs::{
    Config, IframePage, Info, Receive, Route, SockJsSession, Transport, headers, route,
};

use self::cookie::{give_cookie, proof};
pub use self::options::SockJs;
use self::sessions::{Asker, Found, LOOKUP_TIME, Opened, Sessions};
use super::body::{Body, BoxError};
use super::incoming::{Discarded, Incoming};
use super::refusals::{going_away, not_allowed, text};
use super::stack::Stack;
use crate::model::log::log_client;
use crate::model::user::User;
use crate::net::places::Full;
use crate::net::transport::sockjs::{HttpLink, SockJsHttp};
use crate::net::wheel::Driver;

/// SockJS at one endpoint.
#[derive(Debug)]
pub(crate) struct SockJsService {
    options: SockJs,
    config: Arc<Config>,
    iframe: IframePage,
    sessions: Arc<Sessions>,
}

impl SockJsService {
    pub(crate) fn new(options: SockJs) -> Self {
        let mut config = options.config.clone();
        config.websocket = options.offers(Transport::WebSocket);
        Self {
            config: Arc::new(config),
            iframe: IframePage::new(&options.client_library_url),
            sessions: Arc::new(Sessions::new(
                options.max_sessions,
                options.max_sessions_per_address,
            )),
            options,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The route of a path, if it is offered.
    pub(crate) fn route<'a>(&self, path: &'a str) -> Route<'a> {
        match route(path) {
            Route::RawWebSocket if !self.config.websocket => Route::NotFound,
            Route::Iframe if self.options.client_library_url.is_empty() => Route::NotFound,
            Route::Transport { transport, .. } if !self.options.offers(transport) => {
                Route::NotFound
            }
            route => route,
        }
    }

    /// `/info`: the transports and settings for the client.
    pub(crate) fn info<S: Stack>(&self, stack: &S, parts: &Parts) -> Response<Body> {
        let mut response = match parts.method {
            Method::GET => {
                let mut entropy = [0; 4];
                // The entropy is meant for old browsers; without it the client uses its own.
                let _ = getrandom::fill(&mut entropy);
                let info = Info::new(&self.config, u32::from_ne_bytes(entropy));
                let mut response = Response::new(Body::from(info.to_json()));
                answers::set(&mut response, header::CONTENT_TYPE, headers::JSON);
                answers::never_cached(&mut response);
                if stack.before_login().is_some() {
                    give_cookie(parts, &mut response);
                }
                response
            }
            Method::OPTIONS => answers::options(),
            _ => not_allowed(headers::INFO_ALLOW),
        };
        self.cross_origin(parts, headers::INFO_ALLOW, &mut response);
        response
    }

    /// The page for transports of other origins; `ancestors` restricts who may embed it, `None` allows all.
    pub(crate) fn iframe(&self, parts: &Parts, ancestors: Option<&str>) -> Response<Body> {
        if parts.method != Method::GET {
            return not_allowed("GET");
        }
        let mut response = answers::iframe(&self.iframe, &parts.headers);
        if let Some(ancestors) = ancestors {
            let policy = format!("frame-ancestors {ancestors}");
            answers::set(&mut response, header::CONTENT_SECURITY_POLICY, &policy);
            // Browsers that support the policy ignore this.
            answers::set(&mut response, header::X_FRAME_OPTIONS, "SAMEORIGIN");
        }
        response
    }

    /// A request of one of the HTTP transports.
    pub(crate) async fn serve<S: Stack, B>(
        &self,
        stack: &Arc<S>,
        name: &str,
        kind: Transport,
        mut parts: Parts,
        body: Incoming<B>,
    ) -> Response<Body>
    where
        B: Discarded<Error: Into<BoxError>>,
    {
        let mut response = if parts.method == Method::OPTIONS && kind.is_preflighted() {
            answers::options()
        } else if parts.method != kind.method() {
            not_allowed(kind.allow())
        } else {
            let mut response = match kind.receive(parts.uri.query().unwrap_or_default()) {
                None => self.send(stack, name, kind, &parts, body).await,
                Some(Ok(receive)) => self.receive(stack, name, receive, &mut parts).await,
                Some(Err(error)) => {
                    stack.broken(&error);
                    text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
                }
            };
            answers::never_cached(&mut response);
            if self.options.session_cookie {
                answers::session_cookie(&parts, &mut response);
            }
            response
        };
        if kind.is_cors() {
            self.cross_origin(&parts, kind.allow(), &mut response);
        }
        response
    }

    /// Opens the session if there is none, and receives from it.
    async fn receive<S: Stack>(
        &self,
        stack: &Arc<S>,
        name: &str,
        receive: Receive,
        parts: &mut Parts,
    ) -> Response<Body> {
        let owner = owner(parts).cloned();
        let address = stack.front().network(parts);
        let asker = Asker {
            user: owner.as_ref(),
            address,
            proof: proof(parts, address),
        };
        let mut is_new = false;
        let session = match self.sessions.find(name, &asker, true) {
            Some(found) => found_by(stack, name, found),
            None if stack.lifecycle().is_closing() => Err(going_away(stack.lifecycle()).into()),
            None => {
                let opening = match stack.admit(parts).await {
                    Ok(admitted) => admitted.opening,
                    Err(response) => {
                        // The caller counts all answers for lack of room.
                        let counted = [
                            StatusCode::SERVICE_UNAVAILABLE,
                            StatusCode::TOO_MANY_REQUESTS,
                        ];
                        if !counted.contains(&response.status()) {
                            stack.counters().requests.increment();
                        }
                        return response;
                    }
                };
                is_new = stack.before_login().is_some();
                self.open(stack, name, &asker, opening)
            }
        };
        let session = match session {
            Ok(session) => session,
            Err(response) => return *response,
        };
        let content_type = receive.transport().content_type();
        let receiver = session.attach(receive, asker.proof);
        let mut response = Response::new(Body::receiver(receiver));
        if is_new {
            give_cookie(parts, &mut response);
        }
        if let Some(content_type) = content_type {
            answers::set(&mut response, header::CONTENT_TYPE, content_type);
        }
        // These run as scripts or show as pages: browsers must not guess another type.
        answers::set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        // nginx buffers answers until they have some kilobytes, and obeys this.
        answers::set(&mut response, answers::X_ACCEL_BUFFERING, "no");
        response
    }

    /// Makes a session, unless another request has done so meanwhile.
    fn open<S: Stack>(
        &self,
        stack: &Arc<S>,
        name: &str,
        asker: &Asker<'_>,
        opening: S::Opening,
    ) -> Result<Arc<HttpLink>, Box<Response<Body>>> {
        Driver::start(stack);
        let opened = self.sessions.open(name, asker, |place| {
            let machine = SockJsSession::new(Arc::clone(&self.config), stack.wheel().now());
            let wheel = Arc::clone(stack.wheel());
            let cache = self.options.message_cache;
            let is_owned = asker.user.is_some();
            HttpLink::new(machine, wheel, cache, stack.before_login(), is_owned, place)
        });
        let full = match opened {
            Opened::New(session, place) => {
                let transport = SockJsHttp::new(Arc::clone(&session));
                let task = Arc::clone(stack).session(opening, transport);
                let time = self.options.remember_time;
                tokio::spawn(async move {
                    task.await;
                    // A separate task: that of the session is larger, and its memory is not needed any more.
                    tokio::spawn(place.remember(time));
                });
                return Ok(session);
            }
            Opened::Found(found) => return found_by(stack, name, found),
            Opened::Full(Full::InAll) => format!(
                "there are {} SockJS sessions, as many as may be (`SockJs::max_sessions`); try again later\n",
                self.options.max_sessions
            ),
            Opened::Full(Full::OfAddress) => format!(
                "your address has {} SockJS sessions without a user, as many as may be \
                 (`SockJs::max_sessions_per_address`); try again later\n",
                self.options.max_sessions_per_address
            ),
        };
        Err(text(StatusCode::SERVICE_UNAVAILABLE, full).into())
    }

    fn cross_origin(&self, parts: &Parts, allow: &'static str, response: &mut Response<Body>) {
        if self.options.cors {
            let preflight = (parts.method == Method::OPTIONS).then_some(allow);
            answers::cross_origin(&parts.headers, preflight, response);
        }
    }
}

fn owner(parts: &Parts) -> Option<&ByteString> {
    parts.extensions.get::<User>().map(User::shared_name)
}

fn found_by<S: Stack>(
    stack: &Arc<S>,
    name: &str,
    found: Found,
) -> Result<Arc<HttpLink>, Box<Response<Body>>> {
    match found {
        Found::Session(session) => Ok(session),
        Found::NotYours => Err(not_yours(stack, name).into()),
        Found::Throttled => Err(throttled().into()),
    }
}

/// Refuses a look-up whether or not there is such a session. The caller counts it.
fn throttled() -> Response<Body> {
    let why = "too many requests for sessions that are not there; try again later\n";
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, why);
    let seconds = HeaderValue::from(LOOKUP_TIME.as_secs());
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

/// Another user's session, or none: indistinguishable for the client.
fn not_yours<S: Stack>(stack: &Arc<S>, session: &str) -> Response<Body> {
    stack.counters().requests.increment();
    log_client!(
        DEBUG,
        { stack = stack.name() },
        "a request for a session that is not the asker's, or not there",
        session
    );
    text(StatusCode::NOT_FOUND, "")
}
