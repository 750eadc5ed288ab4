//! Requests that send messages.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use tramline_sockjs::{PayloadError, Transport, form_field, parse_messages};

use super::cookie::proof;
use super::sessions::{Asker, Found};
use super::{SockJs, SockJsService, not_yours, owner, throttled};
use crate::net::endpoint::body::{Body, BoxError};
use crate::net::endpoint::incoming::{Discarded, Incoming};
use crate::net::endpoint::refusals::text;
use crate::net::endpoint::stack::Stack;
use crate::net::transport::sockjs::HttpLink;
use crate::net::transport::violation::{self, BEFORE_LOGIN};

impl SockJsService {
    /// Delivers messages to an existing session.
    pub(super) async fn send<S: Stack, B>(
        &self,
        stack: &Arc<S>,
        name: &str,
        kind: Transport,
        parts: &Parts,
        mut body: Incoming<B>,
    ) -> Response<Body>
    where
        B: Discarded<Error: Into<BoxError>>,
    {
        let address = stack.front().network(parts);
        let asker = Asker {
            user: owner(parts),
            address,
            proof: proof(parts, address),
        };
        let session = match self.sessions.find(name, &asker, false) {
            Some(Found::Session(session)) => session,
            Some(Found::Throttled) => return throttled(),
            Some(Found::NotYours) | None => return not_yours(stack, name),
        };
        if !session.sends(asker.proof) {
            return not_yours(stack, name);
        }
        let mut limits = stack.payload_limits();
        let before_login = session.before_login();
        if let Some(bytes) = before_login {
            limits.bytes = limits.bytes.min(bytes);
        }
        let is_form = kind == Transport::JsonpSend && is_form(&parts.headers);
        // A form may encode each byte as three.
        let limit = if is_form {
            limits.bytes.saturating_mul(3)
        } else {
            limits.bytes
        };
        let refused = |(status, error): Refused| {
            stack.broken(&error);
            text(status, error + "\n")
        };
        // A body whose declared length exceeds the limit is not kept.
        if body.size_hint().lower() > limit as u64 {
            return refused(too_long(limit, before_login));
        }
        let reading = async {
            let turn = session.turn().await;
            (
                turn,
                self.options.read(&mut body, limit, before_login).await,
            )
        };
        // The turn lasts until the body is delivered.
        let (_turn, body) = match unless_over(&session, reading).await {
            Some((turn, Ok(body))) => (turn, body),
            Some((_, Err(why))) => return refused(why),
            None => return too_late(stack, kind),
        };
        let parsed = if is_form {
            parse_messages(&form_field(&body, "d").unwrap_or_default(), &limits)
        } else {
            parse_messages(&body, &limits)
        };
        drop(body);
        let mut chunks: Vec<Bytes> = match parsed {
            Ok(messages) => messages.into_iter().map(ByteString::into_bytes).collect(),
            Err(error @ PayloadError::MessageTooLarge { .. }) => {
                // The session counts and logs its end.
                return if session.violated(violation::of_payload(error)) {
                    text(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
                } else {
                    too_late(stack, kind)
                };
            }
            Err(error) => {
                stack.broken(&error);
                return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
            }
        };
        if poll_fn(|context| session.poll_send(context, &mut chunks)).await {
            taken(kind)
        } else {
            too_late(stack, kind)
        }
    }
}

impl SockJs {
    /// Reads the whole body; otherwise returns the error answer.
    async fn read<B>(
        &self,
        body: &mut Incoming<B>,
        limit: usize,
        before_login: Option<usize>,
    ) -> Result<Bytes, Refused>
    where
        B: Discarded<Error: Into<BoxError>>,
    {
        let time = self.body_time;
        match tokio::time::timeout(time, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(Collected::to_bytes(body)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long(limit, before_login)),
            Ok(Err(error)) => {
                let error = format!("the body was cut off: {error}");
                Err((StatusCode::BAD_REQUEST, error))
            }
            Err(_) => {
                let error = format!(
                    "the body took longer than {time:?} (`SockJs::body_time`); send fewer messages at a time"
                );
                Err((StatusCode::REQUEST_TIMEOUT, error))
            }
        }
    }
}

/// The status and text of an error answer.
type Refused = (StatusCode, String);

fn too_long(limit: usize, before_login: Option<usize>) -> Refused {
    let which = before_login.map_or("", |_| BEFORE_LOGIN);
    let error = format!(
        "the body has more than {limit} bytes{which}; send fewer messages at a time, or smaller ones"
    );
    (StatusCode::PAYLOAD_TOO_LARGE, error)
}

/// Returns `None` if the session ends first.
async fn unless_over<T>(session: &HttpLink, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut over) = (pin!(work), pin!(session.over()));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => over.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// With the content type of text, as the sending transports have it.
fn taken(kind: Transport) -> Response<Body> {
    match kind {
        // Konqueror mishandled an answer without a body.
        Transport::JsonpSend => text(StatusCode::OK, "ok"),
        _ => text(StatusCode::NO_CONTENT, ""),
    }
}

/// Answers a request that came just after the session had ended. The close frame carries the reason, and the last
/// message of a client that leaves is no error of its own; a 404 would show as one in its page's console, and hide the
/// reason.
fn too_late<S: Stack>(stack: &Arc<S>, kind: Transport) -> Response<Body> {
    stack.counters().requests.increment();
    taken(kind)
}

/// Returns true if the payload is a field of a form rather than the body itself.
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
