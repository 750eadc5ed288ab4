//! Handlers want state, and nobody gives it.

use tramline::policy::{Policy, permit};
use tramline::{EmbeddedBroker, MessageRouter, Messaging, State, message};

#[derive(Clone)]
struct Greeting(&'static str);

async fn greet(State(greeting): State<Greeting>, name: String) -> String {
    format!("{}, {name}!", greeting.0)
}

fn main() {
    let routes = MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings"));
    let _ = Messaging::builder()
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(permit()))
        .build();
}
