//! An extractor that is always there, as an `Option`.

use tramline::{MessageRouter, Path, message};

async fn say(_: Option<Path<u32>>, _: String) {}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/rooms/{room}", message(say));
}
