//! An async STOMP client: subscriptions are streams, sends may wait for their receipt.
//!
//! [`Client::connect`] speaks STOMP over TCP, WebSocket or SockJS, with or without TLS; [`Client::over`] over a stream of
//! yours. Each connection is
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
//! # Where to look
//!
//! | For | See |
//! |---|---|
//! | URLs, TLS, logins, limits | [`Connect`], [`Tls`], [`Credentials`] |
//! | connections that are opened again | [`Reconnect`], [`Client::states`] |
//! | acknowledgement | [`Subscribe::ack`], [`Message::ack`], [`Transaction`] |
//! | requests and replies | [`Client::request`], [`Client::reply`] |
//! | JSON | [`Client::subscribe_json`], [`Client::send_json`] |
//! | pipelines | [`Subscription::process`], [`Client::sink`] |
//! | WebSocket and SockJS without STOMP | [`Socket`] |
//!
//! # What it does not do
//!
//! - Name resolution other than the system's, and proxies: bring a function, see [`Connect::dial`].

mod address;
mod attempt;
mod client;
mod connect;
mod credentials;
mod driver;
mod error;
mod handle;
mod handshake;
mod inbox;
#[cfg(feature = "json")]
mod json;
mod link;
mod message;
mod process;
mod receipts;
mod reconnect;
mod replies;
mod request;
mod send;
mod sink;
mod socket;
mod sockjs;
mod state;
mod stream;
mod subscription;
#[cfg(feature = "tls")]
mod tls;
mod transaction;

#[cfg(feature = "json")]
pub use self::json::{JsonSubscription, SubscribeJson, Typed};
pub use tramline_stomp::{AckMode, Connected, Headers, Version};

pub use self::{
    client::Client,
    connect::Connect,
    credentials::Credentials,
    error::{Error, ProtocolError},
    inbox::Overflow,
    message::{Message, Settle},
    process::{Failed, HandlerError, Process, Processed},
    reconnect::Reconnect,
    request::Request,
    send::SendMessage,
    sink::{MessageSink, Outgoing},
    socket::{ConnectSocket, Socket, SocketMessage},
    state::{State, States},
    subscription::{Subscribe, Subscription},
    transaction::Transaction,
};

#[cfg(feature = "tls")]
pub use self::tls::Tls;

/// The future of an awaited builder.
type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;
