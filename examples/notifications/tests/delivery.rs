//! From a POST to browsers, over real sockets.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_service::Service;
use tramline::settings::Settings;
use tramline_client::{Client, Subscription};
use tramline_example_login::login;
use tramline_example_notifications::inbox::Inboxes;
use tramline_example_notifications::{Key, messaging, router};
use tramline_login::MemoryUsers;

const PASSWORD: &str = "a bell";
const KEY: &str = "of-a-program";

struct Server {
    app: Router,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let users = MemoryUsers::new();
        for name in ["ada", "bob"] {
            users.add(name, PASSWORD, [""; 0]).unwrap();
        }
        let login = login(users).sockets("/notifications/ws").build().unwrap();
        let inboxes = Inboxes::default();
        let messaging = login.bind(messaging(&Settings::default(), inboxes.clone()));
        let messaging = messaging.build().expect("the parts fit together");
        let key = Key::from(KEY.to_owned());
        let app = login.protect(router(&messaging, inboxes, key));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/notifications/ws", listener.local_addr().unwrap());
        let served = app.clone();
        tokio::spawn(async move { axum::serve(listener, served).await });
        Self { app, url }
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> (u16, String) {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
            .body(body.into())
            .unwrap();
        let response = self.app.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Posts what must be taken; the answer.
    async fn send(&self, path: &str, draft: Value) -> Value {
        let (status, answer) = self.post(path, draft.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    async fn ask(&self, request: Request<Body>) -> (u16, Option<String>, String) {
        let response = self.app.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let cookie = response.headers().get(header::SET_COOKIE);
        let cookie = cookie.map(|cookie| cookie.to_str().unwrap());
        let cookie = cookie.and_then(|cookie| Some(cookie.split_once(';')?.0.to_owned()));
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, cookie, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The CSRF token of a browser with this cookie, if it has one; a new browser gets a cookie.
    async fn token(&self, cookie: &str) -> (Option<String>, String) {
        let request = Request::get("/csrf").header(header::COOKIE, cookie);
        let (_, cookie, answer) = self.ask(request.body(Body::empty()).unwrap()).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        (cookie, answer["token"].as_str().unwrap().to_owned())
    }

    /// The cookie of a browser in which `name` has logged in.
    async fn login(&self, name: &str) -> String {
        let (cookie, token) = self.token("").await;
        let request = Request::post("/login")
            .header(header::COOKIE, cookie.unwrap())
            .header("x-csrf-token", token)
            .body(Body::from(format!("name={name}&password=a+bell")))
            .unwrap();
        let (status, cookie, answer) = self.ask(request).await;
        assert_eq!(status, 204, "{answer}");
        cookie.unwrap()
    }

    /// A browser in which `name` has logged in.
    async fn browser(&self, name: &str) -> Client {
        let cookie = self.login(name).await;
        let (_, token) = self.token(&cookie).await;
        let connect = Client::connect(&self.url).http_header("cookie", cookie);
        connect.header("X-CSRF-TOKEN", token).await.unwrap()
    }
}

async fn subscribe(client: &Client, destination: &str) -> Subscription {
    client.subscribe(destination).await.unwrap()
}

async fn next(subscription: &mut Subscription) -> Value {
    let message = subscription.next().await.expect("a message").unwrap();
    message.json().unwrap()
}

fn texts(inbox: &Value) -> Vec<(&str, bool)> {
    let one = |kept: &'_ Value| kept["seen"].as_bool().unwrap();
    let inbox = inbox.as_array().unwrap().iter();
    inbox
        .map(|kept| (kept["text"].as_str().unwrap(), one(kept)))
        .collect()
}

#[tokio::test]
async fn what_is_for_everybody_reaches_everybody() {
    let server = Server::start().await;
    let (ada, anybody) = (server.browser("ada").await, Client::connect(&server.url));
    let anybody = anybody.await.unwrap();
    let mut first = subscribe(&ada, "/topic/notifications").await;
    let mut second = subscribe(&anybody, "/topic/notifications").await;

    let draft = json!({ "text": " Lunch! ", "level": "warning" });
    let answer = server.send("/notifications", draft).await;
    assert_eq!(answer["received_by"], 2);
    assert_eq!(answer.get("waits"), None);
    for subscription in [&mut first, &mut second] {
        let shown = next(subscription).await;
        assert_eq!(
            (&shown["text"], &shown["level"]),
            (&json!("Lunch!"), &json!("warning"))
        );
        assert_eq!(shown["id"], answer["id"]);
    }
}

#[tokio::test]
async fn what_is_for_a_user_reaches_all_the_users_browsers_and_nobody_else() {
    let server = Server::start().await;
    let at_desk = server.browser("ada").await;
    let on_phone = server.browser("ada").await;
    let other = server.browser("bob").await;
    let queue = "/user/queue/notifications";
    let mut desk = subscribe(&at_desk, queue).await;
    let mut phone = subscribe(&on_phone, queue).await;
    let mut bob = subscribe(&other, queue).await;

    let to_ada = "/notifications/users/Ada";
    let answer = server.send(to_ada, json!({ "text": "for Ada" })).await;
    assert_eq!(
        (&answer["received_by"], answer.get("waits")),
        (&json!(2), None)
    );
    let to_bob = server.send("/notifications/users/Bob", json!({ "text": "for Bob" }));
    assert_eq!(to_bob.await["received_by"], 1);
    for subscription in [&mut desk, &mut phone] {
        assert_eq!(next(subscription).await["text"], "for Ada");
    }
    // Had Ada's reached Bob, it would have come first.
    assert_eq!(next(&mut bob).await["text"], "for Bob");
}

#[tokio::test]
async fn who_was_away_finds_it_later_and_has_seen_it_everywhere() {
    let server = Server::start().await;
    let to_ada = "/notifications/users/Ada";
    let answer = server.send(to_ada, json!({ "text": "first" })).await;
    assert_eq!(
        (&answer["received_by"], &answer["waits"]),
        (&json!(0), &json!(true))
    );
    server
        .send(to_ada, json!({ "text": "second", "level": "error" }))
        .await;

    let (desk, phone) = (server.browser("ada").await, server.browser("ada").await);
    let mut told = subscribe(&phone, "/user/queue/seen").await;
    let inbox = next(&mut subscribe(&desk, "/app/inbox").await).await;
    assert_eq!(texts(&inbox), [("first", false), ("second", false)]);

    let seen = json!({ "ids": [inbox[0]["id"], "of nobody"] });
    desk.send("/app/inbox/seen", seen.to_string())
        .receipt()
        .await
        .unwrap();
    assert_eq!(next(&mut told).await, json!({ "ids": [inbox[0]["id"]] }));
    let again = next(&mut subscribe(&phone, "/app/inbox").await).await;
    assert_eq!(texts(&again), [("first", true), ("second", false)]);
    let other = server.browser("bob").await;
    assert_eq!(
        next(&mut subscribe(&other, "/app/inbox").await).await,
        json!([])
    );
}

#[tokio::test]
async fn nobody_has_no_inbox() {
    let server = Server::start().await;
    for destination in ["/app/inbox", "/user/queue/notifications"] {
        let anybody = Client::connect(&server.url).await.unwrap();
        let refused = anybody.subscribe(destination).await.unwrap_err();
        assert!(refused.to_string().contains(destination), "{refused}");
    }
    let anybody = Client::connect(&server.url).await.unwrap();
    let forged = anybody.send("/topic/notifications", "{}").receipt().await;
    assert!(
        forged
            .unwrap_err()
            .to_string()
            .contains("/topic/notifications")
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_post_is_said() {
    let server = Server::start().await;
    let long = json!({ "text": "é".repeat(501) }).to_string();
    let nobody = format!("/notifications/users/{}", "x".repeat(41));
    let fits = json!({ "text": "é".repeat(500) });
    server.send("/notifications", fits).await;
    for (path, body, status, problem) in [
        ("/notifications", "", 400, "EOF"),
        ("/notifications", "lunch", 400, "expected value"),
        ("/notifications", "{}", 400, "missing field `text`"),
        (
            "/notifications",
            r#"{"text": 7}"#,
            400,
            "invalid type: integer `7`, expected a string",
        ),
        (
            "/notifications",
            r#"{"text": "x", "level": "loud"}"#,
            400,
            "unknown variant `loud`",
        ),
        (
            "/notifications",
            r#"{"text": "x", "to": "y"}"#,
            400,
            "unknown field `to`",
        ),
        (
            "/notifications",
            r#"{"text": " \n"}"#,
            400,
            "\"text\" is empty",
        ),
        (
            "/notifications",
            &long,
            400,
            "\"text\" has 501 characters, at most 500 fit",
        ),
        (
            "/notifications/users/Ada",
            r#"{"text": ""}"#,
            400,
            "\"text\" is empty",
        ),
        (&nobody, r#"{"text": "x"}"#, 400, "at most 40 characters"),
        (
            "/notifications/users/%20",
            r#"{"text": "x"}"#,
            400,
            "at least 1 character",
        ),
        (
            "/notifications/users/a%0Ab",
            r#"{"text": "x"}"#,
            400,
            "a character that names do not have",
        ),
        (
            "/notifications/users/%2E%2E",
            r#"{"text": "x"}"#,
            400,
            "\"..\" is no name",
        ),
        ("/notifications/users/%ff", r#"{"text": "x"}"#, 400, "UTF-8"),
    ] {
        let (given, answer) = server.post(path, body.to_owned()).await;
        assert_eq!(given, status, "{path} {body}: {answer}");
        assert!(answer.contains(problem), "{path} {body}: {answer}");
    }
    let (status, _) = server.post("/notifications", vec![b' '; 20_000]).await;
    assert_eq!(status, 413);

    let plain = Request::post("/notifications")
        .header(header::AUTHORIZATION, format!("Bearer {KEY}"))
        .body(Body::from(r#"{"text": "x"}"#));
    assert_eq!(server.ask(plain.unwrap()).await.0, 415);
}

#[tokio::test]
async fn a_post_needs_a_login_or_the_key() {
    let server = Server::start().await;
    let ada = server.login("ada").await;
    let (_, token) = server.token(&ada).await;
    let post = async |headers: &[(&str, &str)]| {
        let mut request =
            Request::post("/notifications").header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(r#"{"text": "x"}"#)).unwrap();
        server.ask(request).await.0
    };
    assert_eq!(post(&[]).await, 401);
    assert_eq!(
        post(&[("authorization", "Bearer of-a-programme")]).await,
        401
    );
    assert_eq!(post(&[("authorization", "Bearer of-a-program")]).await, 200);
    assert_eq!(
        post(&[("cookie", &ada), ("x-csrf-token", &token)]).await,
        200
    );
    // What a page of another site would send.
    assert_eq!(post(&[("cookie", &ada)]).await, 403);

    let key = async |cookie: &str| {
        let request = Request::get("/notifications/key").header("cookie", cookie);
        let (status, _, key) = server.ask(request.body(Body::empty()).unwrap()).await;
        (status, key)
    };
    assert_eq!(key(&ada).await, (200, KEY.to_owned()));
    assert_eq!(key("").await.0, 401);
}
