//! SockJS at one endpoint: its fixed answers, and its sessions over plain HTTP requests.
//!
//! What runs inside a session is not known here: see [`Inside`].

mod answers;
mod options;
mod sessions;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tramline_sockjs::{
    Config, IframePage, Info, PayloadLimits, Receive, Route, Session, Transport, form_field,
    headers, parse_messages, route,
};

pub use self::options::SockJs;
use self::sessions::{Found, Sessions};
use super::{Body, BoxError, going_away, not_allowed, text};
use crate::inbound::SessionInfo;
use crate::transport::sockjs::{Shared, SockJsHttp};
use crate::wheel::Wheel;

/// What runs inside sessions: STOMP, or an application's own handler.
pub(crate) trait Inside: Clone + Send + Sync + 'static {
    /// Starts what turns the wheel, if it does not run yet; called before a session is made.
    fn drive(&self);

    /// What tells the time to sessions, and wakes them.
    fn wheel(&self) -> &Arc<Wheel>;

    /// What one request may send.
    fn payload_limits(&self) -> PayloadLimits;

    /// Whether newcomers are refused, because this is the end.
    fn is_closing(&self) -> bool;

    /// A request could not be understood; to be counted and logged.
    fn broken(&self, error: &dyn fmt::Display);

    /// A session over HTTP requests, from its beginning to its end.
    fn run(
        self,
        info: SessionInfo,
        transport: SockJsHttp,
    ) -> impl Future<Output = ()> + Send + 'static;
}

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
            sessions: Arc::default(),
            options,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// What a path asks for, as far as it is offered.
    pub(crate) fn route<'a>(&self, path: &'a str) -> Route<'a> {
        match route(path) {
            Route::RawWebSocket if !self.config.websocket => Route::NotFound,
            Route::Transport { transport, .. } if !self.options.offers(transport) => {
                Route::NotFound
            }
            route => route,
        }
    }

    /// `/info`: what the client may try.
    pub(crate) fn info<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut response = match *request.method() {
            Method::GET => {
                let mut entropy = [0; 4];
                // Entropy is a courtesy to old browsers; without it the client has its own.
                let _ = getrandom::fill(&mut entropy);
                let info = Info::new(&self.config, u32::from_ne_bytes(entropy));
                let mut response = Response::new(Body::from(info.to_json()));
                answers::set(&mut response, header::CONTENT_TYPE, headers::JSON);
                answers::never_cached(&mut response);
                response
            }
            Method::OPTIONS => answers::options(),
            _ => not_allowed(headers::INFO_ALLOW),
        };
        self.cross_origin(
            request.method(),
            request.headers(),
            headers::INFO_ALLOW,
            &mut response,
        );
        response
    }

    /// The page for transports of other origins; embedded by those that `ancestors` names, if not by all.
    pub(crate) fn iframe<B>(
        &self,
        request: &Request<B>,
        ancestors: Option<&str>,
    ) -> Response<Body> {
        if request.method() != Method::GET {
            return not_allowed("GET");
        }
        let mut response = answers::iframe(&self.iframe, request);
        if let Some(ancestors) = ancestors {
            let policy = format!("frame-ancestors {ancestors}");
            answers::set(&mut response, header::CONTENT_SECURITY_POLICY, &policy);
            // Browsers that know the policy ignore this.
            answers::set(&mut response, header::X_FRAME_OPTIONS, "SAMEORIGIN");
        }
        response
    }

    /// A request of one of the HTTP transports.
    pub(crate) async fn serve<I: Inside, B>(
        &self,
        inside: &I,
        name: &str,
        kind: Transport,
        info: SessionInfo,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data: Buf + Send> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let mut response = if parts.method == Method::OPTIONS && kind.is_preflighted() {
            answers::options()
        } else if parts.method != kind.method() {
            not_allowed(kind.allow())
        } else {
            let mut response = match kind.receive(parts.uri.query().unwrap_or_default()) {
                None => self.send(inside, name, kind, &info, &parts, body).await,
                Some(Ok(receive)) => self.receive(inside, name, receive, info),
                Some(Err(error)) => {
                    inside.broken(&error);
                    text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
                }
            };
            answers::never_cached(&mut response);
            if self.options.session_cookie {
                answers::session_cookie(&parts.headers, &mut response);
            }
            response
        };
        if kind.is_cors() {
            self.cross_origin(&parts.method, &parts.headers, kind.allow(), &mut response);
        }
        response
    }

    /// Opens the session if there is none, and receives from it.
    fn receive<I: Inside>(
        &self,
        inside: &I,
        name: &str,
        receive: Receive,
        info: SessionInfo,
    ) -> Response<Body> {
        inside.drive();
        // At the end there is no room for anybody new.
        let limit = if inside.is_closing() {
            0
        } else {
            self.options.max_sessions
        };
        let open = || {
            let machine = Session::new(Arc::clone(&self.config), inside.wheel().now());
            let wheel = Arc::clone(inside.wheel());
            Shared::new(machine, wheel, self.options.message_cache)
        };
        let session = match self.sessions.find_or_open(name, owner(&info), limit, open) {
            Found::Known(session) => session,
            Found::New(session, place) => {
                let transport = SockJsHttp::new(Arc::clone(&session));
                let session_task = inside.clone().run(info, transport);
                tokio::spawn(async move {
                    session_task.await;
                    // A task of its own: the session's is larger, and its memory is not needed any more.
                    tokio::spawn(place.keep_close_frame());
                });
                session
            }
            Found::NotYours => return not_yours(),
            Found::Full if inside.is_closing() => return going_away(),
            Found::Full => {
                let limit = self.options.max_sessions;
                let error = format!(
                    "there are {limit} SockJS sessions, as many as may be (`SockJs::max_sessions`); try again later\n"
                );
                return text(StatusCode::SERVICE_UNAVAILABLE, error);
            }
        };
        let content_type = receive.transport().content_type();
        let mut response = Response::new(Body::receiver(session.attach(receive)));
        if let Some(content_type) = content_type {
            answers::set(&mut response, header::CONTENT_TYPE, content_type);
        }
        // These are run as scripts, or shown as pages: as what they say they are, and nothing else.
        answers::set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        response
    }

    /// Hands messages to a session that is there.
    async fn send<I: Inside, B>(
        &self,
        inside: &I,
        name: &str,
        kind: Transport,
        info: &SessionInfo,
        parts: &Parts,
        body: B,
    ) -> Response<Body>
    where
        B: http_body::Body<Data: Buf + Send>,
        B::Error: Into<BoxError>,
    {
        let Some(session) = self.sessions.find(name, owner(info)) else {
            return not_yours();
        };
        let limits = inside.payload_limits();
        let is_form = kind == Transport::JsonpSend && is_form(&parts.headers);
        // A form may spell each byte with three.
        let limit = if is_form {
            3 * limits.bytes
        } else {
            limits.bytes
        };
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let error = format!(
                    "the body has more than {limit} bytes; send fewer messages at a time, or smaller ones\n"
                );
                inside.broken(&error);
                return text(StatusCode::PAYLOAD_TOO_LARGE, error);
            }
            Err(error) => {
                inside.broken(&error);
                return text(StatusCode::BAD_REQUEST, "the body was cut off\n");
            }
        };
        let parsed = if is_form {
            parse_messages(&form_field(&body, "d").unwrap_or_default(), &limits)
        } else {
            parse_messages(&body, &limits)
        };
        drop(body);
        let mut chunks: Vec<Bytes> = match parsed {
            Ok(messages) => messages.into_iter().map(ByteString::into_bytes).collect(),
            Err(error) => {
                inside.broken(&error);
                return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
            }
        };
        if !std::future::poll_fn(|context| session.poll_send(context, &mut chunks)).await {
            return not_yours();
        }
        // Both with the content type of a text, which is that of these transports.
        match kind {
            // Konqueror made something odd of an answer without a body.
            Transport::JsonpSend => text(StatusCode::OK, "ok"),
            _ => text(StatusCode::NO_CONTENT, ""),
        }
    }

    fn cross_origin(
        &self,
        method: &Method,
        request: &HeaderMap,
        allow: &'static str,
        response: &mut Response<Body>,
    ) {
        if self.options.cors {
            let preflight = (*method == Method::OPTIONS).then_some(allow);
            answers::cross_origin(request, preflight, response);
        }
    }
}

fn owner(info: &SessionInfo) -> Option<&ByteString> {
    info.user.as_ref().map(crate::User::shared_name)
}

/// Whether the payload is in a form's field rather than the body itself.
fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| {
            value
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

/// Somebody else's session, or nobody's: not told apart.
fn not_yours() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "")
}
