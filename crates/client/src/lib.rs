//! An async STOMP client: subscriptions are streams, sends may wait for their receipt.
//!
//! [`Client::connect`] opens a WebSocket, [`Client::over`] speaks plain STOMP over an open stream. Each connection is
//! one task, which reads, writes, sends heart-beats and disconnects; [`Client`] is a handle to it that clones cheaply.
//!
//! # Example: send a greeting and receive one
//!
//! ```no_run
//! use tramline_client::{Client, Error};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::connect("ws://localhost:8080/ws").login("ann", "secret").await?;
//! let mut greetings = client.subscribe("/topic/greetings").await?; // resolves once it is live
//! client.send("/app/hello", "Ann").receipt().await?; // resolves on RECEIPT
//! if let Some(greeting) = greetings.next().await {
//!     assert_eq!(greeting?.text()?, "Hello, Ann!");
//! }
//! client.disconnect().await?; // waits for its receipt and the closing handshake
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - **No failure is silent.** When a connection ends, every pending await and every subscription receives the same
//!   [`Error`], which says who caused it.
//! - **Bounded, in bytes.** [`Connect`] has limits on bodies, unread messages of a subscription and queued sends. Full
//!   inboxes follow their [`Overflow`] policy, and a full send queue makes sends wait.
//! - **In order.** Frames of one task arrive in its order; a subscription receives messages in the server's order.
//!
//! # What it does not do
//!
//! - TLS and name resolution other than the system's: bring a stream, see [`Connect::over`].
//! - Reconnecting: [`Client::ended`] and the streams report the end, and its reason.
//! - Acknowledging: subscriptions are `ack:auto`, the default of STOMP.

mod client;
mod connect;
mod driver;
mod error;
mod handle;
mod handshake;
mod inbox;
mod link;
mod message;
mod receipts;
mod subscription;

pub use tramline_stomp::{Connected, Headers, Version};

pub use self::{
    client::{Client, SendMessage},
    connect::Connect,
    error::{Error, ProtocolError},
    inbox::Overflow,
    message::Message,
    subscription::{Subscribe, Subscription},
};

/// The future of an awaited builder.
type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;
