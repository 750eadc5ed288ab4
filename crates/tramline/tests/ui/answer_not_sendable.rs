//! A subscribe handler whose answer is no payload.

use tramline::{MessageRouter, subscribe};

struct Room;

async fn room() -> Room {
    Room
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/rooms/{room}", subscribe(room));
}
