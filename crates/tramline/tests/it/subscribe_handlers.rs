//! Handlers that answer SUBSCRIBE.

use tramline::broker::Destination;
use tramline::extract::Headers;
use tramline::policy::{Policy, permit, role};
use tramline::reply::IntoEffects;
use tramline::{Inbound, Json, MessageRouter, Path, Rejection, To, subscribe};

use crate::support::{
    Client, Door, ERRORS, Faults, FrameExt, Log, Request, Setup, Tcp, eventually,
};

async fn room(Path(room): Path<u32>, destination: Destination) -> Json<(u32, String)> {
    Json((room, destination.to_string()))
}

fn rooms(routes: MessageRouter) -> MessageRouter {
    routes.route("/rooms/{room}", subscribe(room))
}

#[tokio::test]
async fn the_answer_goes_to_this_subscription_alone() {
    let server = Setup::new().routes(rooms).start().await;
    let mut same_session = Client::connect_as(&server, "alice").await;
    let mut same_user = Client::connect_as(&server, "alice").await;
    for client in [&mut same_session, &mut same_user] {
        client.subscribe("0", "/app/rooms/7").await;
        let answer = client.expect("MESSAGE").await;
        answer
            .has("destination", "/app/rooms/7")
            .has("subscription", "0")
            .has("content-type", "application/json");
        assert_eq!(answer.text(), r#"[7,"/app/rooms/7"]"#);
        assert!(answer.headers.get("message-id").is_some());
    }
    same_session.subscribe("1", "/app/rooms/7").await;
    let again = same_session.expect("MESSAGE").await;
    again.has("subscription", "1");
    same_session.expect_nothing(&server).await;
    same_user.expect_nothing(&server).await;
    assert_eq!(server.receivers("/topic/rooms/7").await, 0);
}

#[tokio::test]
async fn message_ids_of_answers_differ() {
    let server = Setup::new().routes(rooms).start().await;
    let mut client = Client::connect(&server).await;
    let mut ids = std::collections::HashSet::new();
    for number in 0..20 {
        client.subscribe(&number.to_string(), "/app/rooms/1").await;
        let answer = client.expect("MESSAGE").await;
        ids.insert(answer.headers.get("message-id").unwrap().to_owned());
    }
    assert_eq!(ids.len(), 20);
}

/// The receipt says that the handler has returned: not before.
#[tokio::test]
async fn the_receipt_comes_when_the_handler_has_returned() {
    let door = Door::new();
    let at_door = door.clone();
    let server = Setup::new()
        .routes(|routes| {
            let slow = move || {
                let door = at_door.clone();
                async move {
                    door.pass().await;
                    "answer"
                }
            };
            routes.route("/slow-answer", subscribe(slow))
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/news"]).await;
    client
        .send("SUBSCRIBE\nid:a\ndestination:/app/slow-answer\nreceipt:r\n\n\0")
        .await;
    door.came(1).await;
    let publisher = server.messaging().publisher();
    publisher.send("/topic/news", "meanwhile").await.unwrap();
    client.expect_message("/topic/news", "meanwhile").await;
    door.let_in(1);
    let (answer, receipt) = client.message_and_receipt().await;
    answer.has("subscription", "a");
    receipt.has("receipt-id", "r");
}

#[tokio::test]
async fn a_subscription_is_there_until_its_client_ends_it() {
    let server = Setup::new().routes(rooms).start().await;
    let mut client = Client::connect_as(&server, "alice").await;
    client.subscribe("0", "/app/rooms/7").await;
    client.expect("MESSAGE").await;
    let registry = server.messaging().registry();
    let held = registry.subscriptions("/app/rooms/7");
    assert_eq!(held.len(), 1);
    assert_eq!((&*held[0].id, &*held[0].destination), ("0", "/app/rooms/7"));
    client.send("UNSUBSCRIBE\nid:0\nreceipt:gone\n\n\0").await;
    client.expect("RECEIPT").await.has("receipt-id", "gone");
    assert_eq!(registry.subscriptions("/app/rooms/7").len(), 0);
    // Its id is free again.
    client.subscribe("0", "/app/rooms/8").await;
    client
        .expect_message("/app/rooms/8", r#"[8,"/app/rooms/8"]"#)
        .await;
}

/// The answer to who has left already goes to nobody, its place being taken or not.
#[tokio::test]
async fn an_answer_that_comes_after_unsubscribe_is_dropped() {
    let door = Door::new();
    let at_door = door.clone();
    let server = Setup::new()
        .routes(|routes| {
            let slow = move |Path(room): Path<u32>| {
                let door = at_door.clone();
                async move {
                    if room == 1 {
                        door.pass().await;
                    }
                    room.to_string()
                }
            };
            routes.route("/beside/{room}", subscribe(slow).concurrent(2))
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    client
        .send("SUBSCRIBE\nid:a\ndestination:/app/beside/1\nreceipt:first\n\n\0")
        .await;
    door.came(1).await;
    client.send("UNSUBSCRIBE\nid:a\nreceipt:gone\n\n\0").await;
    client.expect("RECEIPT").await.has("receipt-id", "gone");
    client
        .send("SUBSCRIBE\nid:a\ndestination:/app/beside/2\nreceipt:second\n\n\0")
        .await;
    let (answer, receipt) = client.message_and_receipt().await;
    receipt.has("receipt-id", "second");
    assert_eq!(answer.text(), "2");
    door.let_in(1);
    client.expect("RECEIPT").await.has("receipt-id", "first");
    client.expect_nothing(&server).await;
}

#[tokio::test]
async fn what_a_handler_may_return() {
    async fn nothing() {}
    async fn none() -> Option<String> {
        None
    }
    async fn refused() -> Result<String, Rejection> {
        Err(Rejection::application("not now"))
    }
    struct ToTopic;
    impl IntoEffects for ToTopic {
        fn into_effects(self, effects: &mut tramline::reply::Effects) {
            To::topic("/topic/moderation", "somebody asked").into_effects(effects);
        }
    }
    async fn own() -> Result<String, ToTopic> {
        Err(ToTopic)
    }
    async fn panics() -> String {
        panic!("a subscribe handler was asked to panic")
    }
    async fn unreadable(Path(number): Path<u32>) -> String {
        number.to_string()
    }
    async fn unwritable() -> Json<std::collections::BTreeMap<Vec<u8>, u8>> {
        Json([(vec![1], 1)].into())
    }
    let faults = Faults::collect();
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/nothing", subscribe(nothing))
                .route("/none", subscribe(none))
                .route("/refused", subscribe(refused))
                .route("/own", subscribe(own))
                .route("/panics", subscribe(panics))
                .route("/unreadable/{number}", subscribe(unreadable))
                .route("/unwritable", subscribe(unwritable))
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, [ERRORS, "/topic/moderation"]).await;
    client.subscribe("nothing", "/app/nothing").await;
    client.subscribe("none", "/app/none").await;
    client.expect_nothing(&server).await;
    for (id, destination, kind, error) in [
        ("a", "/app/refused", "application", "not now"),
        (
            "b",
            "/app/panics",
            "handler-panicked",
            "the server failed to handle this message",
        ),
        (
            "c",
            "/app/unreadable/x",
            "bad-message",
            r#"{number} is "x": invalid digit found in string"#,
        ),
    ] {
        client.subscribe(id, destination).await;
        let rejection = client.expect_rejection(kind).await;
        assert_eq!(rejection["error"], error);
        assert_eq!(rejection["destination"], destination);
    }
    let unwritable = "/app/unwritable";
    client.subscribe("d", unwritable).await;
    faults
        .expect(&mut client, "bad-reply", unwritable, "key must be a string")
        .await;
    client.subscribe("own", "/app/own").await;
    client
        .expect_message("/topic/moderation", "somebody asked")
        .await;
    client.expect_nothing(&server).await;
    assert_eq!(server.stats().rejected, 4);
}

/// Where it is said where to, the answer goes there, and the subscription gets none.
#[tokio::test]
async fn an_answer_may_go_elsewhere() {
    let server = Setup::new()
        .routes(|routes| {
            let elsewhere = subscribe(room)
                .send_to("/topic/rooms/{room}")
                .send_to_session("/queue/mine");
            routes.route("/rooms/{room}", elsewhere)
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/**", "/user/queue/mine"]).await;
    client.subscribe("asked", "/app/rooms/7").await;
    let body = r#"[7,"/app/rooms/7"]"#;
    client.expect_message("/topic/rooms/7", body).await;
    client.expect_message("/user/queue/mine", body).await;
    client.expect_nothing(&server).await;
}

#[tokio::test]
async fn what_cannot_be_subscribed_to() {
    let server = Setup::new()
        .routes(|routes| rooms(routes).route("/{*all}", subscribe(async || "all")))
        .start()
        .await;
    let at = |destination: &str| format!("nothing can be subscribed to at {destination:?}: ");
    const PATTERN: &str = "a handler answers for one destination, and this is a pattern";
    const ACK: &str = "a handler's answer needs no acknowledgement; subscribe with `ack:auto`";
    for (destination, ack, why) in [
        ("/app/rooms/*", "auto", PATTERN),
        ("/app/rooms/?", "auto", PATTERN),
        ("/app/**", "auto", PATTERN),
        ("/app/rooms/7", "client", ACK),
        ("/app/rooms/7", "client-individual", ACK),
    ] {
        let mut client = Client::connect(&server).await;
        client
            .send(&format!(
                "SUBSCRIBE\nid:0\ndestination:{destination}\nack:{ack}\nreceipt:r\n\n\0"
            ))
            .await;
        let detail = at(destination) + why;
        let error = client.expect_error("subscription refused", &detail).await;
        error.has("receipt-id", "r");
    }
    assert_eq!(server.stats().rejected, 5);
    server.serves().await;
}

#[tokio::test]
async fn without_a_handler_a_subscription_is_refused() {
    let server = Setup::new().routes(rooms).start().await;
    for destination in ["/app/hello", "/app/rooms", "/app/rooms/7/"] {
        let mut client = Client::connect(&server).await;
        client
            .send(&format!("SUBSCRIBE\nid:0\ndestination:{destination}\n\n\0"))
            .await;
        let detail = format!(
            "nothing can be subscribed to at {destination:?}: no handler answers subscriptions there"
        );
        client.expect_error("subscription refused", &detail).await;
    }
}

/// Who may not subscribe there does not learn whether there is a handler, and none runs.
#[tokio::test]
async fn the_policy_is_asked_first() {
    let log = Log::default();
    let noted = log.clone();
    let server = Setup::new()
        .policy(
            Policy::builder()
                .on_connect(permit())
                .on_subscribe("/app/**", role("admin"))
                .otherwise(role("operator")),
        )
        .routes(|routes| {
            let noted = move |message: Inbound| {
                noted.add(message.destination());
                async { "answer" }
            };
            routes.route("/noted", subscribe(noted))
        })
        .start()
        .await;
    for destination in ["/app/noted", "/app/nothing"] {
        let mut client = Client::connect_as(&server, "bob").await;
        client
            .send(&format!("SUBSCRIBE\nid:0\ndestination:{destination}\n\n\0"))
            .await;
        let detail = format!(
            "SUBSCRIBE to {destination:?} is denied to user \"bob\" by this server's policy"
        );
        client.expect_error("access denied", &detail).await;
    }
    assert_eq!((server.stats().denied, log.lines().len()), (2, 0));
    let mut admin = Client::connect_as(&server, "ann:admin").await;
    admin.subscribe("0", "/app/noted").await;
    admin.expect_message("/app/noted", "answer").await;
}

#[tokio::test]
async fn the_handler_sees_the_subscribes_headers() {
    async fn since(headers: Headers) -> String {
        headers.get("since").unwrap_or("ever").to_owned()
    }
    let server = Setup::new()
        .routes(|routes| routes.route("/since", subscribe(since)))
        .start()
        .await;
    let mut client = Tcp::connect(&server).await;
    client
        .send("SUBSCRIBE\nid:0\ndestination:/app/since\nsince:yesterday\n\n\0")
        .await;
    client.expect_message("/app/since", "yesterday").await;
}

/// Whoever is gone is subscribed to nothing any more, so its SUBSCRIBE asks no handler; its SENDs are handled.
#[tokio::test]
async fn a_subscribe_of_who_is_gone_is_not_answered() {
    let log = Log::default();
    let noted = log.clone();
    let server = Setup::new()
        .routes(|routes| {
            let noted = move || {
                noted.add("asked");
                async { "answer" }
            };
            routes.route("/noted", subscribe(noted))
        })
        .start()
        .await;
    let mut client = Request::upgrade("/ws")
        .by_user("alice")
        .open(&server)
        .await
        .connected()
        .await;
    let frames = [
        "SEND\ndestination:/app/slow\n\none\0",
        "SUBSCRIBE\nid:0\ndestination:/app/noted\n\n\0",
        "SEND\ndestination:/app/log\n\ntwo\0",
    ];
    client.subscribe("here", "/topic/here").await;
    client.send(&frames.concat()).await;
    server.gate.started(1).await;
    client.close(1000, "").await;
    let registry = server.messaging().registry();
    let left = || registry.subscriptions("/topic/here").is_empty();
    eventually("the close is read", left).await;
    server.gate.release();
    client.expect_close(1000, "").await;
    let gate = server.gate.clone();
    eventually("the sends are handled", move || {
        gate.log() == ["slow one", "two"]
    })
    .await;
    assert_eq!(log.lines().len(), 0);
    eventually("nobody is there", move || registry.user_count() == 0).await;
}
