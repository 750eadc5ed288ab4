//! What every request passes: who it is, whether it may, and whether a page of ours sent it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tower_sessions::Session;

use crate::csrf::{CSRF_HEADER, CSRF_PARAMETER};
use crate::live::{Live, WebSession};
use crate::login::{Login, Shared, Verdict};
use crate::pages::{LOGIN, careful, problem, spoken};
use crate::redirect::quoted;
use crate::ticket::{TICKET, Ticket, now};
use crate::users::{Account, UsersError};

/// Bytes of a form in which a token is looked for.
const LARGEST_FORM: usize = 64 * 1024;

enum Visitor {
    Nobody,
    /// By HTTP Basic: for this request alone.
    Program(Account),
    Cookie(Account, Arc<Live>),
}

pub(crate) async fn guard(State(login): State<Login>, request: Request, next: Next) -> Response {
    let shared = &login.0;
    let is_socket = shared.rules.is_socket(request.uri().path());
    let (mut response, is_private) = answer(shared, request, next, is_socket).await;
    if !is_socket {
        careful(response.headers_mut(), is_private, shared.secure);
    }
    response
}

/// The answer, and whether it is for one visitor alone.
async fn answer(
    shared: &Shared,
    request: Request,
    next: Next,
    is_socket: bool,
) -> (Response, bool) {
    let (mut parts, mut body) = request.into_parts();
    let page = accepts_pages(&parts.headers);
    let changes = !parts.method.is_safe();
    if changes && !is_socket && is_foreign(&parts.headers) {
        let text = "Only pages of this site may do that.";
        return (
            problem(StatusCode::FORBIDDEN, "Not from here", text, page),
            false,
        );
    }
    let visitor = match visitor(shared, &mut parts).await {
        Ok(Ok(visitor)) => visitor,
        Ok(Err(refused)) => return (refused, false),
        Err(error) => return (unavailable(&error, page), false),
    };
    let path = parts.uri.path();
    match visitor {
        Visitor::Nobody => {
            // Before it sends a request of another origin, a browser asks without cookies.
            let is_preflight = is_socket && parts.method == Method::OPTIONS;
            if !is_preflight && !shared.rules.is_open(path) {
                return (log_in_first(shared, &parts, is_socket), false);
            }
        }
        Visitor::Program(account) => {
            parts.extensions.insert(account.user);
        }
        Visitor::Cookie(account, live) => {
            if shared.csrf && changes && !is_socket && path != LOGIN {
                match has_token(&parts, body, &live).await {
                    Ok(read) => body = read,
                    Err(refused) => return (refused, false),
                }
            }
            parts.extensions.insert(account.user);
            parts.extensions.insert(WebSession(live));
            let response = next.run(Request::from_parts(parts, body)).await;
            return (response, true);
        }
    }
    (next.run(Request::from_parts(parts, body)).await, false)
}

async fn visitor(
    shared: &Shared,
    parts: &mut Parts,
) -> Result<Result<Visitor, Response>, UsersError> {
    if let Some(session) = parts.extensions.get::<Session>().cloned()
        && let Some(ticket) = ticket(&session).await?
        && let Some(id) = session.id()
    {
        let now = now();
        let live = shared.live.of(id, &ticket, now);
        let seen = live.seen(now).max(ticket.seen);
        if shared.store.has_ended(&id) {
            live.end(ByteString::from_static(
                "your login has ended: log in again",
            ));
        } else {
            match shared.check(&ticket, seen, now).await? {
                Ok(account) if live.ended().is_none() => {
                    prolong(shared, &session, ticket, &live, now).await?;
                    return Ok(Ok(Visitor::Cookie(account, live)));
                }
                Ok(_) => {}
                Err(reason) => {
                    shared.end(&live, ByteString::from_static(reason)).await;
                }
            }
        }
        // What the application keeps for this visitor from now on has another id.
        session.flush().await?;
        session.cycle_id().await?;
    }
    let Some(realm) = &shared.basic else {
        return Ok(Ok(Visitor::Nobody));
    };
    let Some((name, password)) = basic(&parts.headers) else {
        return Ok(Ok(Visitor::Nobody));
    };
    let address = shared.address(parts);
    Ok(match shared.attempt(&name, &password, address).await? {
        Verdict::Right(account) => Ok(Visitor::Program(account)),
        Verdict::Wrong => Err(unauthorized(
            Some(realm),
            "The name or the password is wrong.",
        )),
        Verdict::Wait(wait) => Err(too_many(wait)),
        Verdict::Busy => Err(busy(false)),
    })
}

/// What a session has of a login.
pub(crate) async fn ticket(session: &Session) -> Result<Option<Ticket>, UsersError> {
    if session.id().is_none() {
        return Ok(None);
    }
    let value = session.get_value(TICKET).await?;
    // One of another version is none.
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

/// Notes that a session was used; writes it down once in a while.
async fn prolong(
    shared: &Shared,
    session: &Session,
    mut ticket: Ticket,
    live: &Live,
    now: u64,
) -> Result<(), UsersError> {
    live.touch(now);
    let due = live.stored.load(Ordering::Relaxed) + shared.ends.written_every();
    if now >= due {
        live.stored.store(now, Ordering::Relaxed);
        ticket.seen = now;
        session.insert(TICKET, ticket).await?;
    }
    Ok(())
}

/// The body, if the request has the session's token in its header or form.
async fn has_token(parts: &Parts, body: Body, live: &Live) -> Result<Body, Response> {
    let page = accepts_pages(&parts.headers);
    let refused = || {
        let text =
            "The request has no valid CSRF token. Reload the page that sent it and try again.";
        problem(StatusCode::FORBIDDEN, "This page is too old", text, page)
    };
    if let Some(sent) = parts.headers.get(CSRF_HEADER) {
        let fits = sent.to_str().is_ok_and(|sent| live.csrf.matches(sent));
        return if fits { Ok(body) } else { Err(refused()) };
    }
    if !is_form(&parts.headers) {
        return Err(refused());
    }
    let Ok(bytes) = to_bytes(body, LARGEST_FORM).await else {
        let text = "The form is too large to have its token within it: send the token in the header X-CSRF-TOKEN.";
        return Err(problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too large",
            text,
            page,
        ));
    };
    let sent = form_urlencoded::parse(&bytes).find(|(name, _)| name == CSRF_PARAMETER);
    match sent.is_some_and(|(_, token)| live.csrf.matches(&token)) {
        true => Ok(Body::from(bytes)),
        false => Err(refused()),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    })
}

/// Browsers say where a request comes from in `Sec-Fetch-Site`, old ones in `Origin` alone. A client that says neither is no
/// browser, and has no visitor's cookies to misuse.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_none() || authority != text(header::HOST)
}

pub(crate) fn accepts_pages(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

fn log_in_first(shared: &Shared, parts: &Parts, is_socket: bool) -> Response {
    let is_page = matches!(parts.method, Method::GET | Method::HEAD)
        && !is_socket
        && accepts_pages(&parts.headers);
    if is_page {
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let mut response =
            Redirect::to(&format!("{LOGIN}?next={}", quoted(target))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return response;
    }
    unauthorized(shared.basic.as_deref(), "Log in first.")
}

fn unauthorized(realm: Option<&str>, text: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, "", text, false);
    if let Some(realm) = realm
        && let Ok(value) =
            HeaderValue::try_from(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
    {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

fn too_many(wait: std::time::Duration) -> Response {
    let text = format!("Too many attempts. Try again in {}.", spoken(wait));
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "", &text, false);
    retry_after(&mut response, wait);
    response
}

pub(crate) fn retry_after(response: &mut Response, wait: std::time::Duration) {
    let seconds = wait.as_secs() + 1;
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
}

pub(crate) fn busy(page: bool) -> Response {
    let text = "Too many people log in at this moment. Try again in a few seconds.";
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "Busy", text, page);
    retry_after(&mut response, std::time::Duration::from_secs(2));
    response
}

pub(crate) fn unavailable(error: &UsersError, page: bool) -> Response {
    tracing::error!(%error, "login not possible");
    let text = "Logins do not work at the moment. Try again later.";
    problem(StatusCode::SERVICE_UNAVAILABLE, "Not available", text, page)
}

/// Name and password of HTTP Basic.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn the_browsers_word_counts_first() {
        assert!(!is_foreign(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(is_foreign(&headers(&[("sec-fetch-site", "same-site")])));
        assert!(is_foreign(&headers(&[
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://here"),
            ("host", "here"),
        ])));
    }

    #[test]
    fn without_it_origin_and_host_must_agree() {
        let host = ("host", "127.0.0.1:8080");
        assert!(!is_foreign(&headers(&[
            ("origin", "http://127.0.0.1:8080"),
            host
        ])));
        assert!(is_foreign(&headers(&[
            ("origin", "http://127.0.0.1:8081"),
            host
        ])));
        assert!(is_foreign(&headers(&[("origin", "null"), host])));
        assert!(is_foreign(&headers(&[("origin", "null")])));
        assert!(!is_foreign(&headers(&[host])));
    }

    #[test]
    fn basic_has_a_name_and_a_password_that_may_have_colons() {
        let given = |value| basic(&headers(&[("authorization", value)]));
        assert_eq!(
            given("basic YWRhOmE6Yg=="),
            Some(("ada".to_owned(), "a:b".to_owned()))
        );
        for other in [
            "Bearer YWRhOmE6Yg==",
            "Basic",
            "Basic %",
            "Basic YWRh",
            "Basic /zov",
        ] {
            assert_eq!(given(other), None, "{other}");
        }
    }
}
