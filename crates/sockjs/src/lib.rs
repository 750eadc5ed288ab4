//! SockJS 0.3.3 without IO: what a path asks for, what goes on the wire, and one session machine under every transport.

pub mod frame;

mod payload;

pub use payload::{PayloadError, PayloadLimits, parse_messages};
