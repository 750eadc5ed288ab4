//! Rooms, who is in them and who is typing, private messages.
//!
//! In the gallery with its page (`cargo run --release`), or alone: `cargo run -p tramline-example-chat`.
//!
//! | Client | Destination | Means |
//! |---|---|---|
//! | SUBSCRIBE | `/app/rooms` | which rooms there are |
//! | SUBSCRIBE | `/app/rooms/{room}` | who is in a room, and its last 50 lines |
//! | SUBSCRIBE | `/topic/rooms/{room}` | what is said from now on; also: being in the room |
//! | SUBSCRIBE | `/topic/rooms/{room}/presence` | who joins and leaves |
//! | SUBSCRIBE | `/topic/rooms/{room}/typing` | who is typing |
//! | SUBSCRIBE | `/user/queue/private` | private messages, one's own included |
//! | SUBSCRIBE | `/user/queue/errors` | what was wrong with a message |
//! | SEND | `/app/rooms/{room}/say` | `{"text":"hello","key":"1"}`; the key, if any, comes back with the line |
//! | SEND | `/app/rooms/{room}/typing` | `{"typing":true}` |
//! | SEND | `/app/private` | `{"to":"ada","text":"hello","key":"2"}` |

mod rooms;

use axum::Router;
use serde::{Deserialize, Serialize};
use tramline::policy::{Policy, authenticated, deny, permit};
use tramline::presence::{Presence, Presences};
use tramline::reply::{Effects, IntoEffects};
use tramline::{
    EmbeddedBroker, Json, MessageRouter, Messaging, MessagingBuilder, Path, Registry, Rejection,
    State, ToUser, User, message, subscribe,
};

use rooms::{Key, LineText, Rooms, Said, now};

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
    let text = LineText::new(line.text)?;
    rooms.append(&room, user.name(), text, line.key).map(Json)
}

#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Typing {
    #[serde(skip_deserializing)]
    user: String,
    /// False when what was typed is sent or deleted. Pages forget a `true` after some seconds.
    typing: bool,
}

async fn typing(user: User, Json(typing): Json<Typing>) -> Json<Typing> {
    let user = user.name().to_owned();
    Json(Typing { user, ..typing })
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
    lines: Vec<Said>,
}

async fn welcome(
    State(rooms): State<Rooms>,
    Path(room): Path<String>,
    presence: Presence,
) -> Result<Json<Welcome>, ChatError> {
    let lines = rooms.last(&room)?;
    let members = presence.members(&format!("/topic/rooms/{room}"));
    Ok(Json(Welcome { members, lines }))
}

/// Everything that clients find behind the endpoint.
///
pub fn messaging() -> MessagingBuilder {
    let routes = MessageRouter::new()
        .route("/rooms", subscribe(names))
        .route("/rooms/{room}", subscribe(welcome))
        .route(
            "/rooms/{room}/say",
            message(say).send_to("/topic/rooms/{room}"),
        )
        .route(
            "/rooms/{room}/typing",
            message(typing).send_to("/topic/rooms/{room}/typing"),
        )
        .route("/private", message(whisper))
        .with_state(Rooms::new(["lobby", "music", "rust"]));

    let policy = Policy::builder()
        .on_connect(authenticated())
        .on_message("/app/**", permit())
        .on_subscribe("/app/**", permit())
        .on_subscribe("/topic/rooms/*", permit())
        .on_subscribe("/topic/rooms/*/presence", permit())
        .on_subscribe("/topic/rooms/*/typing", permit())
        .on_subscribe("/user/queue/private", permit())
        .on_subscribe("/user/queue/errors", permit())
        .otherwise(deny()); // above all: clients do not write to /topic/** or to other users themselves

    Messaging::builder()
        .name("chat")
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .presence(Presences::new().announce("/topic/rooms/{room}", "/topic/rooms/{room}/presence"))
        .policy(policy)
}

/// The endpoint that the page talks to. Who a client is, a layer above has to say: [`tramline_example_login`] in the demos.
pub fn router(messaging: &Messaging) -> Router {
    Router::new().nest_service("/chat/ws", messaging.endpoint().with_sockjs())
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn what_is_said_is_there_for_who_joins() {
        let State(rooms) = lobby();
        let Json(said) = say(
            State(rooms.clone()),
            path("lobby"),
            User::new("ada"),
            line("hello"),
        )
        .await
        .unwrap();
        assert_eq!((said.id, said.from.as_str()), (1, "ada"));

        let presence = messaging().build().unwrap().presence();
        let Json(welcome) = welcome(State(rooms), path("lobby"), presence)
            .await
            .unwrap();
        assert_eq!(welcome.lines, [said]);
        assert!(welcome.members.is_empty());
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
