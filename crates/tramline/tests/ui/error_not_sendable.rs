//! A text as the error of a handler whose replies have a destination.

use tramline::{MessageRouter, message};

async fn say(line: String) -> Result<String, String> {
    match line.is_empty() {
        true => Err("say something".to_owned()),
        false => Ok(line),
    }
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/say", message(say).send_to("/topic/chat"));
}
