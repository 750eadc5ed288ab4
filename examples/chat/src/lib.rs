//! Rooms, who is in them and who is typing, private messages.
//!
//! In the gallery with its page (`cargo run --release`), or alone: `cargo run -p tramline-example-chat`.
//!
//! | Client | Destination | Means |
//! |---|---|---|
//! | SUBSCRIBE | `/app/rooms` | which rooms there are |
//! | SUBSCRIBE | `/app/rooms/{room}` | who is in a room, and its last 50 lines |
//! | SUBSCRIBE | `/app/rooms/{room}/before/{position}` | the 50 lines before that one |
//! | SUBSCRIBE | `/topic/rooms/*` | what is said from now on, in all rooms; with `resume-from`, since the last connection |
//! | SUBSCRIBE | `/topic/rooms/{room}/people` | who joins, leaves and types; also: being in the room |
//! | SUBSCRIBE | `/user/queue/private` | private messages, one's own included |
//! | SUBSCRIBE | `/user/queue/errors` | what was wrong with a message |
//! | SEND | `/app/rooms/{room}/say` | `{"text":"hello","key":"1"}`; the key, if any, comes back with the line |
//! | SEND | `/app/rooms/{room}/typing` | `{"typing":true}` |
//! | SEND | `/app/private` | `{"to":"ada","text":"hello","key":"2"}` |

mod rooms;

use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tramline::broker::{History, Position};
use tramline::policy::{Policy, authenticated, deny, permit};
use tramline::presence::{Presence, Presences};
use tramline::publisher::HistoryError;
use tramline::reply::{Effects, IntoEffects};
use tramline::{
    EmbeddedBroker, Json, MessageRouter, Messaging, MessagingBuilder, Path, Publisher, Registry,
    Rejection, State, ToUser, User, message, subscribe,
};

use rooms::{Kept, Key, LineText, Rooms, Said, now};

/// Lines of a room that the server keeps for those who come back or scroll up, for a day at most.
const KEPT_LINES: usize = 1_000;
const KEPT_TIME: Duration = Duration::from_secs(24 * 3600);

/// Lines that a page loads at once.
const PAGE: usize = 50;

/// What was wrong with a message. The session that sent it hears of it at `/user/queue/errors`, nobody else.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ChatError {
    #[error("an empty line says nothing")]
    EmptyLine,
    #[error("a line has at most {longest} characters, this one has {length}")]
    LongLine { length: usize, longest: usize },
    #[error("there is no room called {0:?}")]
    NoSuchRoom(String),
    #[error("nobody called {0:?} is here")]
    NobodyCalled(String),
    #[error("a private message is for somebody else")]
    ToOneself,
    #[error("no older lines: {0}")]
    NoHistory(String),
}

impl From<HistoryError> for ChatError {
    fn from(error: HistoryError) -> Self {
        Self::NoHistory(error.to_string())
    }
}

impl IntoEffects for ChatError {
    fn into_effects(self, effects: &mut Effects) {
        effects.reject(Rejection::application(self));
    }
}

#[derive(Deserialize)]
struct Line {
    text: String,
    /// Comes back with the line, also to who joins: so a page knows after a loss what has arrived.
    #[serde(default)]
    key: Key,
}

async fn say(
    State(rooms): State<Rooms>,
    Path(room): Path<String>,
    user: User,
    Json(line): Json<Line>,
) -> Result<Json<Said>, ChatError> {
    rooms.check(&room)?;
    Ok(Json(Said {
        from: user.name().to_owned(),
        text: LineText::new(line.text)?,
        at: now(),
        key: line.key,
    }))
}

#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Typing {
    #[serde(skip_deserializing)]
    event: &'static str,
    #[serde(skip_deserializing)]
    user: String,
    /// False when what was typed is sent or deleted. Pages forget a `true` after some seconds.
    typing: bool,
}

async fn typing(user: User, Json(typing): Json<Typing>) -> Json<Typing> {
    Json(Typing {
        event: "typing",
        user: user.name().to_owned(),
        ..typing
    })
}

#[derive(Deserialize)]
struct Whisper {
    to: String,
    text: String,
    #[serde(default)]
    key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Private {
    from: String,
    to: String,
    text: LineText,
    /// Unix milliseconds.
    at: u64,
    #[serde(skip_serializing_if = "Key::is_none")]
    key: Key,
}

/// To every session of both: the other tabs of whoever wrote it show it too.
async fn whisper(
    registry: Registry,
    user: User,
    Json(Whisper { to, text, key }): Json<Whisper>,
) -> Result<(ToUser<Json<Private>>, ToUser<Json<Private>>), ChatError> {
    if to == user.name() {
        return Err(ChatError::ToOneself);
    }
    if registry.user(&to).is_none() {
        return Err(ChatError::NobodyCalled(to));
    }
    let private = Private {
        from: user.name().to_owned(),
        to: to.clone(),
        text: LineText::new(text)?,
        at: now(),
        key,
    };
    Ok((
        ToUser::named(to, "/queue/private", Json(private.clone())),
        ToUser::all("/queue/private", Json(private)),
    ))
}

async fn names(State(rooms): State<Rooms>) -> Json<Vec<&'static str>> {
    Json(rooms.names())
}

#[derive(Serialize)]
struct Welcome {
    members: Vec<String>,
    lines: Vec<Kept>,
}

async fn welcome(
    State(rooms): State<Rooms>,
    Path(room): Path<String>,
    presence: Presence,
    publisher: Publisher,
) -> Result<Json<Welcome>, ChatError> {
    rooms.check(&room)?;
    let past = publisher.history(topic(&room), None, PAGE).await?;
    Ok(Json(Welcome {
        members: presence.members(&format!("{}/people", topic(&room))),
        lines: past
            .messages
            .iter()
            .filter_map(|line| Kept::read(line))
            .collect(),
    }))
}

/// The lines before one that the page has, for who scrolls up.
async fn before(
    State(rooms): State<Rooms>,
    Path((room, position)): Path<(String, String)>,
    publisher: Publisher,
) -> Result<Json<Vec<Kept>>, ChatError> {
    rooms.check(&room)?;
    let position: Position = position
        .parse()
        .map_err(|_| ChatError::NoHistory(format!("{position:?} is no position")))?;
    let first = position.sequence.saturating_sub(1 + PAGE as u64);
    let from = Position {
        sequence: first,
        ..position
    };
    let count = usize::try_from(position.sequence.saturating_sub(first + 1)).unwrap_or(PAGE);
    let past = publisher.history(topic(&room), Some(from), count).await?;
    let lines = past.messages.iter().filter_map(|line| Kept::read(line));
    Ok(Json(
        lines.filter(|line| line.is_before(position)).collect(),
    ))
}

fn topic(room: &str) -> String {
    format!("/topic/rooms/{room}")
}

/// What `broker` has to carry for the chat.
pub fn broker(broker: EmbeddedBroker) -> EmbeddedBroker {
    let history = History::messages(KEPT_LINES).time(KEPT_TIME);
    broker.topics("/topic").history("/topic/rooms/*", history)
}

/// Everything that clients find behind the endpoint.
pub fn messaging() -> MessagingBuilder {
    let routes = MessageRouter::new()
        .route("/rooms", subscribe(names))
        .route("/rooms/{room}", subscribe(welcome))
        .route("/rooms/{room}/before/{position}", subscribe(before))
        .route(
            "/rooms/{room}/say",
            message(say).send_to("/topic/rooms/{room}"),
        )
        .route(
            "/rooms/{room}/typing",
            message(typing).send_to("/topic/rooms/{room}/people"),
        )
        .route("/private", message(whisper))
        .with_state(Rooms::new(["lobby", "music", "rust"]));

    let policy = Policy::builder()
        .on_connect(authenticated())
        .on_message("/app/**", permit())
        .on_subscribe("/app/**", permit())
        .on_subscribe("/topic/rooms/*", permit())
        .on_subscribe("/topic/rooms/*/people", permit())
        .on_subscribe("/user/queue/private", permit())
        .on_subscribe("/user/queue/errors", permit())
        .otherwise(deny()); // above all: clients do not write to /topic/** or to other users themselves

    Messaging::builder()
        .name("chat")
        .routes(routes)
        .broker(broker(EmbeddedBroker::new()))
        .presence(
            Presences::new().announce("/topic/rooms/{room}/people", "/topic/rooms/{room}/people"),
        )
        .policy(policy)
}

/// The endpoint that the page talks to. Who a client is, a layer above has to say: [`tramline_example_login`] in the demos.
pub fn router(messaging: &Messaging) -> Router {
    Router::new().nest_service("/chat/ws", messaging.endpoint().with_sockjs())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tramline::test::TestMessaging;

    use super::*;

    fn lobby() -> State<Rooms> {
        State(Rooms::new(["lobby"]))
    }

    fn path(room: &str) -> Path<String> {
        Path(room.to_owned())
    }

    fn line(text: &str) -> Json<Line> {
        let text = text.to_owned();
        let key = Key::try_from("1".to_owned()).unwrap();
        Json(Line { text, key })
    }

    #[tokio::test(start_paused = true)]
    async fn a_room_gives_its_last_lines_and_then_those_before() {
        let server = TestMessaging::new(messaging().build().unwrap());
        let ada = server.connect_as("ada").await;
        let mut live = ada.subscribe("/topic/rooms/*").await;
        let _in_the_room = ada.subscribe("/topic/rooms/lobby/people").await;
        for number in 1..=60 {
            let line = json!({ "text": format!("line {number}"), "key": "k" });
            ada.send("/app/rooms/lobby/say", Json(line)).await;
            let said: Value = live.next_json().await;
            assert_eq!(said["from"], "ada");
        }
        let texts = |lines: &Value| -> Vec<String> {
            let lines = lines.as_array().unwrap().iter();
            lines
                .map(|line| line["text"].as_str().unwrap().to_owned())
                .collect()
        };
        let lines = |numbers: std::ops::RangeInclusive<u32>| -> Vec<String> {
            numbers.map(|number| format!("line {number}")).collect()
        };
        let bob = server.connect_as("bob").await;
        let welcome: Value = bob.subscribe("/app/rooms/lobby").await.next_json().await;
        assert_eq!(welcome["members"], json!(["ada"]));
        assert_eq!(texts(&welcome["lines"]), lines(11..=60));

        let first = welcome["lines"][0]["position"].as_str().unwrap();
        let older = format!("/app/rooms/lobby/before/{first}");
        let older: Value = bob.subscribe(&older).await.next_json().await;
        assert_eq!(texts(&older), lines(1..=10));
        let none = format!(
            "/app/rooms/lobby/before/{}",
            older[0]["position"].as_str().unwrap()
        );
        assert_eq!(
            bob.subscribe(&none).await.next_json::<Value>().await,
            json!([])
        );
    }

    #[tokio::test]
    async fn an_empty_line_and_an_unknown_room_are_refused() {
        let ada = User::new("ada");
        let said = say(lobby(), path("lobby"), ada.clone(), line(" ")).await;
        assert_eq!(said.unwrap_err(), ChatError::EmptyLine);
        let said = say(lobby(), path("attic"), ada, line("hello")).await;
        assert_eq!(said.unwrap_err(), ChatError::NoSuchRoom("attic".to_owned()));
    }

    #[test]
    fn a_key_comes_back_unless_it_is_too_long() {
        let read = |key: &str| {
            let sent = format!("{{\"text\":\"x\",\"key\":\"{key}\"}}");
            serde_json::from_str::<Line>(&sent).map(|line| line.key)
        };
        let key = read("tab-1").unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"tab-1\"");
        let refused = read(&"k".repeat(41)).unwrap_err().to_string();
        assert!(
            refused.contains("at most 40 bytes, this one has 41"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn who_types_is_the_user_whatever_the_message_says() {
        let sent: Typing = serde_json::from_str("{\"user\":\"eve\",\"typing\":true}").unwrap();
        let Json(told) = typing(User::new("ada"), Json(sent)).await;
        assert_eq!((told.user.as_str(), told.typing), ("ada", true));
    }

    #[tokio::test]
    async fn private_messages_need_somebody_else_who_is_there() {
        let messaging = messaging().build().unwrap();
        let to = async |to: &str| {
            let (to, text) = (to.to_owned(), "psst".to_owned());
            let whispered = whisper(
                messaging.registry(),
                User::new("ada"),
                Json(Whisper {
                    to,
                    text,
                    key: Key::default(),
                }),
            );
            whispered.await.unwrap_err()
        };
        assert_eq!(to("ada").await, ChatError::ToOneself);
        assert_eq!(to("bob").await, ChatError::NobodyCalled("bob".to_owned()));
    }
}
