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

/// An event of the server.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The session is open.
    Connected(Connected),
    /// A message for one of the subscriptions.
    Message(Message),
    /// The frame that requested this receipt is done.
    Receipt(ByteString),
    /// The server has ended the session with an ERROR frame. No event follows: close.
    Error(Frame),
    /// The session has failed. No event follows: close.
    Failed(ClientError),
}

/// A CONNECTED frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The negotiated version.
    pub version: Version,
    /// The server's id of the session.
    pub session: Option<ByteString>,
    /// The server's software.
    pub server: Option<ByteString>,
    /// The user name that the server has given the client.
    pub user_name: Option<ByteString>,
    /// All headers, as sent.
    pub headers: Headers,
}

/// A client's session failed, other than by the server's ERROR.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server sent an invalid STOMP frame, or too large a one.
    #[error("the server sent a bad frame: {0}")]
    Frame(#[from] DecodeError),

    /// The frame is not allowed here: only clients send it, or it came before CONNECTED, or it is a second CONNECTED.
    #[error("the server sent {command}, which has no place here; is it a STOMP server?")]
    UnexpectedFrame {
        /// The frame.
        command: Command,
    },

    /// A required header of the frame is missing.
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
        /// The beginning of its choice.
        version: String,
    },

    /// The server was silent for longer than [`READ_TOLERANCE`] times the negotiated interval.
    #[error(
        "nothing was received for {silent_for:?}, more than {READ_TOLERANCE} times the agreed \
         heart-beat; the server or the network is gone"
    )]
    HeartBeatTimeout {
        /// The time since the last byte.
        silent_for: Duration,
    },
}
