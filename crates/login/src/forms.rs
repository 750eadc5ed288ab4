//! The routes of the login.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytestring::ByteString;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use tower_sessions::Session;

use crate::csrf::{CSRF_HEADER, CSRF_PARAMETER, Token};
use crate::guard::{accepts_pages, busy, retry_after, unavailable};
use crate::live::WebSession;
use crate::login::{Login, Shared, Verdict};
use crate::pages::{CSRF, LOGIN, LOGOUT, LoginForm, html, problem, spoken};
use crate::redirect::local;
use crate::ticket::{TICKET, Ticket, now};
use crate::users::{Account, UsersError};

/// Bytes of the form with name and password.
const LARGEST_FORM: usize = 16 * 1024;

/// The cookie with the token of a visitor who has not logged in yet.
const CSRF_COOKIE: &str = "login-csrf";

pub(crate) fn router(login: &Login) -> Router {
    Router::new()
        .route(LOGIN, get(form).post(log_in))
        .route(LOGOUT, post(log_out))
        .route(CSRF, get(csrf))
        .with_state(login.clone())
}

type Visit = Option<Extension<WebSession>>;

/// The token of a visitor, and the cookie to set if the visitor had none.
fn token(shared: &Shared, visit: &Visit, headers: &HeaderMap) -> (Token, Option<HeaderValue>) {
    if let Some(Extension(WebSession(live))) = visit {
        return (live.csrf.clone(), None);
    }
    if let Some(token) = cookie_token(headers) {
        return (token, None);
    }
    let token = Token::random();
    let secure = if shared.secure { "; Secure" } else { "" };
    let cookie = format!(
        "{CSRF_COOKIE}={}; HttpOnly; SameSite=Lax; Path=/{secure}",
        token.to_text()
    );
    (token, HeaderValue::try_from(cookie).ok())
}

fn cookie_token(headers: &HeaderMap) -> Option<Token> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == CSRF_COOKIE).then(|| Token::from_text(value))?
        })
}

async fn form(
    State(login): State<Login>,
    visit: Visit,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let shared = &login.0;
    let (token, cookie) = token(shared, &visit, &headers);
    let next = query.get("next").and_then(|next| local(next));
    let notice = query
        .contains_key("out")
        .then(|| "You have logged out.".to_owned());
    let form = LoginForm {
        problem: None,
        notice,
        name: String::new(),
        wait: None,
        next: next.unwrap_or(&shared.after_login).to_owned(),
        token: token.masked(),
    };
    let mut response = page(shared, StatusCode::OK, &form);
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn page(shared: &Shared, status: StatusCode, form: &LoginForm) -> Response {
    let text = match &shared.page {
        Some(page) => page(form),
        None => form.plain(),
    };
    html(status, text)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CsrfToken {
    header_name: &'static str,
    parameter_name: &'static str,
    token: String,
}

async fn csrf(State(login): State<Login>, visit: Visit, headers: HeaderMap) -> Response {
    let (token, cookie) = token(&login.0, &visit, &headers);
    let answer = Json(CsrfToken {
        header_name: CSRF_HEADER,
        parameter_name: CSRF_PARAMETER,
        token: token.masked(),
    });
    let mut response = ([(header::CACHE_CONTROL, "no-store")], answer).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The fields of the form.
struct Fields(HashMap<String, String>);

impl Fields {
    async fn read(request: Request) -> Result<Self, &'static str> {
        let bytes = to_bytes(request.into_body(), LARGEST_FORM).await;
        let bytes = bytes.map_err(|_| "The form is too large.")?;
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

async fn log_in(
    State(login): State<Login>,
    visit: Visit,
    session: Session,
    request: Request,
) -> Response {
    let shared = &login.0;
    let (parts, body) = request.into_parts();
    let pages = accepts_pages(&parts.headers);
    let forbidden = |title: &str, text: &str| problem(StatusCode::FORBIDDEN, title, text, pages);
    if shared.secure && is_plain(&parts.headers) {
        let text = "This page came by http, and the login needs https: passwords and cookies could be read on the way. \
                    Open the same address with https.";
        return forbidden("Not secure", text);
    }
    let fields = match Fields::read(Request::from_parts(parts.clone(), body)).await {
        Ok(fields) => fields,
        Err(text) => return problem(StatusCode::PAYLOAD_TOO_LARGE, "Too large", text, pages),
    };
    if shared.csrf && !has_token(&visit, &parts.headers, &fields) {
        let text = "The form is too old, or this browser takes no cookies. Reload the page with the form and try again.";
        return forbidden("This page is too old", text);
    }
    let next = local(fields.get("next")).unwrap_or(&shared.after_login);
    let again = |status, problem: &str, wait: Option<Duration>| {
        if !pages {
            return crate::pages::problem(status, "", problem, false);
        }
        let (token, _) = token(shared, &visit, &parts.headers);
        let form = LoginForm {
            problem: Some(problem.to_owned()),
            notice: None,
            name: fields.get("name").to_owned(),
            wait: wait.map(|wait| wait.as_secs() + 1),
            next: next.to_owned(),
            token: token.masked(),
        };
        page(shared, status, &form)
    };
    let address = shared.address(&parts);
    let verdict = shared.attempt(fields.get("name"), fields.get("password"), address);
    let account = match verdict.await {
        Ok(Verdict::Right(account)) => account,
        Ok(Verdict::Wrong) => {
            return again(
                StatusCode::UNAUTHORIZED,
                "The name or the password is wrong.",
                None,
            );
        }
        Ok(Verdict::Wait(wait)) => {
            let text = format!("Too many attempts. Try again in {}.", spoken(wait));
            let mut response = again(StatusCode::TOO_MANY_REQUESTS, &text, Some(wait));
            retry_after(&mut response, wait);
            return response;
        }
        Ok(Verdict::Busy) => return busy(pages),
        Err(error) => return unavailable(&error, pages),
    };
    if let Err(error) = enter(shared, &session, &visit, &account).await {
        return unavailable(&error, pages);
    }
    done(next, pages)
}

/// Begins a session for the account. The old id is worth nothing afterwards: whoever made the visitor use it gains nothing.
async fn enter(
    shared: &Shared,
    session: &Session,
    visit: &Visit,
    account: &Account,
) -> Result<(), UsersError> {
    if let Some(Extension(WebSession(live))) = visit {
        shared
            .end(live, ByteString::from_static("you have logged in anew"))
            .await;
        session.flush().await?;
    }
    // Also after `flush`, which keeps the id for what is saved next.
    session.cycle_id().await?;
    let now = now();
    let ticket = Ticket {
        user: account.user.name().to_owned(),
        since: now,
        seen: now,
        csrf: Token::random(),
        print: account.print(),
    };
    session.insert(TICKET, ticket).await?;
    session.save().await?;
    Ok(())
}

fn has_token(visit: &Visit, headers: &HeaderMap, fields: &Fields) -> bool {
    let in_header = headers
        .get(CSRF_HEADER)
        .and_then(|value| value.to_str().ok());
    let sent = in_header.unwrap_or_else(|| fields.get(CSRF_PARAMETER));
    // A form that was opened before a login in another tab has the token of the cookie.
    let known = visit
        .as_ref()
        .map(|Extension(WebSession(live))| live.csrf.clone());
    let mut tokens = known.into_iter().chain(cookie_token(headers));
    tokens.any(|token| token.matches(sent))
}

/// Whether a page sent this that came by plain HTTP, and not from the same machine: browsers would drop a `Secure` cookie.
fn is_plain(headers: &HeaderMap) -> bool {
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok());
    let Some(authority) = origin.and_then(|origin| origin.strip_prefix("http://")) else {
        return false;
    };
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_here = host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|host| host.is_loopback());
    !is_here
}

async fn log_out(
    State(login): State<Login>,
    visit: Visit,
    session: Session,
    headers: HeaderMap,
) -> Response {
    let pages = accepts_pages(&headers);
    if let Some(Extension(WebSession(live))) = visit {
        let reason = ByteString::from_static("you have logged out");
        login.0.end(&live, reason).await;
        if let Err(error) = session.flush().await {
            return unavailable(&error.into(), pages);
        }
    }
    done("/login?out", pages)
}

/// To a page, or, for a script, that it is done.
fn done(target: &str, pages: bool) -> Response {
    let mut response = match pages {
        true => Redirect::to(target).into_response(),
        false => StatusCode::NO_CONTENT.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_by_plain_http_is_told_from_one_of_this_machine() {
        let plain = |origin: &'static str| {
            let origin = (header::ORIGIN, HeaderValue::from_static(origin));
            is_plain(&HeaderMap::from_iter([origin]))
        };
        assert!(plain("http://192.168.1.7:8080") && plain("http://intranet"));
        assert!(plain("http://localhost.evil.example"));
        for fine in [
            "https://intranet",
            "http://localhost:8080",
            "http://127.0.0.1",
            "http://[::1]:80",
            "null",
        ] {
            assert!(!plain(fine), "{fine}");
        }
        assert!(!is_plain(&HeaderMap::new()));
    }
}
