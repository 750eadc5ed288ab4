//! Send a name, everyone sees the greeting.
//!
//! In the gallery with its page (`cargo run --release`), or alone: `cargo run -p tramline-example-greeting`.

use tramline::policy::{Policy, deny, permit};
use tramline::{EmbeddedBroker, MessageRouter, Messaging, MessagingBuilder, message};

async fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

/// Everything that clients find behind the endpoint.
pub fn messaging() -> MessagingBuilder {
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/greetings", permit())
        .on_subscribe("/user/queue/errors", permit())
        .otherwise(deny()); // above all: clients do not write to /topic/** themselves

    Messaging::builder()
        .name("greeting")
        .routes(MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings")))
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let messaging = messaging().build()?;
    let app = axum::Router::new().nest_service("/ws", messaging.endpoint().with_sockjs());
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?;
    Ok(())
}
