use std::time::Duration;

use bytestring::ByteString;

use super::Message;
use crate::command::Command;
use crate::decoder::DecodeError;
use crate::frame::Frame;
use crate::headers::Headers;
use crate::heart_beat::InvalidHeartBeat;
use crate::heart_beat::READ_TOLERANCE;
use crate::version::Version;

/// What a server did.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The session is open.
    Connected(Connected),
    /// A message for one of the subscriptions.
    Message(Message),
    /// What was sent with this receipt is done.
    Receipt(ByteString),
    /// The server has ended the session with an ERROR frame. Nothing more comes: close.
    Error(Frame),
    /// The session cannot go on. Nothing more comes: close.
    Failed(ClientError),
}

/// A CONNECTED frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The version agreed on.
    pub version: Version,
    /// The server's name for the session.
    pub session: Option<ByteString>,
    /// The server's software.
    pub server: Option<ByteString>,
    /// Who the server takes the client for.
    pub user_name: Option<ByteString>,
    /// All headers, as sent.
    pub headers: Headers,
}

/// Why a client's session failed, other than by the server's ERROR.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// What the server sent is no STOMP frame, or too large a one.
    #[error("the server sent a bad frame: {0}")]
    Frame(#[from] DecodeError),

    /// A frame that has no place here: one that only clients send, or one before CONNECTED, or a
    /// second CONNECTED.
    #[error("the server sent {command}, which has no place here; is it a STOMP server?")]
    UnexpectedFrame {
        /// The frame.
        command: Command,
    },

    /// A header that the frame must have is absent.
    #[error("the server's {command} lacks the header `{header}`")]
    MissingHeader {
        /// The frame.
        command: Command,
        /// The header's name.
        header: &'static str,
    },

    /// The `heart-beat` header of CONNECTED is malformed.
    #[error("the server's heart-beat: {0}")]
    HeartBeat(#[from] InvalidHeartBeat),

    /// CONNECTED names a version that was not offered.
    #[error("the server chose version `{version}`, which was not offered; offer it or update it")]
    VersionNotOffered {
        /// The beginning of what it chose.
        version: String,
    },

    /// The server was silent for longer than [`READ_TOLERANCE`] times the agreed interval.
    #[error(
        "nothing was received for {silent_for:?}, more than {READ_TOLERANCE} times the agreed \
         heart-beat; the server or the network is gone"
    )]
    HeartBeatTimeout {
        /// The time since the last byte.
        silent_for: Duration,
    },
}
