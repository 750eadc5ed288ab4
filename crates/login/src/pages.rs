//! Pages: the form, and what went wrong.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::csrf::CSRF_PARAMETER;

/// The paths of the login, which are open.
pub(crate) const PATHS: [&str; 3] = [LOGIN, LOGOUT, CSRF];
pub(crate) const LOGIN: &str = "/login";
pub(crate) const LOGOUT: &str = "/logout";
pub(crate) const CSRF: &str = "/csrf";

/// What a page with the form shows.
#[derive(Clone)]
#[non_exhaustive]
pub struct LoginForm {
    /// What was wrong with the last attempt, as a sentence.
    pub problem: Option<String>,
    /// Other news, as a sentence: that one has logged out.
    pub notice: Option<String>,
    /// The name of the last attempt.
    pub name: String,
    /// Seconds to wait before the next attempt, if there were too many.
    pub wait: Option<u64>,
    pub(crate) next: String,
    pub(crate) token: String,
}

impl LoginForm {
    /// The fields with the CSRF token and the path that the login leads to, as HTML.
    pub fn hidden_fields(&self) -> String {
        format!(
            "<input type=\"hidden\" name=\"{CSRF_PARAMETER}\" value=\"{}\"><input type=\"hidden\" name=\"next\" value=\"{}\">",
            escape(&self.token),
            escape(&self.next)
        )
    }

    /// The page of applications that have none.
    pub(crate) fn plain(&self) -> String {
        let said = |class: &str, text: &Option<String>| {
            text.as_ref().map_or_else(String::new, |text| {
                format!("<p class=\"{class}\" role=\"alert\">{}</p>", escape(text))
            })
        };
        document(
            "Log in",
            &format!(
                "{}{}<form method=\"post\" action=\"{LOGIN}\">{}\
                 <label for=\"name\">Name</label>\
                 <input id=\"name\" name=\"name\" value=\"{}\" autocomplete=\"username\" autocapitalize=\"none\" \
                 spellcheck=\"false\" required autofocus>\
                 <label for=\"password\">Password</label>\
                 <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required>\
                 <button>Log in</button></form>",
                said("problem", &self.problem),
                said("notice", &self.notice),
                self.hidden_fields(),
                escape(&self.name)
            ),
        )
    }
}

/// Without the token.
impl fmt::Debug for LoginForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginForm")
            .field("problem", &self.problem)
            .field("notice", &self.notice)
            .field("name", &self.name)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// A text as a part of HTML, between tags or in a quoted attribute.
///
/// # Example: markup that is text
///
/// ```
/// assert_eq!(tramline_login::escape("<b> & \"Co\""), "&lt;b&gt; &amp; &quot;Co&quot;");
/// ```
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A time as people say it.
pub(crate) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match seconds {
        1 => "1 second".to_owned(),
        2..=120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// An answer that is no success: a page, or the text alone for a program.
pub(crate) fn problem(status: StatusCode, title: &str, text: &str, page: bool) -> Response {
    match page {
        true => html(
            status,
            document(
                title,
                &format!(
                    "<p>{}</p><p><a href=\"/\">To the first page</a></p>",
                    escape(text)
                ),
            ),
        ),
        false => (
            status,
            [(header::CACHE_CONTROL, "no-store")],
            format!("{text}\n"),
        )
            .into_response(),
    }
}

/// A page of ours.
pub(crate) fn html(status: StatusCode, page: String) -> Response {
    let mut response = (status, page).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

/// Files of this server, our own style, and no script from within a page.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'self'; style-src 'self' 'sha256-{style}'; object-src 'none'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'self'"))
});

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:22rem;margin:4rem auto;padding:0 1rem}\
label,input,button{display:block;width:100%;box-sizing:border-box;font:inherit}\
input,button{margin:.25rem 0 1rem;padding:.5rem}.problem{color:#b00020}\
@media(prefers-color-scheme:dark){body{background:#111;color:#eee}.problem{color:#ff8a80}}";

fn document(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    )
}

/// Adds what makes browsers careful, where the application has not said otherwise. Endpoints of sockets stay as they are:
/// SockJS has a page that is framed.
pub(crate) fn careful(headers: &mut HeaderMap, is_private: bool, is_secure: bool) {
    let mut add = |name, value| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    add(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    add(header::X_FRAME_OPTIONS, "DENY");
    add(header::REFERRER_POLICY, "same-origin");
    if is_secure {
        add(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if is_private {
        add(header::CACHE_CONTROL, "no-store");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_shows_texts_as_texts() {
        let form = LoginForm {
            problem: Some("<script>".to_owned()),
            notice: None,
            name: "\"><script>".to_owned(),
            wait: None,
            next: "/\"x".to_owned(),
            token: "token".to_owned(),
        };
        let page = form.plain();
        assert!(!page.contains("<script"), "{page}");
        assert!(
            page.contains("value=\"&quot;&gt;&lt;script&gt;\""),
            "{page}"
        );
        assert!(!format!("{form:?}").contains("token"));
    }

    #[test]
    fn times_are_rounded_up() {
        for (millis, said) in [
            (1, "1 second"),
            (1001, "2 seconds"),
            (120_000, "120 seconds"),
            (121_000, "3 minutes"),
        ] {
            assert_eq!(spoken(Duration::from_millis(millis)), said);
        }
    }
}
