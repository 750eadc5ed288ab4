//! The HTTP interface for back ends: publish, disconnect, list, measure, and whether the server is well.

use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;
use tramline::Messaging;
use tramline::broker::{Destination, SessionId};
use tramline::health::Health;
use tramline::metrics::Metrics;
use tramline::publisher::SendError;
use tramline::reply::Payload;

/// The most messages of one request.
const MOST_MESSAGES: usize = 1_000;

/// The most bytes of one request.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The most sessions of one answer, unless fewer are asked for.
const MOST_SESSIONS: usize = 1_000;

#[derive(Clone)]
pub(super) struct BackEnd {
    messaging: Messaging,
    key: Key,
}

/// The key of back ends, which changes when the file is read again.
#[derive(Clone)]
pub(super) struct Key(Arc<RwLock<String>>);

impl Key {
    pub(super) fn new(key: String) -> Self {
        Self(Arc::new(RwLock::new(key)))
    }

    pub(super) fn replace(&self, key: String) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    fn fits(&self, shown: &str) -> bool {
        let key = self.0.read().unwrap_or_else(PoisonError::into_inner);
        key.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

/// An answer that says what was wrong, and in which field.
struct Refused {
    status: StatusCode,
    field: Option<String>,
    error: String,
    /// Messages of the request that were published before.
    published: usize,
}

impl Refused {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            field: None,
            error: error.into(),
            published: 0,
        }
    }

    fn field(field: impl Into<String>, error: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, error)
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error });
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        if self.published > 0 {
            body["published"] = self.published.into();
        }
        (self.status, Json(body)).into_response()
    }
}

pub(super) fn router(messaging: Messaging, key: Key, metrics: Metrics) -> Router {
    let health = Health::of(&messaging);
    let back_end = BackEnd { messaging, key };
    // The key is asked for above this layer only.
    Router::new()
        .route("/publish", post(publish))
        .route("/disconnect", post(disconnect))
        .route("/sessions", get(sessions))
        .route_service("/metrics", metrics)
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(from_fn_with_state(back_end.clone(), with_key))
        .route_service("/health", health.liveness())
        .route_service("/ready", health.readiness())
        .fallback(async || Refused::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path takes another method",
            )
        })
        .with_state(back_end)
}

async fn with_key(State(back_end): State<BackEnd>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if !shown.is_some_and(|shown| back_end.key.fits(shown.trim())) {
        let error = "the header `Authorization: Bearer KEY` is missing or its key is wrong";
        let refused = Refused::new(StatusCode::UNAUTHORIZED, error);
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (challenge, refused).into_response();
    }
    next.run(request).await
}

/// A message of a request.
struct Message {
    user: Option<String>,
    destination: String,
    payload: Payload,
}

async fn publish(State(back_end): State<BackEnd>, body: Received) -> Result<Json<Value>, Refused> {
    let (messages, is_list) = match parse(body)? {
        Value::Array(all) => (all, true),
        one => (vec![one], false),
    };
    if messages.len() > MOST_MESSAGES {
        let count = messages.len();
        let error = format!("{count} messages; a request may have {MOST_MESSAGES}");
        return Err(Refused::field("", error));
    }
    let place = |at: usize| {
        if is_list {
            format!("[{at}].")
        } else {
            String::new()
        }
    };
    // All are read before the first is sent.
    let read = messages.into_iter().enumerate();
    let read = read.map(|(at, message)| read_message(message, &place(at)));
    let read = read.collect::<Result<Vec<_>, _>>()?;
    let publisher = back_end.messaging.publisher();
    let (mut published, mut receivers) = (0, 0);
    for message in read {
        let Message {
            user,
            destination,
            payload,
        } = message;
        let sent = match user {
            Some(name) => publisher.send_to_user(name, destination, payload).await,
            None => publisher.send(destination, payload).await,
        };
        match sent {
            Ok(sent) => {
                published += 1;
                receivers += sent.local_receivers;
            }
            Err(error) => {
                let place = place(published);
                let (status, field) = match &error {
                    SendError::Destination(_) | SendError::Unreachable(_) => {
                        (StatusCode::UNPROCESSABLE_ENTITY, Some("destination"))
                    }
                    SendError::Payload(_) => (StatusCode::UNPROCESSABLE_ENTITY, Some("headers")),
                    _ => (StatusCode::SERVICE_UNAVAILABLE, None),
                };
                return Err(Refused {
                    status,
                    field: field.map(|field| place.clone() + field),
                    error: error.to_string(),
                    published,
                });
            }
        }
    }
    Ok(Json(
        json!({ "published": published, "receivers": receivers }),
    ))
}

/// The body of a request, if it has arrived and is not too large.
type Received = Result<Bytes, BytesRejection>;

fn parse(body: Received) -> Result<Value, Refused> {
    let body = body.map_err(|error| Refused::new(error.status(), error.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| {
        let error = format!("the body is not JSON: {error}");
        Refused::new(StatusCode::BAD_REQUEST, error)
    })
}

fn object(value: Value, place: &str, known: &[&str]) -> Result<Map<String, Value>, Refused> {
    let Value::Object(object) = value else {
        let place = place.trim_end_matches('.');
        return Err(Refused::field(place, "must be an object"));
    };
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => {
            let error = format!("there is no such field; there are {}", known.join(", "));
            Err(Refused::field(format!("{place}{unknown}"), error))
        }
        None => Ok(object),
    }
}

/// A text of an object; `None` without it.
fn text(
    object: &mut Map<String, Value>,
    place: &str,
    name: &str,
) -> Result<Option<String>, Refused> {
    match object.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => {
            let error = "must be a text that is not empty";
            Err(Refused::field(format!("{place}{name}"), error))
        }
    }
}

const BODIES: &[&str] = &["body", "json", "base64"];

fn read_message(message: Value, place: &str) -> Result<Message, Refused> {
    let known = [
        "destination",
        "user",
        "body",
        "json",
        "base64",
        "content_type",
        "headers",
    ];
    let mut object = object(message, place, &known)?;
    let field = |name: &str| format!("{place}{name}");
    let destination = text(&mut object, place, "destination")?;
    let destination =
        destination.ok_or_else(|| Refused::field(field("destination"), "is missing"))?;
    Destination::parse(destination.clone())
        .map_err(|error| Refused::field(field("destination"), error.to_string()))?;
    let user = text(&mut object, place, "user")?;
    let content_type = text(&mut object, place, "content_type")?;
    let headers = object.remove("headers");
    let mut bodies = BODIES
        .iter()
        .filter_map(|name| Some((*name, object.remove(*name)?)));
    let (body, another) = (bodies.next(), bodies.next());
    if let Some((name, _)) = another {
        let error = "a message has one of `body`, `json` and `base64`";
        return Err(Refused::field(field(name), error));
    }
    let mut payload = match body {
        Some(("json", value)) => Payload::new("application/json", value.to_string()),
        Some(("base64", Value::String(text))) => {
            let bytes = BASE64_STANDARD.decode(text);
            let bytes =
                bytes.map_err(|error| Refused::field(field("base64"), error.to_string()))?;
            Payload::new("application/octet-stream", bytes)
        }
        Some(("body", Value::String(text))) => Payload::new("text/plain;charset=UTF-8", text),
        Some((name, _)) => {
            let error = "must be a text; `json` takes any value";
            return Err(Refused::field(field(name), error));
        }
        None => {
            return Err(Refused::field(
                field("body"),
                "is missing; or `json`, or `base64`",
            ));
        }
    };
    if let Some(content_type) = content_type {
        payload.content_type = Some(content_type.into());
    }
    match headers {
        None => {}
        Some(Value::Object(headers)) => {
            for (name, value) in headers {
                let Value::String(value) = value else {
                    let error = "must be a text";
                    return Err(Refused::field(field(&format!("headers.{name}")), error));
                };
                payload.headers.push(name, value);
            }
        }
        Some(_) => {
            return Err(Refused::field(
                field("headers"),
                "must be an object of texts",
            ));
        }
    }
    Ok(Message {
        user,
        destination,
        payload,
    })
}

async fn disconnect(
    State(back_end): State<BackEnd>,
    body: Received,
) -> Result<Json<Value>, Refused> {
    let mut object = object(parse(body)?, "", &["user", "session", "reason"])?;
    let (user, session, reason) = (
        text(&mut object, "", "user")?,
        text(&mut object, "", "session")?,
        text(&mut object, "", "reason")?,
    );
    let reason = reason.unwrap_or("closed by the application".to_owned());
    let registry = back_end.messaging.registry();
    let closed = match (user, session) {
        (Some(name), None) => registry.close_user(&name, reason),
        (None, Some(id)) => {
            let id: SessionId = id
                .parse()
                .map_err(|_| Refused::field("session", "is not the id of a session"))?;
            usize::from(registry.close_session(id, reason))
        }
        _ => {
            let error = "one of `user` and `session` says whom";
            return Err(Refused::field("user", error));
        }
    };
    Ok(Json(json!({ "closed": closed })))
}

#[derive(serde::Deserialize)]
struct Wanted {
    user: Option<String>,
    limit: Option<usize>,
}

async fn sessions(
    State(back_end): State<BackEnd>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(wanted) = wanted.map_err(|error| Refused::field("query", error.body_text()))?;
    let registry = back_end.messaging.registry();
    let all = match &wanted.user {
        Some(name) => registry
            .user(name)
            .map(|user| user.sessions().to_vec())
            .unwrap_or_default(),
        None => registry.sessions(),
    };
    let limit = wanted.limit.unwrap_or(MOST_SESSIONS).min(MOST_SESSIONS);
    let shown = all.iter().take(limit).map(|session| {
        let subscriptions = session.subscriptions();
        let subscriptions: Vec<_> = subscriptions
            .iter()
            .map(|subscription| &*subscription.destination)
            .collect();
        let handshake = session.handshake();
        json!({
            "id": session.id().to_string(),
            "user": session.user().map(|user| user.name().to_owned()),
            "remote": handshake.remote().map(|remote| remote.to_string()),
            "origin": handshake.origin(),
            "subscriptions": subscriptions,
        })
    });
    let shown: Vec<_> = shown.collect();
    Ok(Json(json!({ "total": all.len(), "sessions": shown })))
}
