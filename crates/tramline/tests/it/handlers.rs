//! Handlers: what reaches them, what they answer, and what happens when they cannot.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tramline::extract::Extension;
use tramline::login::Handshake;
use tramline::{Inbound, MessagingBuilder, User, message};

use crate::support::{Client, FrameExt, Request, SHORT, Server, Setup, eventually};

const ERRORS: &str = "/user/queue/errors";

/// The next message at `/user/queue/errors`.
async fn rejection(client: &mut Client) -> Value {
    let message = client.expect("MESSAGE").await;
    message
        .has("destination", ERRORS)
        .has("content-type", "application/json");
    serde_json::from_slice(&message.body).unwrap()
}

#[tokio::test]
async fn json_goes_in_and_out() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/orders"]).await;
    client
        .send("SEND\ndestination:/app/order\n\n{\"quantity\":3,\"item\":\"tea\",\"more\":null}\0")
        .await;
    let message = client
        .expect_message("/topic/orders", r#"{"item":"tea","quantity":3}"#)
        .await;
    message
        .has("content-type", "application/json")
        .has("subscription", "0");
    let stats = server.stats();
    assert_eq!(
        (stats.messages_received, stats.messages_sent, stats.rejected),
        (1, 1, 0)
    );
}

/// The message is at fault, not the session: it hears what was wrong, has its receipt, and goes on.
#[tokio::test]
async fn json_that_does_not_fit() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, [ERRORS, "/topic/orders"]).await;
    for (number, (body, error)) in [
        (
            "{\"quantity\":\"three\",\"item\":\"tea\"}",
            "invalid type: string \"three\", expected u32 at line 1 column 19",
        ),
        (
            "{\"item\":\"tea\"}",
            "missing field `quantity` at line 1 column 14",
        ),
        ("{\"item\":", "EOF while parsing a value at line 1 column 8"),
        ("", "EOF while parsing a value at line 1 column 0"),
        (
            "\u{feff}{}",
            "it begins with a byte order mark (EF BB BF), which JSON has not; expected value at line 1 column 1",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        client
            .send(&format!(
                "SEND\ndestination:/app/order\nreceipt:{number}\n\n{body}\0"
            ))
            .await;
        // The receipt is the machine's and the message the outbox's, so either may come first.
        let mut got = [client.expect_any().await.0, client.expect_any().await.0];
        got.sort_by_key(|frame| frame.command.as_str());
        let [message, receipt] = got;
        receipt.has("receipt-id", &*number.to_string());
        message.has("destination", ERRORS);
        let expected = json!({
            "kind": "bad-message",
            "error": format!("the body is not the JSON this destination takes: {error}"),
            "destination": "/app/order",
        });
        assert_eq!(
            serde_json::from_slice::<Value>(&message.body).unwrap(),
            expected
        );
    }
    assert_eq!(server.stats().rejected, 5);
    client
        .send("SEND\ndestination:/app/order\n\n{\"quantity\":3,\"item\":\"tea\"}\0")
        .await;
    client
        .expect_message("/topic/orders", r#"{"item":"tea","quantity":3}"#)
        .await;
    server.serves().await;
}

/// Only the session that sent it hears of it, and who does not listen is not disturbed.
#[tokio::test]
async fn rejections_are_private() {
    let server = Server::start().await;
    let mut same_user = Client::connect_as(&server, "alice").await;
    same_user.subscribe("0", ERRORS).await;
    let mut deaf = Client::connect_as(&server, "alice").await;
    deaf.send("SEND\ndestination:/app/order\nreceipt:1\n\nnot json\0")
        .await;
    deaf.expect("RECEIPT").await.has("receipt-id", "1");
    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("mine", ERRORS).await;
    alice
        .send("SEND\ndestination:/app/order\n\nnot json\0")
        .await;
    assert_eq!(rejection(&mut alice).await["kind"], "bad-message");
    same_user.send("SEND\ndestination:/app/nothing\n\n\0").await;
    assert_eq!(
        rejection(&mut same_user).await["kind"],
        "no-route",
        "its own comes first"
    );
}

#[tokio::test]
async fn text_that_is_not_utf8() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    client
        .send_binary(b"SEND\ndestination:/app/hello\n\n\xff\0")
        .await;
    let expected = json!({
        "kind": "bad-message",
        "error": "the body is not text in UTF-8: invalid utf-8 sequence of 1 bytes from index 0",
        "destination": "/app/hello",
    });
    assert_eq!(rejection(&mut client).await, expected);
    server.serves().await;
}

#[tokio::test]
async fn no_route() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    for destination in ["/app/nothing", "/app/hello/", "/app/rooms/7", "/app//hello"] {
        client
            .send(&format!("SEND\ndestination:{destination}\n\nx\0"))
            .await;
        let expected = json!({
            "kind": "no-route",
            "error": "no handler takes messages for this destination",
            "destination": destination,
        });
        assert_eq!(rejection(&mut client).await, expected);
    }
    assert_eq!(server.stats().rejected, 4);
    server.serves().await;
}

#[tokio::test]
async fn a_handler_that_panics() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, [ERRORS, "/topic/greetings"]).await;
    client
        .send("SEND\ndestination:/app/panic\n\nsecret\0")
        .await;
    let expected = json!({
        "kind": "handler-panicked",
        "error": "the server failed to handle this message",
        "destination": "/app/panic",
    });
    assert_eq!(rejection(&mut client).await, expected);
    client
        .send("SEND\ndestination:/app/panic\nreceipt:1\n\nagain\0")
        .await;
    let mut commands = [client.expect_any().await, client.expect_any().await]
        .map(|(frame, _)| frame.command.as_str());
    commands.sort_unstable();
    assert_eq!(commands, ["MESSAGE", "RECEIPT"]);
    let stats = server.stats();
    assert_eq!((stats.handler_panics, stats.rejected), (2, 2));
    client
        .send("SEND\ndestination:/app/hello\n\nsurvivor\0")
        .await;
    client
        .expect_message("/topic/greetings", "Hello, survivor!")
        .await;
    server.serves().await;
}

#[tokio::test]
async fn a_handler_for_users_only() {
    let server = Server::start().await;
    let mut nobody = Client::subscribed(&server, [ERRORS, "/topic/who"]).await;
    nobody.send("SEND\ndestination:/app/members\n\n\0").await;
    let expected = json!({
        "kind": "anonymous",
        "error": "this destination takes messages of users only",
        "destination": "/app/members",
    });
    assert_eq!(rejection(&mut nobody).await, expected);
    nobody.send("SEND\ndestination:/app/who\n\n\0").await;
    nobody.expect_message("/topic/who", "nobody").await;
    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("0", "/topic/members").await;
    alice.send("SEND\ndestination:/app/members\n\n\0").await;
    alice.expect_message("/topic/members", "member alice").await;
}

#[tokio::test]
async fn captures_reach_handler_and_reply_destination() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/rooms/7", "/topic/rooms/8"]).await;
    for room in ["8", "7"] {
        client
            .send(&format!("SEND\ndestination:/app/rooms/{room}/say\n\nhi\0"))
            .await;
        client
            .expect_message(&format!("/topic/rooms/{room}"), &format!("[{room}] hi"))
            .await;
    }
}

#[tokio::test]
async fn captures_that_do_not_parse() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, [ERRORS, "/topic/**"]).await;
    for (room, error) in [
        ("x", r#"{room} is "x": invalid digit found in string"#),
        ("-1", r#"{room} is "-1": invalid digit found in string"#),
        (
            "4294967296",
            r#"{room} is "4294967296": number too large to fit in target type"#,
        ),
    ] {
        let destination = format!("/app/rooms/{room}/say");
        client
            .send(&format!("SEND\ndestination:{destination}\n\nhi\0"))
            .await;
        let expected = json!({"kind": "bad-message", "error": error, "destination": destination});
        assert_eq!(rejection(&mut client).await, expected);
    }
    assert_eq!(server.stats().rejected, 3);
    server.serves().await;
}

/// A capture cannot make a reply go to many places.
#[tokio::test]
async fn a_capture_with_a_wildcard_makes_no_reply_destination() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, [ERRORS, "/topic/tags/*"]).await;
    for tag in ["*", "a?", "**"] {
        client
            .send(&format!("SEND\ndestination:/app/tags/{tag}\n\n\0"))
            .await;
        let rejection = rejection(&mut client).await;
        assert_eq!(rejection["kind"], "bad-message");
        let error = rejection["error"].as_str().unwrap();
        assert!(error.contains(&format!("\"/topic/tags/{tag}\"")), "{error}");
    }
    client.send("SEND\ndestination:/app/tags/rust\n\n\0").await;
    client.expect_message("/topic/tags/rust", "rust").await;
}

/// The application's fault, and still the client hears that its message came to nothing.
#[tokio::test]
async fn a_reply_that_the_broker_does_not_take() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    client
        .send("SEND\ndestination:/app/lost\nreceipt:1\n\n\0")
        .await;
    server
        .counted("the rejection is counted", |stats| stats.rejected == 1)
        .await;
    let mut got = [client.expect_any().await.0, client.expect_any().await.0];
    got.sort_by_key(|frame| frame.command.as_str());
    let [message, receipt] = got;
    receipt.has("receipt-id", "1");
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(body["kind"], "bad-reply");
    assert_eq!(body["destination"], "/app/lost");
}

#[tokio::test]
async fn handlers_see_all_headers() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/headers"]).await;
    client
        .send("SEND\ndestination:/app/headers\nx:1\nx:2\nreceipt:r\nline\\c:a\\nb\n\n\0")
        .await;
    let (mut message, mut other) = (client.expect_any().await.0, client.expect_any().await.0);
    if message.command.as_str() == "RECEIPT" {
        std::mem::swap(&mut message, &mut other);
    }
    let expected =
        r#"[["destination","/app/headers"],["x","1"],["x","2"],["receipt","r"],["line:","a\nb"]]"#;
    assert_eq!(message.text(), expected);
}

#[tokio::test]
async fn handlers_see_what_is_kept_of_the_handshake() {
    let server = Server::start().await;
    let own = format!("http://{}", server.address);
    let request = Request::upgrade("/ws")
        .with("Origin", &own)
        .with("x-tenant", "acme")
        .with("x-secret", "dropped");
    let mut client = request.open(&server).await;
    client.send("CONNECT\naccept-version:1.2\n\n\0").await;
    client.expect("CONNECTED").await;
    client.subscribe("0", "/topic/handshake").await;
    client.send("SEND\ndestination:/app/handshake\n\n\0").await;
    let message = client.expect("MESSAGE").await;
    let expected = json!({"origin": own, "tenant": "acme", "secret": null, "remote": "127.0.0.1"});
    assert_eq!(
        serde_json::from_slice::<Value>(&message.body).unwrap(),
        expected
    );
}

/// Over WebSocket and SockJS: the query, and what a middleware left, if the stack keeps its type.
#[tokio::test]
async fn what_a_middleware_left_reaches_handlers() {
    async fn facts(
        handshake: Handshake,
        Extension(peer): Extension<SocketAddr>,
        user: Option<Extension<User>>,
        message: Inbound,
    ) -> String {
        assert_eq!(handshake.extension(), Some(&peer));
        format!(
            "{peer} {:?} {} {:?}",
            handshake.query(),
            user.is_some(),
            message.kind()
        )
    }
    let server = Setup::new()
        .builder(MessagingBuilder::keep_extension::<SocketAddr>)
        .routes(|routes| {
            let facts = message(facts).send_to("/topic/facts").subscribe(facts);
            routes.route("/facts", facts)
        })
        .start()
        .await;
    for path in ["/ws", "/sockjs/websocket"] {
        let request = Request::upgrade(&format!("{path}?room=7&token=secret"))
            .by_user("alice")
            .with("x-peer", "10.0.0.1:9");
        let mut client = request.open(&server).await.connected().await;
        client.subscribe("0", "/topic/facts").await;
        client.post("/app/facts", "").await;
        let facts = "10.0.0.1:9 Some(\"room=7&token=secret\") false";
        client
            .expect_message("/topic/facts", &format!("{facts} Message"))
            .await;
        client.subscribe("1", "/app/facts").await;
        client
            .expect_message("/app/facts", &format!("{facts} Subscribe"))
            .await;
    }
    // The log of a session has no tokens.
    let sessions = server.messaging().registry().sessions();
    assert!(!sessions.is_empty());
    for session in sessions {
        let shown = format!("{session:?}");
        assert!(
            shown.contains("path") && !shown.contains("secret"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn messages_of_a_session_are_handled_in_order() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let (mut all, mut expected) = (String::new(), Vec::new());
    for number in 0..200 {
        all += &format!("SEND\ndestination:/app/log\n\n{number}\0");
        expected.push(number.to_string());
    }
    // Cut anywhere, and in both kinds of pieces.
    for piece in all.as_bytes().chunks(997) {
        client.send_binary(piece).await;
    }
    client
        .send("SEND\ndestination:/app/log\nreceipt:done\n\nend\0")
        .await;
    expected.push("end".into());
    client.expect("RECEIPT").await;
    assert_eq!(server.gate.log(), expected);
}

/// Sends to handlers and to the broker are one sequence.
#[tokio::test]
async fn effects_of_a_session_keep_the_order_of_its_frames() {
    let server = Server::start().await;
    let mut listener = Client::subscribed(&server, ["/topic/**"]).await;
    let mut client = Client::connect(&server).await;
    let mut frames = String::new();
    for number in 0..20 {
        frames += &format!("SEND\ndestination:/topic/open/a\n\nbefore {number}\0");
        frames += &format!("SEND\ndestination:/app/hello\n\n{number}\0");
        frames += &format!("SEND\ndestination:/topic/open/b\n\nafter {number}\0");
    }
    client.send(&frames).await;
    for number in 0..20 {
        listener
            .expect_message("/topic/open/a", &format!("before {number}"))
            .await;
        listener
            .expect_message("/topic/greetings", &format!("Hello, {number}!"))
            .await;
        listener
            .expect_message("/topic/open/b", &format!("after {number}"))
            .await;
    }
}

#[tokio::test]
async fn while_a_handler_runs_deliveries_pongs_and_other_sessions_go_on() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/news", "/topic/slow"]).await;
    client
        .send("SEND\ndestination:/app/slow\nreceipt:1\n\none\0")
        .await;
    server.gate.started(1).await;
    let publisher = server.messaging().publisher();
    for number in 0..10 {
        let news = format!("news {number}");
        publisher.send("/topic/news", news.clone()).await.unwrap();
        client.expect_message("/topic/news", &news).await;
    }
    client.ping(b"still there?").await;
    client.expect_pong(b"still there?").await;
    server.serves().await;
    // What follows waits its turn.
    client
        .send("SEND\ndestination:/app/log\nreceipt:2\n\ntwo\0")
        .await;
    client.ping(b"read that?").await;
    client.expect_pong(b"read that?").await;
    assert!(server.gate.log().is_empty());
    server.gate.release();
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(client.expect_any().await.0.command.as_str());
    }
    got.sort_unstable();
    assert_eq!(got, ["MESSAGE", "RECEIPT", "RECEIPT"]);
    assert_eq!(server.gate.log(), ["slow one", "two"]);
}

/// The server reads little while a handler runs, so the client's silence is not held against it; its own heart-beats
/// go out.
#[tokio::test]
async fn while_a_handler_runs_heart_beats_go_on_and_the_clients_are_not_missed() {
    let server = Setup::new()
        .limits(|limits| {
            limits.heart_beat_silence = std::time::Duration::ZERO;
            limits.heart_beat.send = 100;
            limits.heart_beat.receive = 100;
        })
        .start()
        .await;
    let mut client = Client::open(&server).await;
    client
        .send("CONNECT\naccept-version:1.2\nheart-beat:100,100\n\n\0")
        .await;
    client.expect("CONNECTED").await;
    client
        .send("SEND\ndestination:/app/slow\nreceipt:1\n\nx\0")
        .await;
    server.gate.started(1).await;
    let start = std::time::Instant::now();
    while start.elapsed() < 2 * SHORT {
        client.expect_heart_beat().await;
    }
    server.gate.release();
    client.expect("RECEIPT").await.has("receipt-id", "1");
    assert_eq!(server.stats().timeouts, 0);
}

/// `stompjs` ends its WebSocket right behind DISCONNECT, so `send("/app/leave"); disconnect()` looks like this.
#[tokio::test]
async fn what_came_before_a_goodbye_is_handled_to_its_end() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let frames = [
        "SEND\ndestination:/app/slow\n\none\0",
        "SEND\ndestination:/app/log\n\ntwo\0",
        "DISCONNECT\n\n\0",
    ];
    client.send(&frames.concat()).await;
    client.close(1000, "").await;
    server.gate.started(1).await;
    server.gate.release();
    let gate = server.gate.clone();
    eventually("both are handled", move || {
        gate.log() == ["slow one", "two"]
    })
    .await;
}

/// A thousand frames behind a running handler do not pile up in the server's memory.
#[tokio::test]
async fn while_a_handler_runs_little_is_read() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.send("SEND\ndestination:/app/slow\n\nx\0").await;
    server.gate.started(1).await;
    let frame = format!("SEND\ndestination:/app/log\n\n{}\0", "x".repeat(60_000));
    let most = 64 * 1024 * 1024;
    let taken = client.flood(&frame, most, SHORT).await;
    assert!(taken < most, "the server took all of {taken} bytes");
    server.gate.release();
    drop(client);
    server.serves().await;
}
