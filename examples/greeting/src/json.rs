//! The same greeting in JSON, as Spring's guide has it: an application of its own, with its own broker.

use serde::{Deserialize, Serialize};
use tramline::policy::{Policy, deny, permit};
use tramline::{EmbeddedBroker, Json, MessageRouter, Messaging, MessagingBuilder, message};

#[derive(Deserialize)]
struct Hello {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    content: String,
}

async fn greet(Json(hello): Json<Hello>) -> Json<Greeting> {
    Json(Greeting {
        content: format!("Hello, {}!", hello.name),
    })
}

/// What the page `page-json/app.js` talks to at `/gs-guide-websocket`.
pub fn messaging() -> MessagingBuilder {
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/greetings", permit())
        .on_subscribe("/user/queue/errors", permit())
        .otherwise(deny());

    Messaging::builder()
        .name("greeting-json")
        .routes(MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings")))
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy)
}
