//! From a POST to browsers, over real sockets.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_service::Service;
use tramline::settings::Settings;
use tramline_client::{Client, Subscription};
use tramline_example_login::Login;
use tramline_example_notifications::inbox::Inboxes;
use tramline_example_notifications::{messaging, router};

struct Server {
    app: Router,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let (login, inboxes) = (Login::new(), Inboxes::default());
        let messaging = messaging(&Settings::default(), inboxes.clone());
        let messaging = messaging.build().expect("the parts fit together");
        let app = login.identify(router(&messaging, inboxes).merge(login.router()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/notifications/ws", listener.local_addr().unwrap());
        let served = app.clone();
        tokio::spawn(async move { axum::serve(listener, served).await });
        Self { app, url }
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> (u16, String) {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
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

    /// A browser in which `name` has logged in.
    async fn browser(&self, name: &str) -> Client {
        let request = Request::post("/login")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(json!({ "name": name }).to_string()))
            .unwrap();
        let response = self.app.clone().call(request).await.unwrap();
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        let (cookie, _) = cookie.split_once(';').unwrap();
        let connect = Client::connect(&self.url).http_header("cookie", cookie);
        connect.await.unwrap()
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
    let (ada, anybody) = (server.browser("Ada").await, Client::connect(&server.url));
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
    let at_desk = server.browser("Ada Lovelace").await;
    let on_phone = server.browser("Ada Lovelace").await;
    let other = server.browser("Bob").await;
    let queue = "/user/queue/notifications";
    let mut desk = subscribe(&at_desk, queue).await;
    let mut phone = subscribe(&on_phone, queue).await;
    let mut bob = subscribe(&other, queue).await;

    let to_ada = "/notifications/users/Ada%20Lovelace";
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

    let (desk, phone) = (server.browser("Ada").await, server.browser("Ada").await);
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
    let other = server.browser("Bob").await;
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
            "no control characters",
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

    // A form of another site can send this without asking.
    let plain = Request::post("/notifications").body(Body::from(r#"{"text": "x"}"#));
    let response = server.app.clone().call(plain.unwrap()).await.unwrap();
    assert_eq!(response.status().as_u16(), 415);
}
