//! x
mod captures;
mod dispatch;
mod effects;
mod endpoint;
mod extract;
mod handler;
mod inbound;
mod limits;
mod messaging;
pub mod policy;
mod publisher;
mod rejection;
mod reply;
mod router;
mod session;
mod stats;
mod template;
mod transport;
mod user;
mod wheel;
mod wire;

pub use bytes::Bytes;
pub use bytestring::ByteString;
pub use tramline_broker::{
    Broker, Destination, DestinationError, EmbeddedBroker, Headers, Overflow, Pattern,
    PublishError, Published, SessionId, Target,
};
pub use tramline_sockjs::Config as SockJsConfig;
pub use tramline_stomp::HeartBeat;

pub use crate::effects::Effects;
pub use crate::endpoint::{Body, Endpoint};
pub use crate::extract::{
    FromMessage, FromMessageParts, FromRef, Json, OptionalFromMessageParts, Path, State, Text,
};
pub use crate::handler::Handler;
pub use crate::inbound::Inbound;
pub use crate::limits::Limits;
pub use crate::messaging::{BuildError, Messaging, MessagingBuilder};
pub use crate::publisher::{Publisher, SendError};
pub use crate::rejection::{Rejection, RejectionKind};
pub use crate::reply::{IntoEffects, IntoReply, Payload, To};
pub use crate::router::{IntoRoute, Message, MessageRouter, MessageTo, message};
pub use crate::stats::Stats;
pub use crate::user::{Handshake, User};
