//! The hub of a node, and the brokers behind it.
//!
//! ```text
//!                                  Hub                                    Broker
//!   session ── SubscribeRequest ─▶ sessions, subscriptions ── sources ──▶ embedded, or far away
//!   publisher ─────── Publish ───▶ ─────────────────────────── batches ─▶ queues, transactions
//!   session ◀─ Outbox ──────────── fan-out, windows ◀────────── deliver ─ what was published
//! ```
//!
//! * [`Destination`], [`Pattern`] and [`Target`] address a [`Message`].
//! * [`Hub`] has everything local to a node, shared by all engines: sessions and users, subscriptions and fan-out,
//!   acknowledgement windows, counters. Sessions call nothing else.
//! * [`Broker`] is the interface to an engine, which does not know of sessions' tasks, frames and sockets, and delivers
//!   through [`LocalHub`].
//! * [`EmbeddedBroker`] is the engine that needs no other process.
//! * [`Outbox`] is the bounded queue toward one session.
//! * [`contract`] tests the guarantees of every broker.
//!
//! This crate does no IO, spawns nothing, reads no clock and logs nothing. It does not look into message bodies, and
//! knows of STOMP only [`Headers`] and [`AckMode`].

mod broker;
mod confirm;
pub mod contract;
mod destination;
mod embedded;
mod errors;
mod expiry;
mod feed;
mod hub;
mod message;
mod request;
mod selector;
mod session_id;
mod statistics;
mod sync;
mod timestamp;

pub use tramline_stomp::{AckMode, Headers};

pub use self::broker::{Broker, Capabilities, Commit, Order, Settlement};
pub use self::confirm::{Confirm, Promise, Unanswered};
pub use self::destination::{Destination, DestinationError, Pattern, Separator, Target};
pub use self::embedded::{
    Appended, Change, Durability, EmbeddedBroker, Fetched, FetchedMessage, Journal, JournalError,
    Key, QueueSettings, RecoveredQueue, SubscriptionSettings, Ticket, WhenBehind, WhenFetched,
    WhenFull, WhenStored,
};
pub use self::errors::{
    CommitError, OpenError, PublishError, Refused, SettleError, StartError, SubscribeError,
    UnsubscribeError,
};
pub use self::feed::{Feed, Source, Token};
pub use self::hub::{
    Activation, Command, Consumer, Control, Delivery, Ending, History, Hold, Holder, Hub,
    HubSettings, LocalHub, Lost, Member, MemberDescription, MemberEvent, NameQuota, NodeId,
    Observer, Outbox, Overflow, Prefix, Resource, SessionContext, ShareUsedUp, Shares,
    SubscriptionDescription, Taken, TopicSettings,
};
pub use self::message::{
    DeadLetterReason, Gap, InvalidPosition, Message, Position, Publish, is_dead_letter_header,
};
pub use self::request::{
    Address, DeliveryRef, DurableName, OpenSession, OptionSupport, Outcome, Past, Published,
    Settle, Start, SubscribeOptions, SubscribeRequest, Subscribed, Transaction,
};
pub use self::selector::{Properties, Property, Selector, SelectorError};
pub use self::session_id::{InvalidId, SessionId};
pub use self::statistics::{
    BrokerStatistics, Count, Counts, DestinationKind, DestinationStatistics, Meter,
};
pub use self::timestamp::Timestamp;

/// Random bytes from the operating system.
#[expect(clippy::expect_used, reason = "documented on SessionId::random")]
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
