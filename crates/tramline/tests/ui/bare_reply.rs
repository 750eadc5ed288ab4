//! A reply without a destination.

use tramline::{Json, MessageRouter, message};

async fn greet(name: String) -> Json<String> {
    Json(format!("Hello, {name}!"))
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/hello", message(greet));
}
