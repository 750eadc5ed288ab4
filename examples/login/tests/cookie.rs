//! What the login's routes answer, and whom the cookie makes of a request.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use tower_service::Service;
use tramline::User;
use tramline_example_login::Login;

async fn ask(login: &Login, request: Request<Body>) -> Response {
    login.router().call(request).await.unwrap()
}

fn post(path: &str, kind: &str, body: &str) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, kind)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

fn form(body: &str) -> Request<Body> {
    post("/login", "application/x-www-form-urlencoded", body)
}

fn json(name: &str) -> Request<Body> {
    let name = name.replace('\n', "\\n");
    post(
        "/login",
        "application/json",
        &format!("{{\"name\":\"{name}\"}}"),
    )
}

fn with_cookie(path: &str, cookie: &str) -> Request<Body> {
    let request = Request::get(path).header(header::COOKIE, cookie);
    request.body(Body::empty()).unwrap()
}

async fn text(response: Response) -> String {
    let body = to_bytes(response.into_body(), 1024).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Logs in; what the browser would send from then on.
async fn cookie(login: &Login, name: &str) -> String {
    let answer = ask(login, json(name)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let set = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    let (cookie, attributes) = set.split_once("; ").unwrap();
    let mut attributes: Vec<_> = attributes.split("; ").collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Lax"]);
    cookie.to_owned()
}

#[tokio::test]
async fn a_name_comes_back() {
    let login = Login::new();
    for name in [
        "Ada",
        "Zoë 春 🚋",
        "a; b=\\\\c, \\\"d\\\"",
        "x/../@y%20",
        "נועה",
        "👩\u{200d}🚀",
    ] {
        let cookie = cookie(&login, name).await;
        let answer = ask(&login, with_cookie("/me", &cookie)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(text(answer).await, format!("{{\"name\":\"{name}\"}}"));
    }
}

#[tokio::test]
async fn a_form_does_as_well_and_spaces_around_do_not_count() {
    let login = Login::new();
    let answer = ask(&login, form("name=++Zo%C3%AB+%26+Co%20")).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let set = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    let me = ask(&login, with_cookie("/me", set.split("; ").next().unwrap())).await;
    assert_eq!(text(me).await, "{\"name\":\"Zoë & Co\"}");
}

#[tokio::test]
async fn names_that_are_none_are_refused_with_the_reason() {
    let login = Login::new();
    let long = "春".repeat(41);
    for (request, reason) in [
        (json("  "), "a name has at least 1 character"),
        (
            json(&long),
            "a name has at most 40 characters, this one has 41",
        ),
        (
            json("a\nb"),
            "a name has no control characters, such as line ends",
        ),
        (
            json("ada\u{202e}"),
            "a name does not turn the direction of the text, as U+202E does",
        ),
        (
            json("\u{200b} \u{200d}"),
            "a name has at least 1 character that can be seen",
        ),
        (json("."), "\".\" is no name: a URL cannot have it"),
        (json(".."), "\"..\" is no name: a URL cannot have it"),
        (form("nom=Ada"), "missing field `name`"),
        (
            post("/login", "application/json", "{}"),
            "missing field `name`",
        ),
        (post("/login", "application/json", "Ada"), "expected value"),
        (post("/login", "text/plain", "name=Ada"), "Content-Type"),
    ] {
        let answer = ask(&login, request).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{reason}");
        assert!(!answer.headers().contains_key(header::SET_COOKIE));
        let said = text(answer).await;
        assert!(said.contains(reason), "{said}");
    }
    let longest = "春".repeat(40);
    let answer = ask(&login, json(&longest)).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_forged_cookie_is_nobodys() {
    let login = Login::new();
    let elsewhere = cookie(&Login::new(), "Ada").await;
    let mine = cookie(&login, "Ada").await;
    let changed = mine.replace("Ada", "Eve");
    assert_ne!(changed, mine);
    for forged in ["demo-user=Ada", &elsewhere, &changed] {
        let answer = ask(&login, with_cookie("/me", forged)).await;
        let void = "{\"name\":null,\"void\":true}";
        assert_eq!(text(answer).await, void, "{forged}");
    }
    // Who has logged out, or never was here, is told apart: that browser's pages do not log in again by themselves.
    let answer = ask(&login, with_cookie("/me", "another=1")).await;
    assert_eq!(text(answer).await, "{\"name\":null}");
}

#[tokio::test]
async fn logging_out_takes_the_cookie_away() {
    let login = Login::new();
    let cookie = cookie(&login, "Ada").await;
    let mut request = post("/logout", "text/plain", "");
    let headers = request.headers_mut();
    headers.insert(header::COOKIE, cookie.parse().unwrap());
    let answer = ask(&login, request).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let set = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(
        set.starts_with("demo-user=;") && set.contains("Max-Age=0"),
        "{set}"
    );
    assert!(set.contains("Path=/"), "{set}");
}

#[tokio::test]
async fn another_sites_page_can_neither_log_in_nor_out() {
    let login = Login::new();
    for path in ["/login", "/logout"] {
        let mut request = post(path, "application/x-www-form-urlencoded", "name=Eve");
        let headers = request.headers_mut();
        headers.insert("sec-fetch-site", "cross-site".parse().unwrap());
        let answer = ask(&login, request).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(!answer.headers().contains_key(header::SET_COOKIE));
    }
}

#[tokio::test]
async fn an_application_hears_who_asks() {
    let whoami = get(async |user: Option<Extension<User>>| match user {
        Some(Extension(user)) => user.name().to_owned(),
        None => "nobody".to_owned(),
    });
    let login = Login::new();
    let mut app = login.identify(Router::new().route("/whoami", whoami));
    let cookie = cookie(&login, "Ada").await;
    for (cookie, name) in [(cookie.as_str(), "Ada"), ("demo-user=Ada", "nobody")] {
        let answer = app.call(with_cookie("/whoami", cookie)).await.unwrap();
        assert_eq!(text(answer).await, name);
    }
}
