//! A reply that is no payload.

use tramline::{MessageRouter, message};

struct Order;

async fn place() -> Order {
    Order
}

fn main() {
    let _: MessageRouter =
        MessageRouter::new().route("/orders", message(place).send_to("/topic/orders"));
}
