//! STOMP 1.0, 1.1 and 1.2 without IO: bytes and `now` in, events and bytes out.
//!
//! The crate opens no socket, reads no clock, spawns nothing, logs nothing, and does not know what a broker is. Drive
//! it from any runtime, or from a test with a simulated clock.
//!
//! ```text
//!              Bytes ──▶ Decoder ──▶ Frame ──▶ ServerConnection ──▶ ServerEvent
//!                                              ClientConnection     ClientEvent
//!              Bytes ◀── Frame::encode ◀─────── accept, receipt, send, subscribe, …
//! ```
//!
//! - [`Decoder`] and [`Frame::encode`] are the codec: escapes per [`Version`], [`Limits`] on everything that a peer
//!   sends, no copy of a frame that arrives whole.
//! - [`ServerConnection`] and [`ClientConnection`] are the two sides of a session: versions, order of frames,
//!   subscription ids, [`AckMode`]s, transactions, receipts, [`HeartBeat`]s.
//! - [`encode_message_tail`] lets all subscribers of a destination share one encoded message.
//!
//! Errors are named by cause: [`DecodeError`] and [`PeerViolation`] are the peer's fault, [`PeerIncompatible`] is a
//! valid request that this side does not support. Nothing a peer sends makes this crate panic.
//!
//! Where Spring's codec and the specification differ, this crate follows the specification. Where the specification
//! leaves room, the item that makes a choice documents it.
//!
//! # Example: both sides, without a network
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use tramline_stomp::{
//!     ClientConfig, ClientConnection, ClientEvent, Headers, ServerConfig, ServerConnection,
//!     ServerEvent,
//! };
//!
//! let now = Instant::now();
//! let mut client = ClientConnection::new(ClientConfig::new("example"), now);
//! let mut server = ServerConnection::new(Arc::new(ServerConfig::default()), now);
//!
//! client.send("/app/hello", Headers::new(), "Ann", None);
//! server.receive(client.poll_transmit().unwrap(), now);
//! assert!(matches!(server.poll_event(), Some(ServerEvent::Connect(_))));
//!
//! server.accept(Some("ann"), None, now);
//! client.receive(server.poll_transmit().unwrap(), now);
//! let Some(ClientEvent::Connected(connected)) = client.poll_event() else { panic!() };
//! assert_eq!(connected.user_name.as_deref(), Some("ann"));
//!
//! // Frames that were sent early have waited for the session.
//! server.receive(client.poll_transmit().unwrap(), now);
//! let Some(ServerEvent::Send(send)) = server.poll_event() else { panic!() };
//! assert_eq!(send.body, "Ann");
//! ```

pub use bytes::Bytes;
pub use bytestring::ByteString;

pub use self::{
    ack_mode::{AckMode, InvalidAckMode},
    client::{
        ClientConfig, ClientConnection, ClientError, ClientEvent, Connected, Delivery, Message,
        NotAcknowledgeable,
    },
    command::Command,
    decoder::{DecodeError, Decoded, Decoder, Limits},
    error_reply::ErrorReply,
    frame::{Frame, encode_message_tail, is_message_header},
    headers::Headers,
    heart_beat::{HeartBeat, InvalidHeartBeat, Negotiated, READ_TOLERANCE},
    server::{
        Acknowledge, Connect, DeliveryId, Disconnect, PeerIncompatible, PeerViolation, Send,
        ServerConfig, ServerConnection, ServerError, ServerEvent, Subscribe, Transaction,
        Unsubscribe,
    },
    version::{UnknownVersion, Version},
};

mod ack_mode;
mod client;
mod command;
mod decoder;
mod error_reply;
mod escape;
mod frame;
mod headers;
mod heart_beat;
mod outgoing;
mod server;
mod text;
mod version;
