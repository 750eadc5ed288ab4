//! A text without a destination.

use tramline::{MessageRouter, message};

async fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/hello", message(greet));
}
