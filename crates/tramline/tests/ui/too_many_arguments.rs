//! One argument more than there may be.

use tramline::{
    Destination, Handshake, Headers, MessageRouter, Presence, Publisher, Registry, SessionId, User,
    message,
};

async fn all(
    _: User,
    _: SessionId,
    _: Handshake,
    _: Headers,
    _: Destination,
    _: Publisher,
    _: Registry,
    _: Presence,
    _: String,
) {
}

fn main() {
    let _: MessageRouter = MessageRouter::new().route("/all", message(all));
}
