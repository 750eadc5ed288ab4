//! The `Path` of axum in place of ours, in front of the body.

use axum::extract::Path;
use tramline::{MessageRouter, message};

async fn say(Path(room): Path<u32>, line: String) -> String {
    format!("{room}: {line}")
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/rooms/{room}", message(say).send_to("/topic/said"));
}
