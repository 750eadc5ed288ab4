//! A function that is not async.

use tramline::{MessageRouter, message};

fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings"));
}
