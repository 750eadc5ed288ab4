//! A handler whose future cannot go to another thread.

use std::rc::Rc;

use tramline::{MessageRouter, message};

async fn count(name: String) {
    let count = Rc::new(name.len());
    std::future::ready(()).await;
    drop(count);
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/count", message(count));
}
