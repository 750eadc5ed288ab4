//! SockJS 0.3.3 without IO: what a path asks for, what goes on the wire, and one [`Session`] machine under every
//! transport.
//!
//! SockJS gives a browser the feel of a WebSocket where a WebSocket cannot pass: it frames messages as JSON text and
//! carries them over long-lived or repeated HTTP requests. This crate knows the protocol and nothing else: no sockets, no
//! HTTP types, no clock, no log. An HTTP server asks it in this order:
//!
//! ```text
//!   path below the prefix ── route() ──► Route::Info ────────────► Info::to_json()
//!                                   ├──► Route::Transport(xhr_send) ── parse_messages(body) ──► the application
//!                                   └──► Route::Transport(xhr, xhr_streaming)
//!                                             │ attach(now)
//!   application ── send() ──► Session ◄───────┤
//!                     ▲                       └─ poll_output(now) ──► chunks of the HTTP response
//!                     └── handle_timeout(now): heartbeats, expiry
//! ```
//!
//! # What it does
//!
//! - [`route`] and [`Transport`]: the URL scheme, and the facts of each transport (method, content type, `Allow`).
//! - [`Info`], [`GREETING`] and [`headers`]: the fixed answers and the header values around them.
//! - [`mod@frame`]: open, heartbeat, message and close frames, and the escaping that browsers need.
//! - [`parse_messages`]: what the client sends.
//! - [`Session`]: order, queueing, one receiver at a time, response limits, heartbeats, closing, expiry.
//!
//! # What it does not do
//!
//! - It does not decide who may connect: origins, users and "is this the same user as before?" belong to the endpoint.
//! - It keeps no table of sessions, and makes no random numbers: [`Info::entropy`] is a parameter.
//! - It does not resend what an HTTP response lost on its way. SockJS has no acknowledgements; see [`OnAbort`].
//! - The transports `eventsource`, `htmlfile`, `jsonp` and the iframe page are not here yet and answer
//!   [`Route::NotFound`]; `sockjs-client` falls back to the ones that are.
//!
//! # Example: a session over two polls
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//! use tramline_sockjs::{Attach, Config, Output, Session, Transport};
//!
//! let now = Instant::now();
//! let mut session = Session::new(Arc::new(Config::default()), now);
//! session.send(&[b"hello"]);
//!
//! let mut poll = |session: &mut Session| {
//!     let Attach::Accepted(receiver) = session.attach(Transport::Xhr, now) else { panic!("refused") };
//!     let mut body = Vec::new();
//!     assert_eq!(session.poll_output(receiver, now, &mut body), Output::End);
//!     body
//! };
//! assert_eq!(poll(&mut session), b"o\n");
//! assert_eq!(poll(&mut session), b"a[\"hello\"]\n");
//! ```

pub mod frame;
pub mod headers;

mod config;
mod info;
mod payload;
mod route;
mod session;
mod transport;

pub use config::{Config, OnAbort};
pub use info::{GREETING, Info};
pub use payload::{PayloadError, PayloadLimits, parse_messages};
pub use route::{MAX_ID_LEN, Route, route};
pub use session::{Attach, Output, ReceiverId, Refusal, Session, TimedOut};
pub use transport::Transport;
