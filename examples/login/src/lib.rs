//! The demos' login: three people with passwords that everybody may know, by `tramline-login`.
//!
//! What the demos have in common: [`people`], a [`login`] that leaves their pages open, and `GET /me` for the pages.
//!
//! # Example: a demo with a login
//!
//! ```
//! use axum::Router;
//! use tramline::policy::{Policy, authenticated, permit};
//! use tramline::{EmbeddedBroker, Messaging};
//! use tramline_example_login::{login, people, router};
//!
//! let login = login(people()).sockets("/ws").build()?;
//! let messaging = login
//!     .bind(Messaging::builder())
//!     .broker(EmbeddedBroker::new().topics("/topic"))
//!     .policy(Policy::builder().on_connect(authenticated()).otherwise(permit()))
//!     .build()?;
//! let app = login.protect(router().nest_service("/ws", messaging.endpoint()));
//! assert!(app.has_routes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use tramline::User;
use tramline_login::{Login, LoginBuilder, LoginForm, MemoryUsers, Users, escape};

/// Who there is, and their passwords: the login pages show them.
pub const PEOPLE: [(&str, &str); 3] = [
    ("ada", "analytical engine"),
    ("ben", "lightning rod"),
    ("cleo", "barge on the nile"),
];

/// [`PEOPLE`] with the hashes of their passwords, the same at every start: sessions of a store outlive it.
pub fn people() -> MemoryUsers {
    MemoryUsers::parse(include_str!("../people")).expect("the file is tested")
}

/// A login by which every page is open: what needs a user says so itself, a messaging endpoint by its policy. Without
/// `Secure`, since the demos are served by plain HTTP.
pub fn login(users: impl Users) -> LoginBuilder {
    Login::builder(users).open("/**").plain_http()
}

/// What pages ask: `GET /me` is `{"name": "ada"}`, or `{"name": null}` when nobody is logged in, which is an answer, and no
/// error in the console of every browser that comes for the first time.
pub fn router() -> Router {
    Router::new().route("/me", get(me))
}

#[derive(Serialize)]
struct Me {
    name: Option<String>,
}

async fn me(user: Option<Extension<User>>) -> impl IntoResponse {
    let name = user.map(|Extension(user)| user.name().to_owned());
    ([(header::CACHE_CONTROL, "no-store")], Json(Me { name }))
}

/// The people and their passwords, as HTML for a page with the form.
pub fn hint() -> String {
    let people = PEOPLE.map(|(name, password)| {
        let (name, password) = (escape(name), escape(password));
        format!("<li><kbd>{name}</kbd> with <kbd>{password}</kbd></li>")
    });
    format!("<ul class=\"people\">{}</ul>", people.join(""))
}

/// The form of a page, as HTML, with its problem and the people's names and passwords.
pub fn form(form: &LoginForm) -> String {
    let said = |text: &Option<String>| text.as_deref().map(escape).unwrap_or_default();
    let (problem, notice) = (said(&form.problem), said(&form.notice));
    let (hidden, name, hint) = (form.hidden_fields(), escape(&form.name), hint());
    format!(
        "<p role=\"alert\">{problem}{notice}</p>\
         <form method=\"post\" action=\"/login\">{hidden}\
         <p><label for=\"name\">Name</label> <input id=\"name\" name=\"name\" value=\"{name}\" autocomplete=\"username\" required></p>\
         <p><label for=\"password\">Password</label> \
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required></p>\
         <p><button class=\"first\">Log in</button></p></form>\
         <p>These are demos, so everybody may know who can log in:</p>{hint}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_people_and_no_others() {
        let file = include_str!("../people");
        let names = file.lines().filter(|line| !line.starts_with('#'));
        let names: Vec<_> = names
            .filter_map(|line| Some(line.split_once(':')?.0))
            .collect();
        assert_eq!(names, PEOPLE.map(|(name, _)| name));
        people();
    }
}
