//! A body's type that serde cannot read.

use tramline::{Json, MessageRouter, message};

struct Hello {
    name: String,
}

async fn greet(Json(hello): Json<Hello>) -> String {
    hello.name
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings"));
}
