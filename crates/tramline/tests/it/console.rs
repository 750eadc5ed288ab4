//! The console: who may, what it shows, what it does.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;
use tramline::User;
use tramline::broker::QueueSettings;
use tramline::console::{Access, Console};
use tramline::policy::{Policy, Refusals, check, deny, permit};
use tramline_stomp::Version;

use crate::log::Lines;
use crate::support::{Client, FrameExt, Server, Setup, answer, broker, eventually};

/// Users called `ada` may act, others look.
fn access(request: &Parts) -> Access {
    match request.extensions.get::<User>() {
        Some(user) if user.name() == "ada" => Access::act("ada"),
        Some(user) => Access::view(user.name()),
        None => Access::denied(),
    }
}

/// A server's console, as a browser asks it.
struct Asked(Console);

impl Asked {
    fn of(server: &Server) -> Self {
        Self(Console::at("/console", access).stack(server.messaging()))
    }

    async fn answer(&self, user: Option<&str>, mut request: Request<Body>) -> Response<Body> {
        if let Some(user) = user {
            request.extensions_mut().insert(User::new(user.to_owned()));
        }
        let answer = self.0.clone().oneshot(request).await.unwrap();
        answer.map(Body::new)
    }

    async fn look(&self, what: &str) -> Value {
        let request = Request::get(format!("/api/{what}")).body(Body::empty());
        json_of(self.answer(Some("bob"), request.unwrap()).await, 200).await
    }

    async fn act(&self, what: &str, body: Value) -> Value {
        json_of(self.answer(Some("ada"), act(what, &body)).await, 200).await
    }

    /// The error of an act that fails.
    async fn refused(&self, what: &str, body: Value) -> String {
        let answer = self.answer(Some("ada"), act(what, &body)).await;
        let status = answer.status().as_u16();
        let body = json_of(answer, status).await;
        assert!((400..500).contains(&status), "{status}: {body}");
        body["error"].as_str().unwrap().to_owned()
    }
}

/// The request of the console's own page.
fn act(what: &str, body: &Value) -> Request<Body> {
    let mut body = body.clone();
    body["stack"] = "test".into();
    Request::post(format!("/console/api/{what}"))
        .header("content-type", "application/json")
        .header("x-tramline-console", "1")
        .header("sec-fetch-site", "same-origin")
        .body(Body::from(body.to_string()))
        .unwrap()
}

async fn text_of(answer: Response<Body>) -> String {
    let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.into()).unwrap()
}

async fn json_of(answer: Response<Body>, status: u16) -> Value {
    let got = answer.status().as_u16();
    let text = text_of(answer).await;
    assert_eq!(got, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn only_who_may_sees_it_and_only_who_may_act_acts() {
    let server = Server::start().await;
    let console = Asked::of(&server);
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let publish = json!({"destination": "/topic/a", "body": "x"});
    for path in [
        "/",
        "/console.js",
        "/api/stacks",
        "/api/sessions?stack=test",
    ] {
        let answer = console.answer(None, get(path)).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
        let answer = console.answer(Some("bob"), get(path)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    for user in [None, Some("bob")] {
        let answer = console.answer(user, act("publish", &publish)).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{user:?}");
    }
    assert_eq!(
        console.act("publish", publish).await,
        json!({"receivers": 0})
    );
    assert_eq!(
        console.look("stacks").await,
        json!({"stacks": ["test"], "operator": "bob", "may_act": false})
    );
    assert_eq!(
        console
            .answer(Some("ada"), get("/api/nothing?stack=test"))
            .await
            .status(),
        404
    );
    assert_eq!(
        console
            .answer(Some("ada"), get("/api/sessions?stack=other"))
            .await
            .status(),
        404
    );
    let put = Request::builder()
        .method(Method::PUT)
        .uri("/")
        .body(Body::empty());
    assert_eq!(
        console.answer(Some("ada"), put.unwrap()).await.status(),
        405
    );
}

/// What a browser lets another site's page send does nothing.
#[tokio::test]
async fn another_sites_page_acts_on_nothing() {
    let server = Server::start().await;
    let console = Asked::of(&server);
    let message = json!({"destination": "/topic/a", "body": "x"});
    for (name, value) in [
        ("content-type", Some("text/plain")),
        ("x-tramline-console", None),
        ("sec-fetch-site", Some("cross-site")),
        ("sec-fetch-site", Some("same-site")),
    ] {
        let mut request = act("publish", &message);
        request.headers_mut().remove(name);
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = console.answer(Some("ada"), request).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}: {value:?}");
    }
    assert_eq!(
        server
            .messaging()
            .broker_statistics("/topic/**", 9)
            .unwrap()
            .totals
            .published,
        0
    );
}

#[tokio::test]
async fn the_page_comes_from_here_alone() {
    let server = Server::start().await;
    let console = Asked::of(&server);
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let page = console.answer(Some("bob"), get("/console")).await;
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = text_of(page).await;
    assert!(
        !page.contains("style=") && !page.contains("onclick") && !page.contains("http"),
        "{page}"
    );
    let mut files = vec!["console.css".to_owned(), "console.js".to_owned()];
    assert!(
        files
            .iter()
            .all(|file| page.contains(&format!("\"/console/{file}\""))),
        "{page}"
    );
    while let Some(file) = files.pop() {
        let answer = console.answer(Some("bob"), get(&format!("/{file}"))).await;
        assert_eq!(answer.status(), StatusCode::OK, "{file}");
        let text = text_of(answer).await;
        let imports = text
            .split("from './")
            .skip(1)
            .filter_map(|rest| rest.split('\'').next());
        files.extend(imports.map(str::to_owned));
    }
}

#[tokio::test]
async fn sessions_are_sorted_searched_and_paged_by_the_server() {
    let server = Server::start().await;
    let console = Asked::of(&server);
    let mut clients = Vec::new();
    for user in ["carl", "ada", "bob"] {
        clients.push(Client::connect_as(&server, user).await);
    }
    clients[1]
        .send("SUBSCRIBE\nid:news\ndestination:/topic/news\nreceipt:r\n\n\0")
        .await;
    clients[1].expect("RECEIPT").await;
    server
        .messaging()
        .publisher()
        .send("/topic/news", "x".repeat(1000))
        .await
        .unwrap();
    clients[1].expect("MESSAGE").await;
    let names = |page: &Value| -> Vec<String> {
        let rows = page["rows"].as_array().unwrap().iter();
        rows.map(|row| row["user"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = console.look("sessions?stack=test&sort=user&size=2").await;
    assert_eq!(
        (names(&page), &page["count"], &page["pages"]),
        (vec!["ada".into(), "bob".into()], &json!(3), &json!(2))
    );
    let last = console
        .look("sessions?stack=test&sort=user&size=2&page=1")
        .await;
    assert_eq!(names(&last), ["carl"]);
    assert_eq!(
        names(&console.look("sessions?stack=test&q=BO").await),
        ["bob"]
    );
    // The session counts what it has written after the client may have read it.
    let mut ada = Value::Null;
    for _ in 0..1000 {
        let page = console
            .look("sessions?stack=test&sort=written&desc=1")
            .await;
        ada = page["rows"][0].clone();
        if ada["written"].as_u64() > Some(1000) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(
        (&ada["user"], &ada["transport"], &ada["queued"]),
        (&json!("ada"), &json!("websocket"), &json!(0))
    );
    assert!(
        ada["written"].as_u64() > Some(1000) && ada["read"].as_u64() > Some(50),
        "{ada}"
    );
    let one = console
        .look(&format!(
            "session?stack=test&id={}",
            ada["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        one["subscriptions"],
        json!([{"id": "news", "destination": "/topic/news"}])
    );
    let users = console.look("users?stack=test&q=ada").await;
    assert_eq!(
        users["rows"],
        json!([{"user": "ada", "sessions": 1, "destinations": ["/topic/news"]}])
    );
    let topics = console
        .look("destinations?stack=test&sort=subscriptions&desc=1")
        .await;
    assert_eq!(
        (
            &topics["rows"][0]["destination"],
            &topics["rows"][0]["subscriptions"]
        ),
        (&json!("/topic/news"), &json!(1))
    );
    let overview = console.look("overview?stack=test").await;
    assert_eq!(
        (&overview["broker"], &overview["sessions"]),
        (&json!("available"), &json!(3))
    );
    assert_eq!(
        overview["samples"].as_array().unwrap().last().unwrap()["sessions"],
        3
    );
}

#[tokio::test]
async fn refusals_are_shown_with_their_rule() {
    async fn never() -> bool {
        false
    }

    let policy = Policy::builder()
        .on_message("/topic/secret", deny())
        .on_subscribe("/topic/checked", check(never))
        .otherwise(permit());
    let server = Setup::new()
        .policy(policy)
        .builder(|builder| builder.refusals(Refusals::Notify))
        .start()
        .await;
    let console = Asked::of(&server);
    let mut client = Client::connect_as(&server, "eve").await;
    client.subscribe("errors", "/user/queue/errors").await;
    client
        .send("SEND\ndestination:/topic/secret\n\npsst\0")
        .await;
    client.expect("MESSAGE").await;
    client
        .send("SUBSCRIBE\nid:c\ndestination:/topic/checked\n\n\0")
        .await;
    client.expect("MESSAGE").await;
    client.send("SEND\ndestination:/app/panic\n\nnow\0").await;
    client.expect("MESSAGE").await;
    let seen = console.look("refusals?stack=test").await;
    let rows = seen["rows"].as_array().unwrap();
    let about = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        (text("what"), text("user"), text("rule"))
    };
    let shown: Vec<_> = rows.iter().map(about).collect();
    let expected = |what: &str, rule: &str| (what.to_owned(), "eve".to_owned(), rule.to_owned());
    assert_eq!(shown[0], expected("message rejected", "-"));
    assert_eq!(shown[1].0, "denied");
    assert!(shown[1].2.contains("/topic/checked"), "{shown:?}");
    assert!(shown[2].2.contains("/topic/secret"), "{shown:?}");
    let found = console.look("refusals?stack=test&q=checked").await;
    assert_eq!(found["count"], 1);
    let sessions = console.look("sessions?stack=test").await;
    let last = sessions["rows"][0]["trouble"].as_str().unwrap();
    assert!(
        last.starts_with("message rejected: \"/app/panic\""),
        "{last}"
    );
    client.send("NONSENSE\n\n\0").await;
    eventually("the end of the session", || {
        server.stats().sessions_open == 0
    })
    .await;
    let seen = console.look("refusals?stack=test").await;
    assert_eq!(seen["rows"][0]["what"], "protocol broken");
}

#[tokio::test]
async fn operators_close_publish_and_drain_and_the_log_has_their_names() {
    let server = Server::start().await;
    let console = Asked::of(&server);
    let (lines, _guard) = Lines::captured();
    let mut first = Client::connect_as(&server, "carl").await;
    let mut other = Client::connect_as(&server, "carl").await;
    first.subscribe("news", "/topic/news").await;
    let sent = json!({"destination": "/topic/news", "body": "hello", "content_type": "text/plain"});
    assert_eq!(console.act("publish", sent).await, json!({"receivers": 1}));
    first.expect_message("/topic/news", "hello").await;
    let nowhere = console
        .refused("publish", json!({"destination": "/nowhere"}))
        .await;
    assert!(nowhere.contains("carries no destination"), "{nowhere}");

    let sessions = console.look("sessions?stack=test&sort=read&desc=1").await;
    let id = sessions["rows"][0]["id"].clone();
    let closed = console
        .act("close-session", json!({"id": id, "reason": "enough"}))
        .await;
    assert_eq!(closed, json!({"closed": 1}));
    first.expect_close(1008, "enough").await;
    assert_eq!(
        console
            .act("close-user", json!({"user": "carl", "reason": ""}))
            .await,
        json!({"closed": 1})
    );
    other.expect_close(1008, "closed by an operator").await;
    assert_eq!(
        console.act("close-session", json!({"id": id})).await,
        json!({"closed": 0})
    );

    let mut last = Client::connect(&server).await;
    assert!(
        console
            .refused("drain", json!({"seconds": "soon"}))
            .await
            .contains("a number up to 3600")
    );
    assert_eq!(
        console.act("drain", json!({"seconds": 0})).await,
        json!({"draining": true})
    );
    last.expect_close(1012, "retry-after-ms=0..1000").await;
    assert_eq!(console.look("overview?stack=test").await["draining"], true);

    let audit: Vec<String> = lines
        .all()
        .into_iter()
        .filter(|line| line.contains("tramline::audit"))
        .collect();
    for (line, parts) in audit.iter().zip([
        ["act=\"publish\"", "5 bytes to \"/topic/news\""],
        ["act=\"publish\"", "0 bytes to \"/nowhere\""],
        ["act=\"close-session\"", "reason \"enough\""],
        ["act=\"close-user\"", "user \"carl\""],
        ["act=\"close-session\"", "session "],
        ["act=\"drain\"", "over 0 s"],
    ]) {
        assert!(
            line.contains("operator=ada") && parts.iter().all(|part| line.contains(part)),
            "{line}"
        );
    }
    assert_eq!(audit.len(), 6, "{audit:#?}");
}

#[tokio::test]
async fn a_queue_is_looked_into_and_its_dead_letters_go_back() {
    let settings = QueueSettings::default().dead_letters("/queue/dead");
    let broker = broker().queue_settings("/queue/orders", settings);
    let server = Setup::open_to_all(broker).start().await;
    let console = Asked::of(&server);
    let publisher = server.messaging().publisher();
    publisher.send("/queue/orders", "poison").await.unwrap();
    publisher.send("/queue/dead", "of nowhere").await.unwrap();
    let orders = json!({"destination": "/queue/orders"});
    let dead = json!({"destination": "/queue/dead"});
    let bodies = |seen: Value| -> Vec<String> {
        let messages = seen["messages"].as_array().unwrap().iter();
        messages
            .map(|message| message["body"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        bodies(console.act("peek", orders.clone()).await),
        ["poison"]
    );
    let topic = console
        .refused("peek", json!({"destination": "/topic/a"}))
        .await;
    assert!(topic.contains("no queue"), "{topic}");

    let mut client = Client::connect(&server).await;
    let subscribe = "SUBSCRIBE\nid:o\nack:client-individual\ndestination:/queue/orders\n\n\0";
    client.send(subscribe).await;
    let message = client.expect("MESSAGE").await;
    assert_eq!(message.text(), "poison");
    client
        .send(&answer(Version::V1_2, "NACK", &message, "requeue:false\n"))
        .await;
    let depth = || {
        let seen = server
            .messaging()
            .broker_statistics("/queue/dead", 1)
            .unwrap();
        seen.selected[0].depth
    };
    eventually("a dead letter", || depth() == 2).await;
    assert_eq!(
        console.act("return-dead-letters", dead.clone()).await,
        json!({"moved": 1})
    );
    let again = client.expect("MESSAGE").await;
    assert_eq!(
        (again.text(), again.headers.get("dead-letter-reason")),
        ("poison", None)
    );
    // What came from nowhere stays, and so it does when there is nothing else.
    eventually("the rest is back", || depth() == 1).await;
    assert_eq!(
        bodies(console.act("peek", dead.clone()).await),
        ["of nowhere"]
    );
    assert_eq!(
        console.act("return-dead-letters", orders).await,
        json!({"moved": 0})
    );
}

#[tokio::test]
async fn a_trace_shows_frames_as_they_pass_without_secrets() {
    let server = Server::start().await;
    let console = Asked::of(&server);
    let mut client = Client::subscribed(&server, ["/topic/echo"]).await;
    let sessions = console.look("sessions?stack=test").await;
    let id = &sessions["rows"][0]["id"];
    let of_session = console.act("trace", json!({ "id": id })).await["trace"].clone();
    let of_topic = console
        .act("trace", json!({"destination": "/topic/echo"}))
        .await["trace"]
        .clone();
    let body = "x".repeat(2000);
    client
        .send(&format!("SEND\ndestination:/app/echo\nreceipt:1\nauthorization:Bearer abc\nmy-token:t\ncolour:red\n\n{body}\0"))
        .await;
    for _ in 0..2 {
        client.expect_any().await;
    }
    let read = async |trace: &Value, after: u64| {
        console
            .act("traced", json!({"trace": trace, "after": after}))
            .await
    };
    let mut seen = Value::Null;
    for _ in 0..1000 {
        seen = read(&of_session, 0).await;
        if seen["frames"].as_array().unwrap().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let frames = seen["frames"].as_array().unwrap();
    let mut commands: Vec<&str> = frames
        .iter()
        .map(|frame| frame["command"].as_str().unwrap())
        .collect();
    assert_eq!(commands[0], "SEND");
    commands.sort_unstable();
    assert_eq!(commands, ["MESSAGE", "RECEIPT", "SEND"]);
    let sent = frames[0].to_string();
    assert!(!sent.contains("abc") && !sent.contains("\"t\""), "{sent}");
    let headers = frames[0]["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["colour", "red"])), "{sent}");
    assert!(
        headers.contains(&json!(["authorization", "(hidden)"])),
        "{sent}"
    );
    assert_eq!(
        (
            frames[0]["body_bytes"].as_u64(),
            frames[0]["body"].as_str().unwrap().chars().count()
        ),
        (Some(2000), 513)
    );
    assert_eq!(read(&of_session, 3).await["frames"], json!([]));
    let of_topic_seen = read(&of_topic, 0).await;
    assert_eq!(
        of_topic_seen["frames"].as_array().unwrap().len(),
        1,
        "{of_topic_seen}"
    );
    assert_eq!(of_topic_seen["frames"][0]["command"], "MESSAGE");

    for _ in 0..2 {
        console.act("trace", json!({ "id": id })).await;
    }
    assert!(
        console
            .refused("trace", json!({ "id": id }))
            .await
            .contains("4 traces run already")
    );
    assert_eq!(
        console.act("end-trace", json!({"trace": of_session})).await,
        json!({"ended": true})
    );
    assert_eq!(
        console
            .refused("traced", json!({"trace": of_session}))
            .await,
        "the trace has ended"
    );
    assert!(
        console
            .refused("trace", json!({"id": "nonsense"}))
            .await
            .contains("is no session's id")
    );
}
