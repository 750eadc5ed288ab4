//! Answers of the services that operators ask.

use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::net::endpoint::{Body, text};

/// Answers GET and HEAD with what `body` returns, a status, a content type and a text that no cache keeps.
pub(super) fn get(
    method: &Method,
    body: impl FnOnce() -> (StatusCode, &'static str, String),
) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n");
        let allow = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(header::ALLOW, allow);
        return refused;
    }
    let (status, content_type, body) = body();
    let length = HeaderValue::from(body.len());
    let mut response = match *method {
        Method::HEAD => Response::new(Body::default()),
        _ => Response::new(Body::from(body)),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
