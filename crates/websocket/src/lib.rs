//! RFC 6455 as a state machine: bytes in, events and bytes out.

mod handshake;
mod mask;

pub use crate::handshake::{accept_key, client_key, is_valid_key};
pub use crate::mask::apply_mask;
