//! A session's value that nobody knows how to begin with.

use tramline::{MessageRouter, Session, message};

struct Sent(u32);

async fn count(sent: Session<Sent>, _: String) {
    let _ = sent.0;
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/count", message(count));
}
