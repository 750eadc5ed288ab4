//! The `Json` of axum in place of ours.

use axum::Json;
use tramline::{MessageRouter, message};

#[derive(serde::Deserialize)]
struct Hello {
    name: String,
}

async fn greet(Json(hello): Json<Hello>) -> String {
    hello.name
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings"));
}
