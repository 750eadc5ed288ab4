//! An argument that nothing makes.

use tramline::{MessageRouter, message};

struct Order;

async fn place(_: Order) {}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/orders", message(place));
}
