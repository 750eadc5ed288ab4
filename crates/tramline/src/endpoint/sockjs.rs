//! SockJS over plain HTTP requests.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Buf;
use bytestring::ByteString;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use tramline_sockjs::{Config, Info, PayloadError, Session, Transport, headers, parse_messages};

use super::{Body, BoxError, going_away, not_allowed, text};
use crate::inbound::SessionInfo;
use crate::messaging::Shared;
use crate::session::SessionTask;
use crate::transport::sockjs::{self as transport, SockJsHttp};

/// The sessions that requests can find by the name their client gave them.
#[derive(Debug, Default)]
pub(crate) struct SockJsSessions(Mutex<HashMap<ByteString, Known>>);

#[derive(Debug)]
struct Known {
    shared: Arc<transport::Shared>,
    /// Who opened it: nobody else may use it.
    owner: Option<ByteString>,
    /// Its task is over, and only its close frame is still to be had.
    over: bool,
}

impl SockJsSessions {
    /// Drops the sessions that are over and whose close frame was there long enough.
    pub(crate) fn forget(&self, now: Instant) {
        let mut sessions = self.0.lock();
        if !sessions.is_empty() {
            sessions.retain(|_, known| !(known.over && known.shared.is_forgotten(now)));
            if sessions.len() < sessions.capacity() / 4 {
                sessions.shrink_to_fit();
            }
        }
    }

    fn find(&self, name: &str, user: Option<&str>) -> Result<Arc<transport::Shared>, ()> {
        let sessions = self.0.lock();
        let known = sessions
            .get(name)
            .filter(|known| known.owner.as_deref() == user)
            .ok_or(())?;
        Ok(Arc::clone(&known.shared))
    }

    fn over(&self, name: &str) {
        if let Some(known) = self.0.lock().get_mut(name) {
            known.over = true;
        }
    }
}

/// Answers a request of one of the HTTP transports.
pub(super) async fn serve<B>(
    shared: &Arc<Shared>,
    config: &Arc<Config>,
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
    let response = if parts.method == Method::OPTIONS {
        options(kind.allow())
    } else if parts.method != kind.method() {
        not_allowed(kind.allow(), "")
    } else if kind == Transport::XhrSend {
        uncached(
            send(
                shared,
                name,
                info.user.as_ref().map(crate::User::name),
                body,
            )
            .await,
        )
    } else {
        uncached(receive(shared, config, name, kind, info))
    };
    cross_origin(&parts.headers, response)
}

/// `xhr` and `xhr_streaming`: opens the session if there is none, and receives from it.
fn receive(
    shared: &Arc<Shared>,
    config: &Arc<Config>,
    name: &str,
    kind: Transport,
    info: SessionInfo,
) -> Response<Body> {
    shared.drive();
    let user = info.user.as_ref().map(|user| user.shared_name().clone());
    let (session, is_new) = match shared.sockjs.0.lock().entry(name.into()) {
        Entry::Occupied(known) if known.get().owner != user => return not_yours(),
        Entry::Occupied(known) => (Arc::clone(&known.get().shared), false),
        Entry::Vacant(_) if shared.is_closing() => return going_away(),
        Entry::Vacant(place) => {
            let machine = Session::new(Arc::clone(config), shared.wheel.now());
            let session = transport::Shared::new(machine, Arc::clone(&shared.wheel));
            place.insert(Known {
                shared: Arc::clone(&session),
                owner: user,
                over: false,
            });
            (session, true)
        }
    };
    if is_new {
        let task = SessionTask::new(
            Arc::clone(shared),
            info,
            SockJsHttp::new(Arc::clone(&session)),
        );
        let over = Over(Arc::clone(shared), name.into());
        tokio::spawn(async move {
            let _over = over;
            task.await;
        });
    }
    let body = match session.attach(kind) {
        Ok(receiver) => Body::receiver(receiver),
        Err(refusal) => Body::from(refusal.into_bytes()),
    };
    let mut response = Response::new(body);
    if let Some(content_type) = kind.content_type() {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// Marks a session as over when its task ends, however it ends.
struct Over(Arc<Shared>, ByteString);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.sockjs.over(&self.1);
    }
}

/// `xhr_send`: hands messages to a session that is there.
async fn send<B>(shared: &Shared, name: &str, user: Option<&str>, body: B) -> Response<Body>
where
    B: http_body::Body<Data: Buf + Send>,
    B::Error: Into<BoxError>,
{
    let Ok(session) = shared.sockjs.find(name, user) else {
        return not_yours();
    };
    let limits = shared.limits.payload();
    let body = match Limited::new(body, limits.bytes).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            shared.counters.protocol_errors.increment();
            tracing::debug!(stack = %shared.name, %error, "a SockJS request's body could not be read");
            return text(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too large or was cut off\n",
            );
        }
    };
    let messages = match parse_messages(&body, &limits) {
        Ok(messages) => messages,
        Err(error) => {
            shared.counters.protocol_errors.increment();
            tracing::debug!(stack = %shared.name, %error, "a SockJS request's body is not understood");
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                match error {
                    PayloadError::Empty => "Payload expected.",
                    PayloadError::BrokenJson => "Broken JSON encoding.",
                    _ => "Too many messages.",
                },
            );
        }
    };
    let mut chunks = transport::chunks(messages);
    let taken =
        std::future::poll_fn(|context| -> Poll<bool> { session.poll_send(context, &mut chunks) })
            .await;
    if !taken {
        return not_yours();
    }
    // With the content type of `xhr_send`, which is the text's.
    text(StatusCode::NO_CONTENT, "")
}

/// `/info`: what the client may try.
pub(super) fn info<B>(config: &Config, request: &Request<B>) -> Response<Body> {
    let response = match *request.method() {
        Method::GET => {
            let mut entropy = [0; 4];
            // Entropy is a courtesy to old browsers; without it the client has its own.
            let _ = getrandom::fill(&mut entropy);
            let mut response = Response::new(Body::from(
                Info::new(config, u32::from_ne_bytes(entropy)).to_json(),
            ));
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(headers::JSON),
            );
            uncached(response)
        }
        Method::OPTIONS => options(headers::INFO_ALLOW),
        _ => not_allowed(headers::INFO_ALLOW, ""),
    };
    cross_origin(request.headers(), response)
}

/// Somebody else's session, or nobody's: not told apart.
fn not_yours() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "")
}

/// The answer to a browser that asks before it sends.
fn options(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let add = response.headers_mut();
    add.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(headers::CACHE_FOR_A_YEAR),
    );
    add.insert(
        header::EXPIRES,
        HeaderValue::from_static("Thu, 31 Dec 2099 23:59:59 GMT"),
    );
    add.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static(headers::MAX_AGE),
    );
    add.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(allow),
    );
    response
}

fn uncached(mut response: Response<Body>) -> Response<Body> {
    let value = HeaderValue::from_static(headers::NO_CACHE);
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}

/// Lets the page read the answer. Whether its origin may connect at all was decided before.
fn cross_origin(request: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
    let origin = request.get(header::ORIGIN);
    let allowed = headers::cors_origin(origin.and_then(|origin| origin.to_str().ok()));
    let add = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            add.insert(name, value);
        }
    };
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    set(header::VARY, "origin");
    if origin.is_some() {
        set(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            headers::ALLOW_CREDENTIALS,
        );
    }
    if let Some(wanted) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        add.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}
