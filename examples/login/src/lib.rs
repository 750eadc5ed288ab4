//! The demos' login: whoever says a name is called that, and a signed cookie remembers it.
//!
//! **No real login**: nobody is asked for a password, and two people may take the same name. What is real is the way a
//! name takes from the web session to the messages: [`Login::identify`] puts a [`User`] into the extensions of each HTTP
//! request, and the messaging session that the request opens belongs to that user.
//!
//! # Example: an application with a login
//!
//! ```
//! use axum::Router;
//! use tramline_example_login::Login;
//! # use tramline::policy::{Policy, authenticated, permit};
//! # use tramline::{EmbeddedBroker, Messaging};
//! # let messaging = Messaging::builder()
//! #     .broker(EmbeddedBroker::new().topics("/topic"))
//! #     .policy(Policy::builder().on_connect(authenticated()).otherwise(permit()))
//! #     .build()?;
//!
//! let login = Login::new();
//! let app: Router = login.identify(
//!     Router::new()
//!         .nest_service("/ws", messaging.endpoint())
//!         .merge(login.router()),
//! );
//! assert!(app.has_routes());
//! # Ok::<(), tramline::BuildError>(())
//! ```

mod name;
mod origin;

use axum::extract::{FromRef, FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router, middleware};
use axum_extra::extract::cookie::{Cookie, CookieJar, Key, SameSite, SignedCookieJar};
use serde::{Deserialize, Serialize};
use tramline::User;

pub use name::{BadName, accept};

const COOKIE: &str = "demo-user";

/// Gives out names and recognises them again. Clones share the key.
///
/// The key is made by [`Login::new`] and kept nowhere: after a restart of the server everybody has to log in again.
#[derive(Clone)]
pub struct Login {
    key: Key,
}

impl Login {
    /// A login with a key of its own.
    #[allow(
        clippy::new_without_default,
        reason = "two defaults that do not know each other's cookies would surprise"
    )]
    pub fn new() -> Self {
        Self {
            key: Key::generate(),
        }
    }

    /// What the pages call:
    ///
    /// * `POST /login` with the field `name`, as a form or as JSON: one that [`accept`] takes. Sets the cookie and answers 204;
    ///   400 with the reason for any other name.
    /// * `POST /logout`: takes the cookie away; 204.
    /// * `GET /me`: `{"name": …}`, with `null` when nobody is logged in: that is an answer, and no error in the console of
    ///   every browser that comes for the first time. With `"void": true` beside it, there is a cookie that was not signed
    ///   here, as after a restart: this browser has not logged out, and its pages may log in again by themselves.
    ///
    /// A POST that a page of another site has sent is answered 403.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/login", post(log_in))
            .route("/logout", post(log_out))
            .layer(middleware::from_fn(origin::same_only))
            .route("/me", get(me))
            .with_state(self.clone())
    }

    /// Puts the [`User`] into the extensions of every request to `app` whose cookie was signed here.
    ///
    /// A request without a cookie, or with a forged one, goes on without a user: what that means is for `app` to say,
    /// for a messaging endpoint by its policy.
    pub fn identify(&self, app: Router) -> Router {
        app.layer(middleware::map_request_with_state(self.clone(), identify))
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl FromRef<Login> for Key {
    fn from_ref(login: &Login) -> Self {
        login.key.clone()
    }
}

async fn identify(State(login): State<Login>, mut request: Request) -> Request {
    let jar = SignedCookieJar::from_headers(request.headers(), login.key);
    if let Some(cookie) = jar.get(COOKIE) {
        request.extensions_mut().insert(User::new(cookie.value()));
    }
    request
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Serialize)]
struct Me {
    name: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    void: bool,
}

async fn log_in(jar: SignedCookieJar, request: Request) -> Result<Response, BadName> {
    let name = accept(&posted(request).await?)?;
    let cookie = Cookie::build((COOKIE, name))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax);
    Ok((StatusCode::NO_CONTENT, jar.add(cookie)).into_response())
}

async fn log_out(jar: SignedCookieJar) -> impl IntoResponse {
    let cookie = Cookie::build(COOKIE).path("/");
    (StatusCode::NO_CONTENT, jar.remove(cookie))
}

async fn me(jar: SignedCookieJar, sent: CookieJar) -> impl IntoResponse {
    let name = jar.get(COOKIE).map(|cookie| cookie.value().to_owned());
    let void = name.is_none() && sent.get(COOKIE).is_some();
    let me = Json(Me { name, void });
    ([(header::CACHE_CONTROL, "no-store")], me)
}

/// The name that a form or a script has sent.
async fn posted(request: Request) -> Result<String, BadName> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        let sent = Json::<Named>::from_request(request, &()).await;
        sent.map(|Json(named)| named.name)
            .map_err(|rejection| BadName::new(rejection.body_text()))
    } else {
        let sent = Form::<Named>::from_request(request, &()).await;
        sent.map(|Form(named)| named.name)
            .map_err(|rejection| BadName::new(rejection.body_text()))
    }
}
