use std::time::Duration;

use crate::{
    Command, DecodeError, ErrorReply, InvalidHeartBeat, Version, heart_beat::READ_TOLERANCE,
};

/// Why a session failed, named by who did what.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The client broke the protocol or a limit.
    #[error(transparent)]
    PeerViolation(#[from] PeerViolation),

    /// The client asked, rightly, for what this server does not have.
    #[error(transparent)]
    PeerIncompatible(#[from] PeerIncompatible),

    /// The client was silent for longer than [`READ_TOLERANCE`] times the agreed interval.
    #[error(
        "nothing was received for {silent_for:?}, more than {READ_TOLERANCE} times the agreed \
         heart-beat; send heart-beats or agree on none"
    )]
    HeartBeatTimeout {
        /// The time since the last byte.
        silent_for: Duration,
    },
}

/// How a client broke the protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerViolation {
    /// What it sent is no STOMP frame, or too large a one.
    #[error(transparent)]
    Frame(#[from] DecodeError),

    /// Another frame came before CONNECT.
    #[error("{command} came before the session was open; send CONNECT or STOMP first")]
    NotConnected {
        /// The frame.
        command: Command,
    },

    /// CONNECT came twice.
    #[error("the session is open already; send CONNECT once per connection")]
    AlreadyConnected,

    /// A frame that only servers send.
    #[error("{command} is a frame that only servers send")]
    ServerCommand {
        /// The frame.
        command: Command,
    },

    /// The `heart-beat` header of CONNECT is malformed.
    #[error("heart-beat: {0}")]
    HeartBeat(#[from] InvalidHeartBeat),

    /// A header that the frame must have is absent or empty.
    #[error("{command} lacks the header `{header}`; add it")]
    MissingHeader {
        /// The frame.
        command: Command,
        /// The header's name.
        header: &'static str,
    },

    /// The `ack` header of SUBSCRIBE is none of the three modes.
    #[error("`{value}` is not an ack mode; send auto, client or client-individual")]
    InvalidAckMode {
        /// The beginning of the value.
        value: String,
    },

    /// SUBSCRIBE with the id of a live subscription.
    #[error("the subscription id `{id}` is in use; choose another id or unsubscribe it first")]
    DuplicateSubscription {
        /// The beginning of the id.
        id: String,
    },

    /// UNSUBSCRIBE with an id that no live subscription has.
    #[error("no subscription has the id `{id}`; send the id that was given to SUBSCRIBE, once")]
    UnknownSubscription {
        /// The beginning of the id.
        id: String,
    },

    /// One subscription more than the limit.
    #[error(
        "a session may hold {limit} subscriptions; unsubscribe some, or raise the server's limit"
    )]
    TooManySubscriptions {
        /// [`ServerConfig::max_subscriptions`](crate::ServerConfig::max_subscriptions).
        limit: usize,
    },

    /// A frame inside a transaction that is not open.
    #[error("the transaction `{id}` is not open; send without the header `transaction`")]
    UnknownTransaction {
        /// The beginning of the transaction's id.
        id: String,
    },
}

/// What a client asked for and this server does not have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerIncompatible {
    /// `accept-version` names no version of [`Version::ALL`].
    #[error("none of the versions `{accept}` is spoken here; accept 1.0, 1.1 or 1.2")]
    NoCommonVersion {
        /// The beginning of the client's list.
        accept: String,
    },

    /// A command that this server does not answer.
    #[error("{command} is not offered by this server: {instead}")]
    NotOffered {
        /// The frame.
        command: Command,
        /// What the client can do instead.
        instead: &'static str,
    },
}

impl ServerError {
    /// The ERROR frame that tells the client.
    pub fn to_reply(&self) -> ErrorReply {
        let reply = ErrorReply::new(self.to_string());
        match self {
            ServerError::PeerIncompatible(PeerIncompatible::NoCommonVersion { .. }) => reply
                .header("version", Version::ALL.map(Version::as_str).join(","))
                .detail(format!(
                    "Supported protocol versions are {}",
                    Version::ALL.map(Version::as_str).join(" ")
                )),
            _ => reply,
        }
    }
}

impl From<DecodeError> for ServerError {
    fn from(error: DecodeError) -> Self {
        PeerViolation::from(error).into()
    }
}
