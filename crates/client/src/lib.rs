//! An async STOMP client: subscriptions are streams, sends may wait for their receipt.
//!
//! [`Client::connect`] opens a WebSocket, [`Client::over`] speaks plain STOMP over a stream that
//! is open. Each connection is one task, which reads, writes, keeps heart-beats and says goodbye;
//! [`Client`] is a handle to it that clones cheaply.
//!
//! # Example: greet, and be greeted
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
//! - **No failure is silent.** When a connection ends, every pending await and every
//!   subscription is told the same [`Error`], which names who did what.
//! - **Bounded, in bytes.** Bodies, what a subscription holds unread and what waits to be sent
//!   have limits on [`Connect`]. Full inboxes follow their [`Overflow`] policy, and a full send
//!   queue makes sends wait.
//! - **In order.** What one task sends arrives in its order; what a subscription receives is in
//!   the server's.
//!
//! # What it does not do
//!
//! - TLS and name resolution other than the system's: bring a stream, see [`Connect::over`].
//! - Reconnect: [`Client::ended`] and the streams say when, and why.
//! - Acknowledge: subscriptions are `ack:auto`, the default of STOMP.

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

/// What the builders turn into when they are awaited.
type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;
