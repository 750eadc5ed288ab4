//! The walls; the rooms come with the commits that follow.

pub use bytes::Bytes;
pub use bytestring::ByteString;

pub use self::{
    command::Command,
    decoder::{DecodeError, Decoded, Decoder, Limits},
    error_reply::ErrorReply,
    frame::{Frame, encode_message_tail},
    headers::Headers,
    heart_beat::{HeartBeat, InvalidHeartBeat, Negotiated, READ_TOLERANCE},
    server::{
        Connect, Disconnect, PeerIncompatible, PeerViolation, Send, ServerConfig, ServerConnection,
        ServerError, ServerEvent, Subscribe, Unsubscribe,
    },
    version::{UnknownVersion, Version},
};

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
