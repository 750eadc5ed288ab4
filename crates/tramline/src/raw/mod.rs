#![doc = include_str!("../guide/raw-websocket.md")]

mod channel;
mod closed;
mod endpoint;
mod handler;
mod handshake;
mod limits;
mod send_error;
mod serve;
mod sessions;
mod shared;
mod socket;
mod stats;
mod task;

pub use http::{Extensions, StatusCode};
pub use tramline_websocket::CloseCode;

pub use self::closed::Closed;
pub use self::endpoint::{RawEndpoint, RawEndpointBuilder};
pub use self::handler::HandlerOutput;
pub use self::handshake::{HandshakeRefused, HandshakeRequest};
pub use self::limits::{Overflow, RawLimits};
pub use self::send_error::SendError;
pub use self::sessions::Sessions;
pub use self::socket::{Socket, SocketSender};
pub use self::stats::RawStats;
pub use crate::net::message::{Message, Outgoing, Received, SharedMessage};
