//! The page and its files.

use http::{HeaderName, HeaderValue, Response, header};

use crate::net::endpoint::Body;

/// On every answer: scripts and styles come from this console alone, nothing is kept, no page shows it in a frame.
pub(super) const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The file at this path below the console, which itself is at `place`.
pub(super) fn file(path: &str, place: &str) -> Option<Response<Body>> {
    let (kind, text) = match path {
        "" => (HTML, include_str!("page/index.html")),
        "console.css" => (STYLE, include_str!("page/console.css")),
        "console.js" => (SCRIPT, include_str!("page/console.js")),
        "ask.js" => (SCRIPT, include_str!("page/ask.js")),
        "chart.js" => (SCRIPT, include_str!("page/chart.js")),
        "table.js" => (SCRIPT, include_str!("page/table.js")),
        "trace.js" => (SCRIPT, include_str!("page/trace.js")),
        _ => return None,
    };
    let mut response = Response::new(match kind {
        HTML => Body::from(text.replace("{{place}}", &escaped(place))),
        _ => Body::from(text),
    });
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Some(response)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}
