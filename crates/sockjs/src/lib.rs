//! SockJS 0.3.3 without IO: what a path asks for, what goes on the wire, and one session machine under every transport.

pub mod frame;
pub mod headers;

mod config;
mod payload;
mod session;
mod transport;

pub use config::{Config, OnAbort};
pub use payload::{PayloadError, PayloadLimits, parse_messages};
pub use session::{Attach, Output, ReceiverId, Refusal, Session, TimedOut};
pub use transport::Transport;
