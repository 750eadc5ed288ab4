//! Send a name, everyone sees the greeting.
//!
//! Run it with `cargo run -p tramline-example-greeting`.

use tramline::policy::{Policy, deny, permit};
use tramline::{BuildError, EmbeddedBroker, MessageRouter, Messaging, message};

async fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

/// Handler, broker and policy: what the page at `/greeting/` talks to.
pub fn messaging() -> Result<Messaging, BuildError> {
    let routes = MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings"));

    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/greetings", permit())
        .on_subscribe("/user/queue/errors", permit())
        .otherwise(deny()); // above all: clients do not write to /topic/** themselves

    Messaging::builder()
        .name("greeting")
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy)
        .build()
}
