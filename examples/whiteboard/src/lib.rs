//! A drawing by several people: strokes that nobody misses, and cursors of which only the latest matter.
//!
//! In the gallery with its page (`cargo run --release`), or alone: `cargo run -p tramline-example-whiteboard`.
//!
//! | Client | Destination | Means |
//! |---|---|---|
//! | SUBSCRIBE | `/topic/board/strokes` | what is drawn and undone, in one order; `resume-from:0-0` for the picture so far |
//! | SUBSCRIBE | `/topic/board/cursors` | where the others are |
//! | SUBSCRIBE | `/user/queue/errors` | what was wrong with a message |
//! | SEND | `/app/board/stroke` | `{"stroke":"a1","part":0,"colour":2,"points":[[10,10],[12,11]]}` |
//! | SEND | `/app/board/undo` | `{"stroke":"a1"}`: takes away that stroke of the sender's |
//! | SEND | `/app/board/cursor` | `{"at":[10,10]}` |

mod drawing;

use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tramline::broker::{History, Overflow, TopicSettings};
use tramline::policy::{Policy, authenticated, deny, permit};
use tramline::reply::IntoReply;
use tramline::{EmbeddedBroker, Json, MessageRouter, Messaging, MessagingBuilder, User, message};

use drawing::{Part, Point, Stroke};

/// Parts of strokes that the board keeps, for a day at most; the oldest go first.
const KEPT_PARTS: usize = 10_000;
const KEPT_TIME: Duration = Duration::from_secs(24 * 3600);

/// What everybody receives, in one order.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Change {
    Drawn {
        user: String,
        #[serde(flatten)]
        part: Part,
    },
    Undone {
        user: String,
        #[serde(flatten)]
        stroke: Stroke,
    },
}

async fn draw(user: User, Json(part): Json<Part>) -> Json<Change> {
    let user = user.name().to_owned();
    Json(Change::Drawn { user, part })
}

async fn undo(user: User, Json(stroke): Json<Stroke>) -> Json<Change> {
    let user = user.name().to_owned();
    Json(Change::Undone { user, stroke })
}

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    #[serde(skip_deserializing)]
    user: String,
    at: Point,
}

/// The header says which cursors a later one replaces, for whoever is too slow for all of them.
async fn point(user: User, Json(cursor): Json<Cursor>) -> impl IntoReply {
    let user = user.name().to_owned();
    Json(Cursor {
        user: user.clone(),
        ..cursor
    })
    .with_header("user", user)
}

/// What `broker` has to carry for the board: it is the board's memory too.
pub fn broker(broker: EmbeddedBroker) -> EmbeddedBroker {
    let strokes = History::messages(KEPT_PARTS).time(KEPT_TIME);
    let cursors = TopicSettings::default().overflow(Overflow::latest("user"));
    broker
        .topics("/topic")
        .history("/topic/board/strokes", strokes)
        .topic_settings("/topic/board/cursors", cursors)
}

/// Everything that clients find behind the endpoint.
pub fn messaging() -> MessagingBuilder {
    let routes = MessageRouter::new()
        .route(
            "/board/stroke",
            message(draw).send_to("/topic/board/strokes"),
        )
        .route("/board/undo", message(undo).send_to("/topic/board/strokes"))
        .route(
            "/board/cursor",
            message(point).send_to("/topic/board/cursors"),
        );

    let policy = Policy::builder()
        .on_connect(authenticated())
        .on_message("/app/board/**", permit())
        .on_subscribe("/topic/board/*", permit())
        .on_subscribe("/user/queue/errors", permit())
        .otherwise(deny()); // above all: clients do not draw in other users' names

    Messaging::builder()
        .name("whiteboard")
        .routes(routes)
        .broker(broker(EmbeddedBroker::new()))
        .policy(policy)
}

/// The endpoint that the page talks to. Who a client is, a layer above has to say: [`tramline_example_login`] in the demos.
pub fn router(messaging: &Messaging) -> Router {
    Router::new().nest_service("/whiteboard/ws", messaging.endpoint().with_sockjs())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tramline::test::TestMessaging;

    use super::*;

    fn part(stroke: &str, part: u32) -> Value {
        json!({ "stroke": stroke, "part": part, "colour": 1, "points": [[10, 20], [11, 21]] })
    }

    #[tokio::test(start_paused = true)]
    async fn who_joins_receives_the_picture_and_then_what_is_drawn() {
        let server = TestMessaging::new(messaging().build().unwrap());
        let ada = server.connect_as("ada").await;
        ada.send("/app/board/stroke", Json(part("a", 0))).await;
        ada.send("/app/board/stroke", Json(part("a", 1))).await;
        ada.send("/app/board/undo", Json(json!({ "stroke": "a" })))
            .await;

        let bob = server.connect_as("bob").await;
        let mut strokes = bob
            .subscribe_with("/topic/board/strokes", |how| {
                how.header("resume-from", "0-0")
            })
            .await;
        bob.send("/app/board/stroke", Json(part("b", 0))).await;
        for expected in [
            json!({ "event": "drawn", "user": "ada", "stroke": "a", "part": 0, "colour": 1, "points": [[10, 20], [11, 21]] }),
            json!({ "event": "drawn", "user": "ada", "stroke": "a", "part": 1, "colour": 1, "points": [[10, 20], [11, 21]] }),
            json!({ "event": "undone", "user": "ada", "stroke": "a" }),
            json!({ "event": "drawn", "user": "bob", "stroke": "b", "part": 0, "colour": 1, "points": [[10, 20], [11, 21]] }),
        ] {
            assert_eq!(strokes.next_json::<Value>().await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_on_the_board_is_refused_with_its_limit() {
        let server = TestMessaging::new(messaging().build().unwrap());
        let ada = server.connect_as("ada").await;
        let many = vec![[1, 1]; 201];
        for (field, value, expected) in [
            ("stroke", json!(""), "1 to 40 bytes, this one has 0"),
            ("colour", json!(6), "colours are 0 to 5, not 6"),
            (
                "points",
                json!([[1601, 0]]),
                "1601,0 is not on the board, which ends at 1600,1000",
            ),
            (
                "points",
                json!(many),
                "a part has 1 to 200 points, this one has 201",
            ),
        ] {
            let mut wrong = part("a", 0);
            wrong[field] = value;
            ada.send("/app/board/stroke", Json(wrong)).await;
            let rejection = ada.expect_rejection().await;
            assert!(rejection.error.contains(expected), "{}", rejection.error);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cursor_is_its_user_s_whatever_the_message_says() {
        let server = TestMessaging::new(messaging().build().unwrap());
        let ada = server.connect_as("ada").await;
        let mut cursors = ada.subscribe("/topic/board/cursors").await;
        ada.send(
            "/app/board/cursor",
            Json(json!({ "user": "eve", "at": [3, 4] })),
        )
        .await;
        assert_eq!(
            cursors.next_json::<Value>().await,
            json!({ "user": "ada", "at": [3, 4] })
        );
    }
}
