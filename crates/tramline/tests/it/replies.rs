//! Replies: where they go, what they carry, and what becomes of errors.

use serde_json::json;
use tramline::extract::{FromHeader, Header};
use tramline::reply::{Effects, IntoEffects, IntoReply, Payload};
use tramline::{Bytes, Json, MessageRouter, Rejection, To, ToUser, User, message, subscribe};

use crate::support::{Client, ERRORS, Faults, FrameExt, Request, Server, Setup};

async fn echo(body: String) -> String {
    body
}

/// A session of `user` that hears `/user/queue/mine` and of rejections.
async fn listener(server: &Server, user: Option<&str>) -> Client {
    let mut client = match user {
        Some(user) => Client::connect_as(server, user).await,
        None => Client::connect(server).await,
    };
    client.subscribe("mine", "/user/queue/mine").await;
    client.subscribe("errors", ERRORS).await;
    client
}

#[tokio::test]
async fn one_reply_can_go_to_many_places() {
    let server = Setup::new()
        .routes(|routes| {
            let everywhere = message(echo)
                .send_to("/topic/all")
                .send_to("/topic/rooms/{room}")
                .send_to_user("/queue/mine/{room}")
                .send_to_session("/queue/mine")
                .send_to("/topic/all");
            routes.route("/everywhere/{room}", everywhere)
        })
        .start()
        .await;
    let mut client = listener(&server, Some("alice")).await;
    client.subscribe("topics", "/topic/**").await;
    client.subscribe("room", "/user/queue/mine/7").await;
    let mut other = listener(&server, Some("alice")).await;
    other.subscribe("room", "/user/queue/mine/7").await;
    client.post("/app/everywhere/7", "hi").await;
    for reply in [
        "/topic/all",
        "/topic/rooms/7",
        "/user/queue/mine/7",
        "/user/queue/mine",
        "/topic/all",
    ] {
        client.expect_message(reply, "hi").await;
    }
    other.expect_message("/user/queue/mine/7", "hi").await;
    other.expect_nothing(&server).await;
}

fn three_ways(routes: MessageRouter) -> MessageRouter {
    async fn all(body: String) -> ToUser<String> {
        ToUser::all("/queue/mine", body)
    }
    async fn session(body: String) -> ToUser<String> {
        ToUser::session("/queue/mine", body)
    }
    routes
        .route("/all", message(all))
        .route("/session", message(session))
        .route("/to-user", message(echo).send_to_user("/queue/mine"))
        .route("/to-session", message(echo).send_to_session("/queue/mine"))
}

#[tokio::test]
async fn a_users_reply_reaches_all_its_sessions_and_a_sessions_only_that() {
    let server = Setup::new().routes(three_ways).start().await;
    let mut sender = listener(&server, Some("alice")).await;
    let mut same = listener(&server, Some("alice")).await;
    let mut bob = listener(&server, Some("bob")).await;
    for (sent, everywhere) in [
        ("/app/all", true),
        ("/app/session", false),
        ("/app/to-user", true),
        ("/app/to-session", false),
    ] {
        sender.post(sent, sent).await;
        sender.expect_message("/user/queue/mine", sent).await;
        if everywhere {
            same.expect_message("/user/queue/mine", sent).await;
        }
    }
    same.expect_nothing(&server).await;
    bob.expect_nothing(&server).await;
}

#[tokio::test]
async fn who_is_anonymous_is_answered_alone() {
    let server = Setup::new().routes(three_ways).start().await;
    let mut sender = listener(&server, None).await;
    let mut other = listener(&server, None).await;
    for sent in [
        "/app/all",
        "/app/session",
        "/app/to-user",
        "/app/to-session",
    ] {
        sender.post(sent, sent).await;
        sender.expect_message("/user/queue/mine", sent).await;
    }
    other.expect_nothing(&server).await;
}

/// A name goes nowhere but to who is called just so, whatever is in it.
#[tokio::test]
async fn names_may_have_any_characters() {
    async fn whisper(Json((name, text)): Json<(String, String)>) -> ToUser<String> {
        ToUser::named(name, "/queue/mine", text)
    }
    async fn login(connect: tramline::Connect) -> Option<User> {
        connect.login().map(|login| User::new(login.to_owned()))
    }
    let server = Setup::new()
        .routes(|routes| routes.connect(login).route("/whisper", message(whisper)))
        .start()
        .await;
    let names = [
        "a/b",
        "a%2Fb",
        "%2F",
        "ü",
        "two words",
        "*",
        "a:b",
        "Ü",
        "",
        "{x}",
    ];
    let mut clients = Vec::new();
    for name in names {
        let mut client = Client::open(&server).await;
        client
            .send(&format!("CONNECT\naccept-version:1.2\nlogin:{name}\n\n\0"))
            .await;
        client.expect("CONNECTED").await.has("user-name", name);
        client.subscribe("mine", "/user/queue/mine").await;
        clients.push((name, client));
    }
    let mut sender = Client::connect(&server).await;
    for (name, client) in &mut clients {
        let body = json!([name, format!("for {name}")]).to_string();
        sender.post("/app/whisper", &body).await;
        client
            .expect_message("/user/queue/mine", &format!("for {name}"))
            .await;
    }
    // A client spells a `/` otherwise, and cannot reach who is really called so.
    for (spelled, name) in [("a%2Fb", "a/b"), ("ü", "ü"), ("two words", "two words")] {
        let destination = format!("/user/{spelled}/queue/mine");
        sender.post(&destination, spelled).await;
        let (_, client) = clients
            .iter_mut()
            .find(|(known, _)| *known == name)
            .unwrap();
        client.expect_message("/user/queue/mine", spelled).await;
    }
    for (_, client) in &mut clients {
        client.expect_nothing(&server).await;
    }
    let publisher = server.messaging().publisher();
    let nobody = publisher.send_to_user("nobody", "/queue/mine", "x").await;
    assert_eq!(nobody.unwrap().local_receivers, 0);
}

#[tokio::test]
async fn replies_have_the_headers_that_they_were_given() {
    async fn headers() -> impl IntoReply {
        Json(1)
            .with_header("priority", "9")
            .with_header("line:s", "a\nb")
            .with_header("priority", "1")
    }
    async fn typed() -> impl IntoReply {
        Json(1).with_header("content-type", "application/problem+json")
    }
    async fn optional(body: String) -> Option<tramline::reply::WithHeaders<String>> {
        (!body.is_empty()).then(|| body.with_header("kind", "some"))
    }
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/with", message(headers).send_to("/topic/x"))
                .route("/typed", message(typed).send_to("/topic/x"))
                .route("/optional", message(optional).send_to("/topic/x"))
                .route("/asked", subscribe(headers))
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    client.post("/app/with", "").await;
    let message = client.expect_message("/topic/x", "1").await;
    message
        .has("priority", "9")
        .has("line:s", "a\nb")
        .has("content-type", "application/json");
    let priorities = message
        .headers
        .iter()
        .filter(|(name, _)| *name == "priority");
    assert_eq!(priorities.count(), 2);
    client.post("/app/typed", "").await;
    let message = client.expect_message("/topic/x", "1").await;
    message.has("content-type", "application/problem+json");
    let types = message
        .headers
        .iter()
        .filter(|(name, _)| *name == "content-type");
    assert_eq!(types.count(), 1);
    client.post("/app/optional", "").await;
    client.post("/app/optional", "some").await;
    client
        .expect_message("/topic/x", "some")
        .await
        .has("kind", "some");
    client.subscribe("asked", "/app/asked").await;
    client
        .expect_message("/app/asked", "1")
        .await
        .has("priority", "9");
    let publisher = server.messaging().publisher();
    publisher
        .send("/topic/x", "p".with_header("from", "outside"))
        .await
        .unwrap();
    client
        .expect_message("/topic/x", "p")
        .await
        .has("from", "outside");
}

const SERVERS: [&str; 17] = [
    "destination",
    "message-id",
    "subscription",
    "ack",
    "content-length",
    "receipt",
    "transaction",
    "redelivered",
    "delivery-count",
    "user-name",
    "receipt-id",
    "login",
    "passcode",
    "dead-letter-reason",
    "dead-letter-whatever",
    "original-destination",
    "original-delivery-count",
];

#[tokio::test]
async fn headers_that_are_the_servers_are_refused() {
    async fn forge(name: String) -> impl IntoReply {
        "forged".with_header(name, "x")
    }
    let faults = Faults::collect();
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/forge", message(forge).send_to("/topic/x"))
                .route(
                    "/asked",
                    subscribe(async || "forged".with_header("ack", "1")),
                )
        })
        .start()
        .await;
    let publisher = server.messaging().publisher();
    for name in SERVERS {
        // A session causes ten lines of the log a minute.
        let mut client = Client::subscribed(&server, ["/topic/x", ERRORS]).await;
        client.post("/app/forge", name).await;
        let error = format!("the header {name:?} of a reply is the server's to write");
        faults
            .expect(&mut client, "bad-reply", "/app/forge", &error)
            .await;
        let sent = publisher.send("/topic/x", "forged".with_header(name, "x"));
        let refused = sent.await.unwrap_err().to_string();
        assert_eq!(refused, format!("the payload cannot be encoded: {error}"));
        client.expect_nothing(&server).await;
    }
    let mut client = Client::subscribed(&server, ["/topic/x", ERRORS]).await;
    client.subscribe("asked", "/app/asked").await;
    client.expect_rejection("bad-reply").await;
    client.expect_nothing(&server).await;
}

/// A frame's values of a header.
fn all<'a>(frame: &'a tramline_stomp::Frame, name: &str) -> Vec<&'a str> {
    let all = frame.headers.iter().filter(|(known, _)| *known == name);
    all.map(|(_, value)| value).collect()
}

#[tokio::test]
async fn a_correlation_id_comes_back_once_on_all_that_is_answered() {
    async fn own() -> impl IntoReply {
        "own".with_header("correlation-id", "mine")
    }
    async fn many() -> (To<&'static str>, ToUser<&'static str>) {
        (
            To::topic("/topic/x", "many"),
            ToUser::session("/queue/mine", "many"),
        )
    }
    async fn fails() -> Rejection {
        Rejection::application("failed")
    }
    let server = Setup::new()
        .routes(|routes| {
            let told = MessageRouter::new()
                .route("/told", message(fails))
                .on_rejection(|_| ToUser::session("/queue/errors", "told"));
            routes
                .route("/echo-it", message(echo).send_to("/topic/x"))
                .route("/own", message(own).send_to("/topic/x"))
                .route("/many", message(many))
                .route("/fails", message(fails))
                .route("/asked", subscribe(async || "answer"))
                .route("/asked-own", subscribe(own))
                .merge(told)
        })
        .start()
        .await;
    let mut client = listener(&server, None).await;
    client.subscribe("x", "/topic/x").await;
    // Colons and line ends are escaped on the way.
    const ID: &str = "correlation-id:7\\c\\n1\n";
    let seen = "7:\n1";
    for (sent, expected) in [
        ("/app/echo-it", &[("/topic/x", seen)][..]),
        ("/app/own", &[("/topic/x", "mine")]),
        (
            "/app/many",
            &[("/topic/x", seen), ("/user/queue/mine", seen)],
        ),
        ("/app/fails", &[(ERRORS, seen)]),
        ("/app/told", &[(ERRORS, seen)]),
        ("/app/panic", &[(ERRORS, seen)]),
        ("/app/order", &[(ERRORS, seen)]),
        ("/app/lost", &[(ERRORS, seen)]),
        ("/app/no/route", &[(ERRORS, seen)]),
    ] {
        client.post_with(sent, ID, "not json").await;
        for (destination, id) in expected {
            let message = client.expect("MESSAGE").await;
            message.has("destination", *destination);
            assert_eq!(all(&message, "correlation-id"), [*id], "{sent}");
        }
    }
    for (id, destination, expected) in [("1", "/app/asked", seen), ("2", "/app/asked-own", "mine")]
    {
        client
            .send(&format!(
                "SUBSCRIBE\nid:{id}\ndestination:{destination}\n{ID}\n\0"
            ))
            .await;
        let answer = client.expect("MESSAGE").await;
        answer.has("subscription", id);
        assert_eq!(all(&answer, "correlation-id"), [expected]);
    }
    client.post("/app/echo-it", "without").await;
    client
        .expect_message("/topic/x", "without")
        .await
        .has("correlation-id", None);
    client.expect_nothing(&server).await;
}

/// Inside a transaction each message has its own.
#[tokio::test]
async fn a_correlation_id_in_a_transaction() {
    let server = Setup::new()
        .routes(|routes| routes.route("/echo-it", message(echo).send_to("/topic/x")))
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/x", ERRORS]).await;
    client.send("BEGIN\ntransaction:t\n\n\0").await;
    for (destination, id) in [
        ("/app/echo-it", 1),
        ("/app/no/route", 2),
        ("/app/echo-it", 3),
    ] {
        let headers = format!("transaction:t\ncorrelation-id:{id}\n");
        client.post_with(destination, &headers, "x").await;
    }
    client.send("COMMIT\ntransaction:t\n\n\0").await;
    for (destination, id) in [("/topic/x", "1"), (ERRORS, "2"), ("/topic/x", "3")] {
        let message = client.expect("MESSAGE").await;
        message
            .has("destination", destination)
            .has("correlation-id", id);
    }
}

enum ChatError {
    Muted,
    Unknown(String),
}

impl IntoEffects for ChatError {
    fn into_effects(self, effects: &mut Effects) {
        match self {
            Self::Muted => {
                To::topic("/topic/moderation", "muted").into_effects(effects);
                ToUser::all("/queue/mine", Json(json!({ "muted": true }))).into_effects(effects);
            }
            Self::Unknown(what) => effects.reject(Rejection::application(what)),
        }
    }
}

struct Sold;

impl From<Sold> for Rejection {
    fn from(_: Sold) -> Self {
        Self::application("sold out").with_details(json!({ "left": 0 }))
    }
}

fn check(body: &str) -> Result<(), ChatError> {
    match body {
        "muted" => Err(ChatError::Muted),
        "fine" => Ok(()),
        other => Err(ChatError::Unknown(other.to_owned())),
    }
}

fn sell(body: &str) -> Result<u32, Sold> {
    if body == "fine" { Ok(1) } else { Err(Sold) }
}

#[tokio::test]
async fn an_applications_errors_go_where_they_say() {
    async fn say(body: String) -> Result<String, ChatError> {
        check(&body)?;
        Ok(body)
    }
    async fn computed(body: String) -> Result<Option<To<String>>, ChatError> {
        check(&body)?;
        Ok(Some(To::topic("/topic/x", body)))
    }
    async fn buy(body: String) -> Result<Json<u32>, Rejection> {
        Ok(Json(sell(&body)?))
    }
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route(
                    "/say",
                    message(say)
                        .send_to("/topic/x")
                        .subscribe(async || say("muted".into()).await),
                )
                .route("/computed", message(computed))
                .route("/buy", message(buy).send_to("/topic/x"))
        })
        .start()
        .await;
    let mut client = listener(&server, Some("alice")).await;
    client.subscribe("topics", "/topic/**").await;
    for route in ["/app/say", "/app/computed"] {
        client.post(route, "fine").await;
        client.expect_message("/topic/x", "fine").await;
        client.post(route, "muted").await;
        client.expect_message("/topic/moderation", "muted").await;
        client
            .expect_message("/user/queue/mine", r#"{"muted":true}"#)
            .await;
        client.post(route, "what").await;
        let rejection = client.expect_rejection("application").await;
        let expected = json!({ "kind": "application", "error": "what", "destination": route });
        assert_eq!(rejection, expected);
    }
    client.subscribe("say", "/app/say").await;
    client.expect_message("/topic/moderation", "muted").await;
    client
        .expect_message("/user/queue/mine", r#"{"muted":true}"#)
        .await;
    client.post("/app/buy", "fine").await;
    client.expect_message("/topic/x", "1").await;
    client.post("/app/buy", "all").await;
    let expected = json!({
        "kind": "application",
        "error": "sold out",
        "destination": "/app/buy",
        "details": { "left": 0 },
    });
    assert_eq!(client.expect_rejection("application").await, expected);
    assert_eq!(server.stats().rejected, 3);
}

#[tokio::test]
async fn what_can_be_returned_is_done_in_order() {
    type Two = (To<&'static str>, ToUser<&'static str>);
    async fn tuple() -> (Two, Option<To<String>>, Result<(), Rejection>, Option<Two>) {
        let to = |body| {
            (
                To::topic("/topic/x", body),
                ToUser::all("/queue/mine", body),
            )
        };
        let none: Option<To<String>> = None;
        (
            to("first"),
            none,
            Err(Rejection::application("third")),
            Some(to("second")),
        )
    }
    async fn bytes() -> Bytes {
        Bytes::from_static(b"bytes")
    }
    async fn vec() -> Vec<u8> {
        b"vec".to_vec()
    }
    async fn untyped() -> Result<Option<Payload>, Rejection> {
        Ok(Some(Payload::untyped("untyped")))
    }
    async fn none() -> Option<Json<u32>> {
        None
    }
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/tuple", message(tuple))
                .route("/bytes", message(bytes).send_to("/topic/x"))
                .route("/vec", message(vec).send_to("/topic/x"))
                .route("/none", message(none).send_to("/topic/x"))
                .route("/untyped", message(untyped).send_to("/topic/x"))
        })
        .start()
        .await;
    let mut client = listener(&server, None).await;
    client.subscribe("x", "/topic/x").await;
    client.post("/app/tuple", "").await;
    for body in ["first", "second"] {
        client.expect_message("/topic/x", body).await;
        client.expect_message("/user/queue/mine", body).await;
    }
    client.expect_rejection("application").await;
    client.post("/app/none", "").await;
    for (sent, body, content_type) in [
        ("/app/bytes", "bytes", Some("application/octet-stream")),
        ("/app/vec", "vec", Some("application/octet-stream")),
        ("/app/untyped", "untyped", None),
    ] {
        client.post(sent, "").await;
        let message = client.expect_message("/topic/x", body).await;
        message.has("content-type", content_type);
    }
}

/// What a reply cannot be is the application's fault, and each is told.
#[tokio::test]
async fn replies_that_cannot_be_sent() {
    async fn map() -> Json<std::collections::BTreeMap<Vec<u8>, u8>> {
        Json([(vec![1], 1)].into())
    }
    async fn wild() -> To<&'static str> {
        To::topic("/topic/*", "x")
    }
    async fn wild_user() -> ToUser<&'static str> {
        ToUser::all("", "x")
    }
    async fn no_slash() -> ToUser<&'static str> {
        ToUser::session("queue/mine", "x")
    }
    async fn user_prefix() -> To<&'static str> {
        To::topic("/user/bob/queue/mine", "x")
    }
    async fn nowhere() -> To<&'static str> {
        To::topic("/nowhere", "x")
    }
    let faults = Faults::collect();
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/nowhere", message(nowhere))
                .route("/map", message(map).send_to("/topic/x"))
                .route("/wild", message(wild))
                .route("/wild-user", message(wild_user))
                .route("/no-slash", message(no_slash))
                .route("/user-prefix", message(user_prefix))
        })
        .start()
        .await;
    let mut client = listener(&server, Some("bob")).await;
    for (sent, error) in [
        ("/app/map", "key must be a string"),
        (
            "/app/wild",
            "destination \"/topic/*\" has a wildcard; messages go to one destination, only subscriptions may use `*`, \
             `?` and `**`",
        ),
        ("/app/wild-user", "a destination must not be empty"),
        (
            "/app/no-slash",
            "\"queue/mine\" is no path of a user's destination: it begins with `/`, as \"/queue/news\" for what clients \
             subscribe to as \"/user/queue/news\"",
        ),
        (
            "/app/user-prefix",
            "\"/user/bob/queue/mine\" is how clients write what is for a user: send to the user, at \"/bob/queue/mine\"",
        ),
        (
            "/app/nowhere",
            "the broker carries no destination \"/nowhere\", only those below \"/topic\"",
        ),
    ] {
        client.post(sent, "").await;
        faults.expect(&mut client, "bad-reply", sent, error).await;
    }
    assert_eq!((server.stats().faults, server.stats().rejected), (6, 6));
    let publisher = server.messaging().publisher();
    let sent = publisher.send_to_user("bob", "queue/mine", "x").await;
    let error = sent.unwrap_err().to_string();
    assert!(error.contains("it begins with `/`"), "{error}");
    client.expect_nothing(&server).await;
}

/// The tenant, from a header of the handshake's.
struct Tenant(String);

impl FromHeader for Tenant {
    const NAME: &'static str = "tenant";
    type Error = std::convert::Infallible;

    fn from_header(value: &str) -> Result<Self, Self::Error> {
        Ok(Self(value.to_owned()))
    }
}

/// A header's value never ends its line, whatever version its receiver speaks.
#[tokio::test]
async fn a_reply_header_cannot_forge_a_frame() {
    async fn said(Header(Tenant(tenant)): Header<Tenant>) -> impl IntoReply {
        "x".with_header("tenant", tenant)
    }
    let server = Setup::new()
        .routes(|routes| routes.route("/said", message(said).send_to("/topic/x")))
        .start()
        .await;
    let mut old = Request::upgrade("/ws").open(&server).await;
    old.send("CONNECT\n\n\0").await;
    old.expect("CONNECTED").await.has("version", "1.0");
    old.subscribe("x", "/topic/x").await;
    let mut sender = Client::connect(&server).await;
    let forged = "tenant:a\\nsubscription\\cother\\n\\nforged\n";
    sender.post_with("/app/said", forged, "").await;
    let message = old.expect_message("/topic/x", "x").await;
    message
        .has("subscription", "x")
        .has("tenant", "a subscription:other  forged");
}
