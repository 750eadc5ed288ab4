//! Answers that open no session.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::body::Body;
use crate::net::lifecycle::Lifecycle;

/// A text.
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
pub(super) fn going_away(lifecycle: &Lifecycle) -> Response<Body> {
    let mut response = text(
        StatusCode::SERVICE_UNAVAILABLE,
        "the server is going away\n",
    );
    let seconds = HeaderValue::from(lifecycle.retry_after());
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

pub(super) fn not_get() -> Response<Body> {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "a WebSocket handshake is a GET\n",
    );
    let get = HeaderValue::from_static("GET");
    response.headers_mut().insert(header::ALLOW, get);
    response
}

/// Without body and content type, as the SockJS test script demands.
pub(super) fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let allow = HeaderValue::from_static(allow);
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

pub(super) fn not_found() -> Response<Body> {
    text(
        StatusCode::NOT_FOUND,
        "there is nothing here; clients connect to the endpoint's own path\n",
    )
}

/// Refuses one more session of an address for now.
pub(crate) fn too_many(wait: Duration) -> Response<Body> {
    let why =
        "too many connections of your address at once (`Rates::connections`); try again later\n";
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, why);
    let seconds = HeaderValue::from(wait.as_secs() + 1);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}
