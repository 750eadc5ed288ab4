//! One argument more than there may be.

use tramline::broker::Destination;
use tramline::extract::Headers;
use tramline::login::Handshake;
use tramline::presence::Presence;
use tramline::{MessageRouter, Publisher, Registry, SessionId, User, message};

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
