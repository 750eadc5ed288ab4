//! What stands between publishers and subscribers.
//!
//! ```text
//!                    Publish { target, headers, body }
//!   publisher ─────────────────────────────────────────▶ Broker ──▶ Outbox ──▶ session's task ──▶ socket
//!                                                          ▲          one bounded queue each
//!   session ── SubscribeRequest { slot, pattern } ─────────┘
//! ```
//!
//! * [`Destination`], [`Pattern`] and [`Target`] say where messages go; [`Message`] is what goes there.
//! * [`Broker`] is the border: sessions know nothing of what is behind it, engines nothing of sockets and frames.
//! * [`EmbeddedBroker`] is the engine that needs no other process.
//! * [`Outbox`] is the bounded queue toward one session.
//!
//! * [`contract`] is what every broker promises, as tests.
//!
//! This crate does no IO, spawns nothing, reads no clock and logs nothing; it does not look into message bodies, and
//! knows of STOMP only what [`Headers`] and [`AckMode`]s are.

mod broker;
mod budget;
mod confirm;
mod consumer;
pub mod contract;
mod destination;
mod embedded;
mod message;
mod outbox;
mod registry;
mod session_id;
mod statistics;
mod sync;
mod timestamp;
mod window;

pub use tramline_stomp::{AckMode, Headers};

pub use self::broker::{
    AvailabilityWatcher, Broker, CommitError, DeliveryRef, OpenError, OpenSession, Outcome,
    PublishError, Published, Refused, Settle, SettleError, Source, SubscribeError,
    SubscribeRequest, Transaction,
};
pub use self::confirm::Confirm;
pub use self::destination::{Destination, DestinationError, Pattern, Separator, Target};
pub use self::embedded::{EmbeddedBroker, Prefix, QueueSettings, TopicSettings, WhenFull};
pub use self::message::{Message, Position, Publish};
pub use self::outbox::{Delivery, Ending, Lost, Outbox, Overflow, Taken};
pub use self::session_id::SessionId;
pub use self::statistics::{BrokerStatistics, Counts, DestinationKind, DestinationStatistics};
pub use self::timestamp::Timestamp;

/// Random bytes from the operating system.
#[expect(clippy::expect_used, reason = "documented on SessionId::random")]
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
