//! Header values that SockJS prescribes, as plain text for any HTTP library.
//!
//! Headers of each answer:
//!
//! | Answer | `Cache-Control` | CORS | `Content-Type` |
//! |---|---|---|---|
//! | greeting | – | – | [`TEXT`] |
//! | iframe page | [`CACHE_FOR_A_YEAR`], with `Expires` and `ETag` | – | [`HTML`] |
//! | `GET /info` | [`NO_CACHE`] | yes | [`JSON`] |
//! | a transport's answer | [`NO_CACHE`] | if [`Transport::is_cors`] | [`Transport::content_type`] |
//! | 204 to `OPTIONS` | [`CACHE_FOR_A_YEAR`] | yes, with [`MAX_AGE`] and the allowed methods | – |
//!
//! "CORS" is [`cors_origin`] as `Access-Control-Allow-Origin`; with it, where the request had an `Origin`,
//! [`ALLOW_CREDENTIALS`]; and the request's `Access-Control-Request-Headers`, if not empty, echoed as
//! `Access-Control-Allow-Headers`. The answer to `OPTIONS` also needs an `Expires` one year ahead, which only the
//! caller's clock can write. No answer has a `Last-Modified`.
//!
//! [`Transport::is_cors`]: crate::Transport::is_cors
//! [`Transport::content_type`]: crate::Transport::content_type

/// `Cache-Control` of everything that must reach the server each time.
///
/// iOS 6 cached even `POST`. `no-transform` is not in the script of 0.3.3 but in the one after it: it keeps proxies
/// from compressing, and so buffering, a stream.
pub const NO_CACHE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";

/// `Cache-Control` of the answers to `OPTIONS`: one year, so that a browser sends `OPTIONS` once.
pub const CACHE_FOR_A_YEAR: &str = "public, max-age=31536000";

/// `Access-Control-Max-Age` of the answers to `OPTIONS`, in seconds: one year.
pub const MAX_AGE: &str = "31536000";

/// `Access-Control-Allow-Credentials`, so that the browser sends cookies (a load balancer's, a login's).
///
/// Send it only if the request had an `Origin`: browsers ignore it together with the `*` of a request without one, and
/// the script after 0.3.3 asserts its absence there.
pub const ALLOW_CREDENTIALS: &str = "true";

/// `Allow` and `Access-Control-Allow-Methods` of `/info`.
pub const INFO_ALLOW: &str = "OPTIONS, GET";

/// Content type of the greeting, of `xhr_send`, and of error texts.
pub const TEXT: &str = "text/plain; charset=UTF-8";

/// Content type of `/info`.
pub const JSON: &str = "application/json; charset=UTF-8";

/// Content type of `eventsource`. Without a charset, as in the script after 0.3.3: server-sent events are UTF-8 by
/// definition, and some browsers of 2012 accepted no other value.
pub const EVENT_STREAM: &str = "text/event-stream";

/// Content type of `htmlfile` and the iframe page.
pub const HTML: &str = "text/html; charset=UTF-8";

/// The name of the cookie by which some load balancers keep a client on one server.
pub const SESSION_COOKIE: &str = "JSESSIONID";

/// Content type of `xhr`, `xhr_streaming` and `jsonp`.
pub const JAVASCRIPT: &str = "application/javascript; charset=UTF-8";

/// Returns the value of `Access-Control-Allow-Origin` for a request's `Origin`: the same, or `*` if there is none.
///
/// Use it *after* the endpoint's origin policy has allowed the request. It checks nothing itself, and echoing an
/// unchecked origin opens the endpoint, cookies included, to every site.
///
/// The origin `null` (a page from a file, a sandboxed frame) is echoed as well. The script of 0.3.3 required `*` there,
/// because browsers of 2012 took `null` for a refusal; today's compare it literally, and refuse `*` for a request with
/// credentials, which every request of `sockjs-client` is. The script after 0.3.3 asserts the echo.
///
/// # Example: the header for each origin
///
/// ```
/// use tramline_sockjs::headers::cors_origin;
///
/// assert_eq!(cors_origin(Some("https://app.example")), "https://app.example");
/// assert_eq!(cors_origin(Some("null")), "null");
/// assert_eq!(cors_origin(None), "*");
/// ```
#[must_use]
pub fn cors_origin(origin: Option<&str>) -> &str {
    origin.filter(|origin| !origin.is_empty()).unwrap_or("*")
}

/// Returns the value of `Set-Cookie` for load balancers that keep a client on one server by the cookie `JSESSIONID`:
/// the request's value, else `dummy`.
///
/// `cookies` are the request's `Cookie` headers. A value that is not a plain cookie value of at most 256 bytes is
/// ignored.
///
/// If the operator asks for it, send it with every answer of an HTTP transport, and with no other. This server does not
/// use the cookie: it exists for the balancer. Setting it again drops the attributes (`Secure`, `HttpOnly`) that
/// another server gave it, so it is not for applications that have a `JSESSIONID` of their own.
///
/// Source: sockjs-protocol, "JSESSIONID cookie".
///
/// # Example: a new cookie, and an echoed one
///
/// ```
/// use tramline_sockjs::headers::session_cookie;
///
/// assert_eq!(session_cookie([]), "JSESSIONID=dummy; path=/");
/// assert_eq!(session_cookie(["lang=en; JSESSIONID=abcdef"]), "JSESSIONID=abcdef; path=/");
/// ```
#[must_use]
pub fn session_cookie<'a>(cookies: impl IntoIterator<Item = &'a str>) -> String {
    let value = cookies
        .into_iter()
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == SESSION_COOKIE && is_cookie_value(value))
        .map_or("dummy", |(_, value)| value);
    format!("{SESSION_COOKIE}={value}; path=/")
}

/// Checks for RFC 6265 §4.1.1 `cookie-octet`s.
fn is_cookie_value(value: &str) -> bool {
    let octet = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
    (1..=256).contains(&value.len()) && value.bytes().all(octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_echoed_only_as_a_plain_value() {
        let echoed = |header: &str| session_cookie([header]);
        for (header, value) in [
            ("JSESSIONID=abc", "abc"),
            ("a=b;JSESSIONID=0.node-1 ; c=d", "0.node-1"),
            ("JSESSIONID=", "dummy"),
            ("jsessionid=abc", "dummy"),
            ("XJSESSIONID=abc", "dummy"),
            ("JSESSIONID=a b", "dummy"),
            ("JSESSIONID=\"a\"", "dummy"),
            ("JSESSIONID=a\r\nX: y", "dummy"),
            ("JSESSIONID=é", "dummy"),
            ("", "dummy"),
        ] {
            assert_eq!(echoed(header), format!("JSESSIONID={value}; path=/"));
        }
        let long = "x".repeat(256);
        assert!(echoed(&format!("JSESSIONID={long}")).contains(&long));
        assert!(echoed(&format!("JSESSIONID={long}x")).contains("dummy"));
        assert_eq!(
            session_cookie(["a=b", "JSESSIONID=second"]),
            "JSESSIONID=second; path=/"
        );
    }
}
