use std::time::Duration;

use crate::ack_mode::InvalidAckMode;
use crate::command::Command;
use crate::decoder::DecodeError;
use crate::error_reply::ErrorReply;
use crate::heart_beat::InvalidHeartBeat;
use crate::version::Version;

/// A session failed; the variants say who caused it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The client broke the protocol or a limit.
    #[error(transparent)]
    PeerViolation(#[from] PeerViolation),

    /// The client made a valid request that this server does not support.
    #[error(transparent)]
    PeerIncompatible(#[from] PeerIncompatible),

    /// The client was silent for longer than [`READ_TOLERANCE`](crate::READ_TOLERANCE) times the negotiated interval and
    /// [`ServerConfig::min_silence`](crate::ServerConfig::min_silence).
    #[error(
        "nothing was received for {silent_for:?}, longer than the agreed heart-beat allows; send \
         heart-beats or agree on none"
    )]
    HeartBeatTimeout {
        /// The time since the last byte.
        silent_for: Duration,
    },
}

/// A client's violation of the protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerViolation {
    /// It sent an invalid STOMP frame, or too large a one.
    #[error(transparent)]
    Frame(#[from] DecodeError),

    /// Another frame arrived before CONNECT.
    #[error("{command} came before the session was open; send CONNECT or STOMP first")]
    NotConnected {
        /// The frame.
        command: Command,
    },

    /// CONNECT arrived twice.
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

    /// A required header of the frame is absent or empty.
    #[error("{command} lacks the header `{header}`; {}", how_to_add(*command, header))]
    MissingHeader {
        /// The frame.
        command: Command,
        /// The header's name.
        header: &'static str,
    },

    /// The `ack` header of SUBSCRIBE is not one of the three modes.
    #[error(transparent)]
    AckMode(#[from] InvalidAckMode),

    /// SUBSCRIBE with the id of a live subscription.
    #[error("the subscription id `{id}` is in use; choose another id or unsubscribe it first")]
    DuplicateSubscription {
        /// The beginning of the id.
        id: String,
    },

    /// UNSUBSCRIBE, ACK or NACK with an id that no live subscription has.
    #[error(
        "no subscription has the id `{id}`; send the id that was given to SUBSCRIBE, and nothing \
         about it after UNSUBSCRIBE"
    )]
    UnknownSubscription {
        /// The beginning of the id.
        id: String,
    },

    /// More bytes than the limit before the session was open.
    #[error(
        "more than {limit} bytes came before CONNECTED (`Limits::connect_bytes`); send a smaller CONNECT, and other frames \
         after CONNECTED"
    )]
    ConnectTooLarge {
        /// [`ServerConfig::max_connect_bytes`](crate::ServerConfig::max_connect_bytes).
        limit: usize,
    },

    /// One subscription more than the limit.
    #[error(
        "a session may hold {limit} subscriptions; unsubscribe some, or raise the server's limit"
    )]
    TooManySubscriptions {
        /// [`ServerConfig::max_subscriptions`](crate::ServerConfig::max_subscriptions).
        limit: usize,
    },

    /// The `id` of a 1.2 ACK or NACK is not one that this server writes.
    #[error(
        "`{id}` names no delivery; send the `ack` header of the MESSAGE, unchanged, as the header \
         `id`"
    )]
    InvalidAckId {
        /// The beginning of the id.
        id: String,
    },

    /// The `id` of a 1.2 ACK or NACK is a token of another session.
    #[error(
        "`{id}` names no delivery of this session; acknowledge messages in the session that \
         received them: what an earlier one left is delivered again"
    )]
    AckOfOtherSession {
        /// The beginning of the id.
        id: String,
    },

    /// The `id` of a 1.2 ACK or NACK refers to a subscription that has ended or never existed.
    #[error(
        "`{id}` names a delivery of no live subscription; acknowledge messages before you \
         unsubscribe, and in the session that received them"
    )]
    AckWithoutSubscription {
        /// The beginning of the id.
        id: String,
    },

    /// ACK or NACK for a subscription whose messages need no acknowledgement.
    #[error(
        "{command} is for a subscription with ack:auto, whose messages are done once sent; send \
         no {command}, or subscribe with ack:client or ack:client-individual"
    )]
    AckOfAuto {
        /// The frame.
        command: Command,
    },

    /// NACK in a 1.0 session.
    #[error(
        "STOMP 1.0 has no NACK; connect with accept-version:1.1 or 1.2, or leave the message \
         without an ACK"
    )]
    NackIn1_0,

    /// BEGIN with the id of an open transaction.
    #[error("the transaction `{id}` is open already; choose another id, or end it first")]
    DuplicateTransaction {
        /// The beginning of the transaction's id.
        id: String,
    },

    /// A frame refers to a transaction that is not open.
    #[error(
        "the transaction `{id}` is not open; send BEGIN with this id first, end it only once, or \
         send without the header `transaction`"
    )]
    UnknownTransaction {
        /// The beginning of the transaction's id.
        id: String,
    },

    /// One open transaction more than the limit.
    #[error(
        "a session may have {limit} transactions open; commit or abort some, or raise the \
         server's limit"
    )]
    TooManyTransactions {
        /// [`ServerConfig::max_transactions`](crate::ServerConfig::max_transactions).
        limit: usize,
    },
}

/// A client's valid request that this server does not support.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerIncompatible {
    /// `accept-version` contains no version of [`Version::ALL`].
    #[error("none of the versions `{accept}` is spoken here; accept 1.0, 1.1 or 1.2")]
    NoCommonVersion {
        /// The beginning of the client's list.
        accept: String,
    },
}

impl ServerError {
    /// Returns the ERROR frame for the client.
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

/// Explains the origin of a missing header's value, if that is not obvious.
fn how_to_add(command: Command, header: &str) -> &'static str {
    match (command, header) {
        (Command::Ack | Command::Nack, "id") => {
            "add it, with the value of the MESSAGE's header `ack`"
        }
        (Command::Ack | Command::Nack, "message-id" | "subscription") => {
            "add it, as it stands in the MESSAGE"
        }
        (Command::Begin | Command::Commit | Command::Abort, _) => {
            "add it, with an id that you choose at BEGIN"
        }
        _ => "add it",
    }
}

impl From<DecodeError> for ServerError {
    fn from(error: DecodeError) -> Self {
        PeerViolation::from(error).into()
    }
}
