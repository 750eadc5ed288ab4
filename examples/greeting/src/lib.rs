//! Send a name, everyone sees the greeting.
//!
//! With the gallery: `cargo run --release`, then the demo "greeting". Alone: `cargo run -p tramline-example-greeting`.

pub mod json;

use tramline::policy::{Policy, deny, permit};
use tramline::{BuildError, EmbeddedBroker, MessageRouter, Messaging, message};

async fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

/// Handler, broker and policy: what the page `page/app.js` talks to at `/ws`.
///
/// # Errors
///
/// None: the parts fit together.
pub fn messaging() -> Result<Messaging, BuildError> {
    let routes = MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings"));

    Messaging::builder()
        .name("greeting")
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy())
        .build()
}

/// What the page needs, and nothing else: above all, clients do not write to `/topic/**` themselves.
fn policy() -> Policy {
    Policy::builder()
        .on_connect(permit())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/greetings", permit())
        .on_subscribe("/user/queue/errors", permit())
        .otherwise(deny())
}
