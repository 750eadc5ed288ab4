//! The reason for a session's end.

use std::fmt;

use bytestring::ByteString;

/// The reason for a session's end: for [`disconnect`](crate::MessageRouter::disconnect) handlers, which extract it, and
/// in [`Event::Disconnected`](crate::events::Event::Disconnected).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disconnected {
    /// Which side ended it, and how.
    pub cause: DisconnectCause,
    /// The WebSocket close code that the client sent, or that was or would have been sent to it.
    pub code: u16,
    /// The reason, for people: the text in the log.
    pub reason: ByteString,
}

/// Which side ended a session, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// The client sent DISCONNECT or closed its connection properly.
    Client,
    /// The client vanished, or stopped answering.
    Vanished,
    /// The client broke a protocol, asked for something that is forbidden or absent, or exceeded a limit.
    Refused,
    /// The client read too slowly.
    TooSlow,
    /// The application ended it: by shutdown, or by [`Registry::close_session`](crate::Registry::close_session) and its
    /// like.
    Server,
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
