//! Extractors: what each gives, and what is said when it cannot.

use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tramline::broker::Destination;
use tramline::events::Disconnected;
use tramline::extract::{Bearer, Encoded, Format, FromHeader, Header, Headers, JsonFormat, Text};
use tramline::login::{ConnectRefused, Handshake};
use tramline::presence::{Presence, Presences};
use tramline::{
    Inbound, Json, MessageRouter, Path, Publisher, Registry, Rejection, Session, SessionId, User,
    message,
};

use crate::support::{Client, ERRORS, Faults, FrameExt, Server, Setup};

/// Whoever hears replies at `/topic/x` and of rejections.
async fn listener(server: &Server) -> Client {
    Client::subscribed(server, ["/topic/x", ERRORS]).await
}

fn reply_at_x<H, T>(handler: H) -> impl tramline::router::IntoRoute<()>
where
    H: tramline::router::Handler<T, ()>,
    H::Output: tramline::reply::IntoReply,
    T: 'static,
{
    message(handler).send_to("/topic/x")
}

#[tokio::test]
async fn bodies_as_optional_and_as_result() {
    async fn optional(body: Option<Json<u32>>) -> String {
        format!("{:?}", body.map(|Json(number)| number))
    }
    async fn result(body: Result<Json<u32>, Rejection>) -> String {
        match body {
            Ok(Json(number)) => number.to_string(),
            Err(rejection) => format!("{:?}: {rejection}", rejection.kind()),
        }
    }
    async fn text(body: Result<Text, Rejection>) -> String {
        body.map_or_else(|rejection| rejection.to_string(), |Text(text)| text)
    }
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/optional", reply_at_x(optional))
                .route("/result", reply_at_x(result))
                .route("/text", reply_at_x(text))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    for (sent, body, reply) in [
        ("/app/optional", "", "None"),
        ("/app/optional", "7", "Some(7)"),
        ("/app/result", "7", "7"),
        (
            "/app/result",
            "x",
            "BadMessage: the body is not the JSON this destination takes: expected value at line 1 column 1",
        ),
        ("/app/text", "ü", "ü"),
    ] {
        client.post(sent, body).await;
        client.expect_message("/topic/x", reply).await;
    }
    client
        .send_binary(b"SEND\ndestination:/app/text\n\n\xff\0")
        .await;
    let error = "the body is not text in UTF-8: invalid utf-8 sequence of 1 bytes from index 0";
    client.expect_message("/topic/x", error).await;
    client.post("/app/optional", "x").await;
    client.expect_rejection("bad-message").await;
}

#[tokio::test]
async fn who_and_where() {
    async fn who(
        user: Result<User, Rejection>,
        optional: Option<User>,
        id: SessionId,
        destination: Destination,
        handshake: Handshake,
        headers: Headers,
    ) -> Json<Value> {
        let tenant = handshake.header(&HeaderName::from_static("x-tenant"));
        Json(json!({
            "user": user.map(|user| user.name().to_owned()).map_err(|error| error.to_string()),
            "optional": optional.map(|user| user.name().to_owned()),
            "session": id.to_string(),
            "destination": destination.as_str(),
            "path": handshake.path(),
            "tenant": tenant,
            "x": headers.get("x"),
        }))
    }
    let server = Setup::new()
        .routes(|routes| routes.route("/whoami", reply_at_x(who)))
        .start()
        .await;
    for user in [None, Some("alice")] {
        let mut client = Client::open_by(&server, user).await;
        client.send("CONNECT\naccept-version:1.2\n\n\0").await;
        let connected = client.expect("CONNECTED").await;
        let session = connected.headers.get("session").unwrap().to_owned();
        client.subscribe("x", "/topic/x").await;
        client.post_with("/app/whoami", "x:1\n", "").await;
        let reply = client.expect("MESSAGE").await;
        let said: Value = serde_json::from_slice(&reply.body).unwrap();
        let expected = match user {
            Some(user) => json!({ "Ok": user }),
            None => json!({ "Err": "this destination takes messages of users only" }),
        };
        let expected = json!({
            "user": expected,
            "optional": user,
            "session": session,
            "destination": "/app/whoami",
            "path": "/",
            "tenant": null,
            "x": "1",
        });
        assert_eq!(said, expected);
    }
}

struct Priority(u8);

impl FromHeader for Priority {
    const NAME: &'static str = "priority";
    type Error = std::num::ParseIntError;

    fn from_header(value: &str) -> Result<Self, Self::Error> {
        value.parse().map(Self)
    }
}

#[tokio::test]
async fn one_header_as_a_type() {
    async fn must(Header(Priority(priority)): Header<Priority>) -> String {
        priority.to_string()
    }
    async fn may(priority: Option<Header<Priority>>) -> String {
        priority.map_or("none".into(), |Header(Priority(priority))| {
            priority.to_string()
        })
    }
    async fn decides(priority: Result<Header<Priority>, Rejection>) -> String {
        priority.map_or_else(
            |rejection| rejection.to_string(),
            |header| header.0.0.to_string(),
        )
    }
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/must", reply_at_x(must))
                .route("/may", reply_at_x(may))
                .route("/decides", reply_at_x(decides))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    const MISSING: &str = "the header `priority` is missing";
    const BAD: &str =
        "the header `priority` cannot be read: number too large to fit in target type";
    for (headers, must, may, decides) in [
        ("priority:9\n", Ok("9"), Ok("9"), "9"),
        ("priority:9\npriority:300\n", Ok("9"), Ok("9"), "9"),
        ("", Err(MISSING), Ok("none"), MISSING),
        ("Priority:9\n", Err(MISSING), Ok("none"), MISSING),
        ("priority:300\n", Err(BAD), Err(BAD), BAD),
    ] {
        for (sent, expected) in [
            ("/app/must", must),
            ("/app/may", may),
            ("/app/decides", Ok(decides)),
        ] {
            client.post_with(sent, headers, "").await;
            match expected {
                Ok(reply) => drop(client.expect_message("/topic/x", reply).await),
                Err(error) => {
                    assert_eq!(client.expect_rejection("bad-message").await["error"], error);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_bearer_token_in_any_case() {
    async fn token(Header(bearer): Header<Bearer>) -> String {
        assert_eq!(format!("{bearer:?}"), "Bearer(***)");
        bearer.0
    }
    let server = Setup::new()
        .routes(|routes| routes.route("/token", reply_at_x(token)))
        .start()
        .await;
    let mut client = listener(&server).await;
    for header in [
        "Authorization:Bearer abc",
        "authorization:bearer abc",
        "AUTHORIZATION:BEARER  abc ",
        "x:1\nauthorizatioN:bEARER abc",
    ] {
        client
            .post_with("/app/token", &format!("{header}\n"), "")
            .await;
        client.expect_message("/topic/x", "abc").await;
    }
    for (header, error) in [
        ("", "the header `Authorization` is missing"),
        (
            "authorization:Basic abc\n",
            "the header `Authorization` cannot be read: it must be `Bearer` and a token",
        ),
        (
            "authorization:Bearer\n",
            "the header `Authorization` cannot be read: it must be `Bearer` and a token",
        ),
        (
            "authorization:Bearer  \n",
            "the header `Authorization` cannot be read: it must be `Bearer` and a token",
        ),
        (
            "authorization:\n",
            "the header `Authorization` cannot be read: it must be `Bearer` and a token",
        ),
    ] {
        client.post_with("/app/token", header, "").await;
        assert_eq!(client.expect_rejection("bad-message").await["error"], error);
    }
}

/// Numbers with spaces between them.
struct Spaced;

impl Format for Spaced {
    const MEDIA_TYPE: &'static str = "application/x-spaced";

    fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let numbers = text.split(' ').map(str::parse::<u32>);
        let numbers: Vec<u32> = numbers
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        serde_json::from_value(json!(numbers)).map_err(|error| error.to_string())
    }

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
        match serde_json::to_value(value).map_err(|error| error.to_string())? {
            Value::Array(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                Ok(numbers.join(" ").into())
            }
            other => Err(format!("{other} is no list")),
        }
    }
}

#[tokio::test]
async fn the_content_type_chooses_the_format() {
    type Numbers<F> = Encoded<Vec<u32>, F>;
    async fn json_first(numbers: Numbers<(JsonFormat, Spaced)>) -> Numbers<(JsonFormat, Spaced)> {
        Encoded::new(numbers.iter().map(|number| number + 1).collect())
    }
    async fn spaced_first(numbers: Option<Numbers<(Spaced, JsonFormat)>>) -> Numbers<Spaced> {
        Encoded::new(numbers.map_or(Vec::new(), |numbers| numbers.0))
    }
    async fn only_json(Encoded(number, ..): Encoded<u32>) -> Encoded<u32, Spaced> {
        Encoded::new(number)
    }
    let faults = Faults::collect();
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/json", reply_at_x(json_first))
                .route("/spaced", reply_at_x(spaced_first))
                .route("/only", reply_at_x(only_json))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    const JSON: &str = "application/json";
    const SPACED: &str = "application/x-spaced";
    for (sent, headers, body, reply, reply_type) in [
        ("/app/json", "", "[1,2]", "[2,3]", JSON),
        (
            "/app/json",
            "content-type:application/json\n",
            "[1]",
            "[2]",
            JSON,
        ),
        (
            "/app/json",
            "content-type:Application/JSON; charset=UTF-8\n",
            "[1]",
            "[2]",
            JSON,
        ),
        (
            "/app/json",
            "content-type:application/vnd.acme+json\n",
            "[1]",
            "[2]",
            JSON,
        ),
        (
            "/app/json",
            "content-type:application/x-spaced\n",
            "1 2",
            "[2,3]",
            JSON,
        ),
        ("/app/spaced", "", "1 2", "1 2", SPACED),
        (
            "/app/spaced",
            "content-type:application/json\n",
            "[1,2]",
            "1 2",
            SPACED,
        ),
        (
            "/app/spaced",
            "content-type:application/json\n",
            "",
            "",
            SPACED,
        ),
    ] {
        client.post_with(sent, headers, body).await;
        let message = client.expect_message("/topic/x", reply).await;
        message.has("content-type", reply_type);
    }
    for (sent, headers, body, kind, error) in [
        (
            "/app/json",
            "content-type:text/plain\n",
            "1",
            "unsupported-format",
            "the header `content-type` is \"text/plain\"; this destination takes application/json, application/x-spaced",
        ),
        (
            "/app/json",
            "content-type:\n",
            "1",
            "unsupported-format",
            "the header `content-type` is \"\"; this destination takes application/json, application/x-spaced",
        ),
        (
            "/app/json",
            "content-type:application/x-spaced;v=1\n",
            "1 x",
            "bad-message",
            "the body is not the application/x-spaced this destination takes: invalid digit found in string",
        ),
        (
            "/app/json",
            "",
            "",
            "bad-message",
            "the body is not the application/json this destination takes: EOF while parsing a value at line 1 column 0",
        ),
    ] {
        client.post_with(sent, headers, body).await;
        assert_eq!(client.expect_rejection(kind).await["error"], error);
    }
    client.post("/app/only", "1").await;
    faults
        .expect(&mut client, "bad-reply", "/app/only", "1 is no list")
        .await;
}

#[cfg(feature = "garde")]
mod valid {
    use garde::Validate;
    use tramline::extract::Valid;

    use super::*;

    #[derive(Deserialize, Validate)]
    struct Order {
        #[garde(range(min = 1, max = 100))]
        shares: u32,
        #[garde(length(min = 1), custom(upper))]
        ticker: String,
    }

    fn upper(value: &str, _: &()) -> garde::Result {
        match value.chars().all(|letter| letter.is_ascii_uppercase()) {
            true => Ok(()),
            false => Err(garde::Error::new("not in capitals")),
        }
    }

    #[derive(Deserialize, Validate)]
    struct Seat {
        #[garde(range(max = 9))]
        row: u32,
    }

    #[tokio::test]
    async fn what_breaks_a_rule_is_told_field_by_field() {
        async fn order(Valid(Json(order)): Valid<Json<Order>>) -> String {
            format!("{} {}", order.shares, order.ticker)
        }
        async fn encoded(Valid(order): Valid<Encoded<Order>>) -> String {
            format!("{} {}", order.shares, order.ticker)
        }
        async fn seat(Valid(Path(seat)): Valid<Path<Seat>>, body: String) -> String {
            format!("{} {body}", seat.row)
        }
        async fn last(Valid(Path(seat)): Valid<Path<Seat>>) -> String {
            seat.row.to_string()
        }
        async fn decides(order: Result<Valid<Json<Order>>, Rejection>) -> String {
            order
                .err()
                .map_or("fine".into(), |rejection| format!("{:?}", rejection.kind()))
        }
        let server = Setup::new()
            .routes(|routes| {
                routes
                    .route("/valid", reply_at_x(order))
                    .route("/encoded", reply_at_x(encoded))
                    .route("/seat/{row}", reply_at_x(seat))
                    .route("/last/{row}", reply_at_x(last))
                    .route("/decides", reply_at_x(decides))
            })
            .start()
            .await;
        let mut client = listener(&server).await;
        let fine = r#"{"shares":3,"ticker":"RUST"}"#;
        let wrong = r#"{"shares":0,"ticker":"rust"}"#;
        for (sent, body, reply) in [
            ("/app/valid", fine, "3 RUST"),
            ("/app/encoded", fine, "3 RUST"),
            ("/app/seat/9", "x", "9 x"),
            ("/app/last/0", "", "0"),
            ("/app/decides", fine, "fine"),
            ("/app/decides", wrong, "Invalid"),
            ("/app/decides", "x", "BadMessage"),
        ] {
            client.post(sent, body).await;
            client.expect_message("/topic/x", reply).await;
        }
        for sent in ["/app/valid", "/app/encoded"] {
            client.post(sent, wrong).await;
            let rejection = client.expect_rejection("invalid").await;
            let details = json!([
                { "path": "shares", "message": "lower than 1" },
                { "path": "ticker", "message": "not in capitals" },
            ]);
            assert_eq!(rejection["details"], details, "{rejection}");
            client.post(sent, "x").await;
            assert_eq!(
                client.expect_rejection("bad-message").await["details"],
                Value::Null
            );
        }
        for sent in ["/app/seat/10", "/app/last/10"] {
            client.post(sent, "x").await;
            let rejection = client.expect_rejection("invalid").await;
            assert_eq!(rejection["details"][0]["path"], "row");
        }
    }
}

#[derive(Default)]
struct Count(AtomicU32);

#[derive(Default)]
struct OtherCount(AtomicU32);

#[tokio::test]
async fn a_sessions_values_are_its_own() {
    async fn count(
        count: Session<Count>,
        again: Session<Count>,
        other: Session<OtherCount>,
    ) -> String {
        count.0.fetch_add(1, Ordering::Relaxed);
        let one = again.0.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{one} {}", other.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
    async fn connected(count: Session<Count>) {
        count.0.store(100, Ordering::Relaxed);
    }
    let server = Setup::new()
        .routes(|routes| {
            routes
                .connect(connected)
                .route("/count", message(count).send_to_session("/queue/mine"))
        })
        .start()
        .await;
    // Two of one user: a session's values are not its user's.
    for _ in 0..2 {
        let mut client = Client::connect_as(&server, "alice").await;
        client.subscribe("0", "/user/queue/mine").await;
        for expected in ["102 1", "104 2", "106 3"] {
            client.post("/app/count", "").await;
            client.expect_message("/user/queue/mine", expected).await;
        }
    }
}

#[tokio::test]
async fn the_stack_itself() {
    async fn stack(
        publisher: Publisher,
        registry: Registry,
        presence: Presence,
        user: User,
    ) -> Json<Value> {
        let published = publisher.send("/topic/x", "from within").await.unwrap();
        let here = registry.user(user.name()).unwrap();
        Json(json!({
            "receivers": published.local_receivers,
            "users": registry.user_count(),
            "subscriptions": here.sessions()[0].subscriptions().len(),
            "members": presence.members("/topic/x"),
        }))
    }
    let server = Setup::new()
        .builder(|builder| builder.presence(Presences::new().track("/topic/{x}")))
        .routes(|routes| routes.route("/stack", reply_at_x(stack)))
        .start()
        .await;
    let mut client = Client::connect_as(&server, "alice").await;
    client.subscribe("x", "/topic/x").await;
    client.post("/app/stack", "").await;
    client.expect_message("/topic/x", "from within").await;
    let expected = r#"{"members":["alice"],"receivers":1,"subscriptions":1,"users":1}"#;
    client.expect_message("/topic/x", expected).await;
}

#[tokio::test]
async fn captures_as_what_the_handler_wants() {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Green,
    }
    async fn colour(Path(colour): Path<Colour>) -> &'static str {
        match colour {
            Colour::Red => "red",
            Colour::Green => "green",
        }
    }
    async fn two(path: Path<(u8, String)>, message: Inbound) -> String {
        assert_eq!(message.capture("nothing"), None);
        format!("{} {} {:?}", path.0.0, path.0.1, message.capture("b"))
    }
    async fn none(Path(()): Path<()>) -> &'static str {
        "none"
    }
    async fn number(Path(number): Path<u32>) -> String {
        number.to_string()
    }
    async fn pair(Path((a, b)): Path<(u8, u8)>) -> String {
        format!("{a} {b}")
    }
    #[derive(Deserialize)]
    struct Room {
        room: u32,
    }
    async fn named(Path(Room { room }): Path<Room>) -> String {
        room.to_string()
    }
    let faults = Faults::collect();
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/colour/{colour}", reply_at_x(colour))
                .route("/two/{a}/{b}", reply_at_x(two))
                .route("/none", reply_at_x(none))
                .route("/named/{room}", reply_at_x(named))
                .route("/missing", reply_at_x(number))
                .route("/many/{a}/{b}", reply_at_x(number))
                .route("/few/{a}", reply_at_x(pair))
                .route("/misspelt/{romo}", reply_at_x(named))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    for (sent, reply) in [
        ("/app/colour/green", "green"),
        ("/app/colour/red", "red"),
        ("/app/two/1/x%2Fy", "1 x%2Fy Some(\"x%2Fy\")"),
        ("/app/none", "none"),
        ("/app/named/7", "7"),
    ] {
        client.post(sent, "").await;
        client.expect_message("/topic/x", reply).await;
    }
    for (sent, error) in [
        (
            "/app/colour/blue",
            "unknown variant `blue`, expected `red` or `green`",
        ),
        (
            "/app/two/256/x",
            r#"{a} is "256": number too large to fit in target type"#,
        ),
        (
            "/app/named/x",
            r#"{room} is "x": invalid digit found in string"#,
        ),
    ] {
        client.post(sent, "").await;
        assert_eq!(client.expect_rejection("bad-message").await["error"], error);
    }
    let count = "take one value, a tuple of as many, or a struct with their names";
    for (sent, error) in [
        ("/app/missing", format!("it captures 0, not 1; {count}")),
        ("/app/many/1/2", format!("it captures 2, not 1; {count}")),
        ("/app/few/1", format!("it captures 1, not 2; {count}")),
        ("/app/misspelt/1", "it does not capture {room}".to_owned()),
    ] {
        client.post(sent, "").await;
        let error = format!("the route does not fit the handler's `Path`: {error}");
        faults
            .expect(&mut client, "misconfigured", sent, &error)
            .await;
    }
}

#[tokio::test]
async fn a_tuple_is_one_argument_of_several() {
    async fn joined(
        (user, Path((a, b))): (User, Path<(u8, u8)>),
        (_, headers, to): (SessionId, Headers, Destination),
        _: (Handshake, Publisher, Registry, Presence),
        seen: Option<User>,
        body: String,
    ) -> String {
        let tag = headers.get("tag").unwrap_or_default();
        format!(
            "{} {a} {b} {tag} {to} {} {body}",
            user.name(),
            seen.is_some()
        )
    }
    async fn last((user, Path(number)): (User, Path<u8>)) -> String {
        format!("{} {number}", user.name())
    }
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/joined/{a}/{b}", reply_at_x(joined))
                .route("/last/{number}", reply_at_x(last))
        })
        .start()
        .await;
    let mut client = Client::connect_as(&server, "alice").await;
    for (id, destination) in [("x", "/topic/x"), ("errors", ERRORS)] {
        client.subscribe(id, destination).await;
    }
    client.post_with("/app/joined/1/2", "tag:t\n", "hi").await;
    let said = "alice 1 2 t /app/joined/1/2 true hi";
    client.expect_message("/topic/x", said).await;
    client.post("/app/last/7", "").await;
    client.expect_message("/topic/x", "alice 7").await;
    client.post("/app/last/x", "").await;
    client.expect_rejection("bad-message").await;
    let mut anonymous = listener(&server).await;
    anonymous.post("/app/last/x", "").await;
    anonymous.expect_rejection("anonymous").await;
}

/// What belongs to another part of a session's life is told as the application's mistake.
#[tokio::test]
async fn extractors_that_are_out_of_place() {
    async fn connect(_: tramline::Connect) {}
    async fn left(_: Disconnected) {}
    async fn optional(connect: Result<tramline::Connect, Rejection>) -> String {
        format!("{:?}", connect.unwrap_err().kind())
    }
    let faults = Faults::collect();
    let server = Setup::new()
        .routes(|routes: MessageRouter| {
            routes
                .route("/connect", message(connect))
                .route("/left", message(left))
                .route("/optional", reply_at_x(optional))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    for (sent, error) in [
        (
            "/app/connect",
            "only a connect handler and a check on CONNECT can take `Connect`",
        ),
        (
            "/app/left",
            "only a disconnect handler can take `Disconnected`",
        ),
    ] {
        client.post(sent, "").await;
        faults
            .expect(&mut client, "misconfigured", sent, error)
            .await;
    }
    client.post("/app/optional", "").await;
    client.expect_message("/topic/x", "Misconfigured").await;
}

/// At CONNECT, what cannot be extracted refuses the session and says why.
#[tokio::test]
async fn at_connect_a_missing_header_refuses() {
    async fn login(Header(Bearer(token)): Header<Bearer>) -> Result<User, ConnectRefused> {
        Ok(User::new(token))
    }
    let server = Setup::new()
        .routes(|routes| routes.connect(login))
        .start()
        .await;
    let mut refused = Client::open(&server).await;
    refused.send("CONNECT\naccept-version:1.2\n\n\0").await;
    refused
        .expect_error("the header `Authorization` is missing", "")
        .await;
    let mut fine = Client::open(&server).await;
    fine.send("CONNECT\naccept-version:1.2\nauthorization:Bearer ann\n\n\0")
        .await;
    fine.expect("CONNECTED").await.has("user-name", "ann");
    assert_eq!(server.stats().logins_refused, 1);
}
