//! The broker of a [Tramline](https://docs.rs/tramline) stack that is RabbitMQ, ActiveMQ or Artemis, reached by STOMP.
//!
//! An application that outgrows one process changes one line: `.broker(EmbeddedBroker::new()…)` becomes
//! `.broker(StompRelay::new([…])…)`. Handlers, policy and front ends stay as they are.
//!
//! # Example: two brokers, and a name for the nodes that share them
//!
//! ```
//! use tramline_broker::Broker;
//! use tramline_relay::StompRelay;
//!
//! let relay = StompRelay::new(["rabbit1:61613", "rabbit2:61613"])
//!     .topics("/topic")
//!     .queues("/queue")
//!     .login("tramline", "secret")
//!     .nodes("chat");
//! assert!(relay.errors().is_empty());
//! assert!(relay.capabilities().nodes);
//! ```
//!
//! # How it uses the broker
//!
//! * A few links for each node, whatever the number of sessions: one to publish, one for the subscriptions to topics, one
//!   for the nodes, one to try destinations. 10,000 subscribers of a topic are one subscription at the broker.
//! * A queue subscription has a credit of its own at the broker. What its session has not settled goes back as soon as the
//!   subscription ends. RabbitMQ and Artemis do that when the connection ends, so that each queue subscription has one
//!   there; at ActiveMQ they share one.
//! * A transaction has a link for itself while it is committed. It may settle deliveries of one queue subscription.
//! * A receipt means that the broker has confirmed. What was sent when a link was lost is `OutcomeUnknown`, and never sent
//!   again.
//! * The first use of a destination goes over a link of its own, so that a broker that refuses it by closing the link
//!   disturbs nobody else.
//! * When the broker is away, sessions stay. Subscriptions are made again when it is back, and their clients receive a notice
//!   that they may have missed messages; publishers wait for [`StompRelay::wait_time`], then get `BrokerUnavailable`.
//!
//! # What differs from the embedded broker
//!
//! * The order is that of each publisher; two publishers may be seen in different orders by different subscribers.
//! * The broker's access rules see the relay's login, not the client's user. The stack's policy decides about clients.
//! * A NACK goes back to the queue at RabbitMQ. ActiveMQ would make a dead letter of it and Artemis would drop it, so there the
//!   relay delivers the message again itself, to the same subscription.
//! * Artemis counts credit in bytes: it may reserve more messages for a consumer than its prefetch, which wait in the relay.
//! * Messages that were delivered again are marked; how often is known for those that went back from this node. Artemis does
//!   not mark what another node gave back.
//!
//! TLS to the broker is not offered: use a network that you trust, or a proxy.

mod content;
mod engine;
mod envelope;
mod kind;
mod link;
mod names;
mod options;
mod relay;

pub use self::kind::BrokerKind;
pub use self::relay::StompRelay;
