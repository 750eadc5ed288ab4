//! Who may POST: somebody who has logged in, or a program with the key.

use std::fmt;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tramline::User;

/// What programs send as `Authorization: Bearer KEY`.
#[derive(Clone)]
pub struct Key(Arc<str>);

impl Key {
    /// A key of this start of the server. An application has one for each program, from its configuration.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system has random bytes");
        Self::from(format!("{:032x}", u128::from_ne_bytes(bytes)))
    }

    fn opens(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(header::AUTHORIZATION);
        let sent = sent.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        sent.is_some_and(|sent| sent.as_bytes().ct_eq(self.0.as_bytes()).into())
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

/// Without the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Refuses everybody else.
pub(crate) async fn known(State(key): State<Key>, request: Request, next: Next) -> Response {
    let is_known = request.extensions().get::<User>().is_some() || key.opens(request.headers());
    if is_known {
        return next.run(request).await;
    }
    let text = "log in, or send the key: Authorization: Bearer KEY\n";
    let scheme = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, scheme, text).into_response()
}

/// The key, for people who have logged in: the page puts it into the command that it shows.
pub(crate) async fn shown(State(key): State<Key>, user: Option<Extension<User>>) -> Response {
    match user {
        Some(_) => ([(header::CACHE_CONTROL, "no-store")], key.0.to_string()).into_response(),
        None => (StatusCode::UNAUTHORIZED, "log in first\n").into_response(),
    }
}
