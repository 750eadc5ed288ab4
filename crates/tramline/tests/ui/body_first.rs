//! An extractor that takes the body, before another.

use tramline::{Json, MessageRouter, Path, message};

async fn say(_: Json<String>, _: Path<u32>) {}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/rooms/{room}", message(say));
}
