//! The headers that SockJS demands on its answers.

use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use tramline_sockjs::{IframePage, headers};

use crate::net::endpoint::body::Body;
use crate::net::endpoint::credentials::DroppedCookies;

/// Tells nginx, and proxies that adopted the header, whether they may buffer an answer.
pub(super) const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The answer to a browser's preflight request.
pub(super) fn options() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    for_a_year(&mut response);
    response
}

/// The iframe page, or 304 if the browser has it already.
pub(super) fn iframe(page: &IframePage, request: &HeaderMap) -> Response<Body> {
    let tags = request.get_all(header::IF_NONE_MATCH).iter();
    let mut response = Response::new(Body::default());
    if tags
        .filter_map(|tags| tags.to_str().ok())
        .any(|tags| page.is_cached(tags))
    {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::from(page.html().to_owned());
        set(&mut response, header::CONTENT_TYPE, headers::HTML);
    }
    for_a_year(&mut response);
    set(&mut response, header::ETAG, page.etag());
    response
}

pub(super) fn for_a_year(response: &mut Response<Body>) {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let expires = httpdate::fmt_http_date(SystemTime::now() + YEAR);
    set(response, header::CACHE_CONTROL, headers::CACHE_FOR_A_YEAR);
    set(response, header::EXPIRES, &expires);
}

pub(super) fn never_cached(response: &mut Response<Body>) {
    set(response, header::CACHE_CONTROL, headers::NO_CACHE);
}

/// Lets the page read the answer. The check whether its origin may connect at all comes earlier.
pub(super) fn cross_origin(
    request: &HeaderMap,
    preflight: Option<&'static str>,
    response: &mut Response<Body>,
) {
    let origin = request
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok())
        .filter(|origin| !origin.is_empty());
    set(
        response,
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        headers::cors_origin(origin),
    );
    set(response, header::VARY, "origin");
    if origin.is_some() {
        set(
            response,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            headers::ALLOW_CREDENTIALS,
        );
    }
    if let Some(methods) = preflight {
        set(response, header::ACCESS_CONTROL_MAX_AGE, headers::MAX_AGE);
        set(response, header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    let wanted = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
}

/// Sets the cookie by which a load balancer keeps a client on one server.
pub(super) fn session_cookie(request: &Parts, response: &mut Response<Body>) {
    let dropped = request.extensions.get::<DroppedCookies>();
    let dropped = dropped.iter().flat_map(|dropped| &dropped.0);
    let cookies = request
        .headers
        .get_all(header::COOKIE)
        .iter()
        .chain(dropped);
    let cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
    set(
        response,
        header::SET_COOKIE,
        &headers::session_cookie(cookies),
    );
}

pub(super) fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            response.headers_mut().insert(name, value);
        }
        // Every value here is a constant, or has been a header's value already.
        Err(error) => tracing::error!(%name, %error, "a header cannot be set"),
    }
}
