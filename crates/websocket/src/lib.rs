//! RFC 6455 and RFC 7692 as a state machine: bytes in, events and bytes out.
//!
//! [`Connection`] is one end of a WebSocket after its opening handshake, in either [`Role`]. It owns no socket, reads
//! no clock, starts no task and logs nothing: its driver reads bytes, lends them to [`receive`](Connection::receive),
//! acts on each [`Event`], and writes what [`send`](Connection::send) and [`poll_transmit`](Connection::poll_transmit)
//! append to a buffer. So one machine serves a server task, a client, a test without sockets and a fuzzer.
//!
//! # Example: two ends, no socket
//!
//! ```
//! use tramline_websocket::{Config, Connection, Event, OpCode, Role};
//!
//! let mut server = Connection::new(Role::Server, Config::default());
//! let mut client = Connection::new_client(Config::default(), 7);
//!
//! let mut wire = Vec::new();
//! client.send(OpCode::Text, "Grüezi".as_bytes(), &mut wire);
//! client.ping(b"still there?", &mut wire);
//!
//! let mut input = wire.as_mut_slice();
//! assert_eq!(server.receive(&mut input)?, Some(Event::Text("Grüezi".into())));
//! assert_eq!(server.receive(&mut input)?, Some(Event::Ping("still there?".into())));
//! assert_eq!(server.receive(&mut input)?, None);
//!
//! // The machine has queued the server's pong.
//! let mut answer = Vec::new();
//! assert!(server.poll_transmit(&mut answer));
//! assert_eq!(client.receive(&mut answer.as_mut_slice())?, Some(Event::Pong("still there?".into())));
//! # Ok::<(), tramline_websocket::Error>(())
//! ```
//!
//! # What it promises
//!
//! - **Strict.** Every rule of RFC 6455 about frames, fragments, masks, lengths, UTF-8 and close codes is enforced. A
//!   violation is one precise [`Error`], and the Close frame that answers it is queued.
//! - **Bounded.** A frame, a message and its number of fragments have limits in [`Config`], which are checked against
//!   the header before a byte is allocated. Memory grows with what the peer has sent, not with what it announces.
//! - **Small.** An idle connection is one value of about a hundred bytes and owns no heap.
//! - **Compression if negotiated.** [`Deflate`] negotiates permessage-deflate and documents its cost; [`deflate_tail`]
//!   compresses a message to many receivers once.
//! - **One copy.** A frame that is whole in the input is unmasked in place, checked once and copied once.
//!
//! # What it does not do
//!
//! - HTTP: the opening handshake belongs to an HTTP library, which uses [`accept_key`], [`is_valid_key`],
//!   [`client_key`] and [`Deflate`].
//! - Time: the driver, which has a clock, sends pings and enforces timeouts and close deadlines.
//! - Extensions other than permessage-deflate: a reserved bit that they would set is an error.
//! - Sending fragments: a message is sent as one frame; received ones may have any number of frames within the limits.

mod close;
mod config;
mod connection;
mod deflate;
mod error;
mod frame;
mod handshake;
mod mask;
mod text;

pub use crate::close::{CloseCode, CloseFrame};
pub use crate::config::{Config, Role};
pub use crate::connection::{Connection, ConnectionState, Event};
pub use crate::deflate::{Agreement, Deflate, NegotiationError, deflate_tail, write_deflated_head};
pub use crate::error::Error;
pub use crate::frame::{MAX_HEAD, OpCode, write_head};
pub use crate::handshake::{accept_key, client_key, is_valid_key};
pub use crate::mask::apply_mask;
