//! An error of the application that says nothing to its client.

use tramline::{MessageRouter, To, message};

struct Muted;

async fn say(line: String) -> Result<To<String>, Muted> {
    if line.is_empty() {
        return Err(Muted);
    }
    Ok(To::topic("/topic/chat", line))
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/say", message(say));
}
