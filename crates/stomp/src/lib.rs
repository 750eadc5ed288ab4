//! The walls; the rooms come with the commits that follow.

pub use bytes::Bytes;
pub use bytestring::ByteString;

pub use self::{
    command::Command,
    decoder::{DecodeError, Decoded, Decoder, Limits},
    frame::{Frame, encode_message_tail},
    headers::Headers,
    version::{UnknownVersion, Version},
};

mod command;
mod decoder;
mod escape;
mod frame;
mod headers;
mod text;
mod version;
