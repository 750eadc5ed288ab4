//! SockJS without IO: routing of paths, framing, and one [`SockJsSession`] machine under every transport.
//!
//! SockJS emulates a WebSocket where a WebSocket cannot pass: it frames messages as JSON text and carries them over
//! long-lived or repeated HTTP requests. This crate implements only the protocol: no sockets, no HTTP types, no clock,
//! no log. An HTTP server uses it in this order:
//!
//! ```text
//!   path below the prefix ── route() ──► Route::Info ────────────► Info::to_json()
//!                                   ├──► Route::Iframe ──────────► IframePage
//!                                   ├──► Route::Transport(xhr_send) ── parse_messages(body) ──► the application
//!                                   └──► Route::Transport(xhr, xhr_streaming, …)
//!                                             │ receive(query), attach(now)
//!   application ── send() ──► SockJsSession ◄─┤
//!                     ▲                       └─ poll_output(now) ──► chunks of the HTTP response
//!                     └── handle_timeout(now): heartbeats, expiry
//! ```
//!
//! # What it does
//!
//! - [`route`] and [`Transport`]: the URL scheme, and the properties of each transport (method, content type, `Allow`).
//! - [`Info`], [`GREETING`], [`IframePage`] and [`headers`]: the fixed answers and their headers.
//! - [`mod@frame`]: open, heartbeat, message and close frames, and the escaping that browsers need.
//! - [`Receive`]: the framing of each transport, with checked callbacks.
//! - [`parse_messages`], [`form_field`]: the client's messages.
//! - [`SockJsSession`]: order, queueing, one receiver at a time, response limits, heartbeats, closing, expiry.
//!
//! # What it does not do
//!
//! - It does not decide who may connect: the endpoint checks origins, users and "is this the same user as before?".
//! - It keeps no table of sessions, and makes no random numbers: [`Info::entropy`] is a parameter.
//! - It does not resend data lost with an HTTP response. SockJS has no acknowledgements; see [`OnAbort`].
//!
//! # SockJS version
//!
//! SockJS is defined by the test script of the project [sockjs-protocol](https://github.com/sockjs/sockjs-protocol).
//! Most servers implement its text 0.3.3; the script has changed since, and `sockjs-client` with it. Where the two
//! differ this crate follows the newer one:
//!
//! | | 0.3.3 | here |
//! |---|---|---|
//! | `Cache-Control` of uncacheable answers | without `no-transform` | with it, so that no proxy compresses a stream |
//! | content type of `eventsource` | with a charset | `text/event-stream` |
//! | frames of `jsonp` | `callback("…");` | `/**/callback("…");` |
//! | a callback that is not a name | – | 500 |
//! | origin `null` | answered with `*` | echoed |
//! | `Access-Control-Allow-Credentials` without an origin | `true` | absent |
//! | `Access-Control-Allow-Methods` | in any answer to `OPTIONS` | includes at least the requested one |
//! | iframe page | waits for its `onload` | calls the library's bootstrap at once |
//! | a second receiver after an abort | 1002 | 1002; a fresh session would be as good |
//!
//! # Example: a session over two polls
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//! use tramline_sockjs::{Config, Output, Receive, SockJsSession};
//!
//! let now = Instant::now();
//! let mut session = SockJsSession::new(Arc::new(Config::default()), now);
//! session.send(&[b"hello"]);
//!
//! let mut poll = |session: &mut SockJsSession| {
//!     let mut receiver = session.attach(Receive::Xhr, now);
//!     let mut body = Vec::new();
//!     assert_eq!(session.poll_output(&mut receiver, now, &mut body), Output::End);
//!     body
//! };
//! assert_eq!(poll(&mut session), b"o\n");
//! assert_eq!(poll(&mut session), b"a[\"hello\"]\n");
//! ```

pub mod frame;
pub mod headers;

mod config;
mod form;
mod iframe;
mod info;
mod payload;
mod receive;
mod route;
mod session;
mod transport;

pub use config::{Config, OnAbort};
pub use form::form_field;
pub use iframe::IframePage;
pub use info::{GREETING, Info};
pub use payload::{PayloadError, PayloadLimits, parse_messages};
pub use receive::{Callback, CallbackError, MAX_CALLBACK_LEN, Receive};
pub use route::{MAX_ID_LEN, Route, route};
pub use session::{Output, Receiver, SockJsSession, TimedOut};
pub use transport::Transport;
