//! Why a session is no more.

use std::fmt;

use bytestring::ByteString;

/// Why a session ended: for [`disconnect`](crate::MessageRouter::disconnect) handlers, which extract it, and in
/// [`Event::Disconnected`](crate::events::Event::Disconnected).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disconnected {
    /// Whose doing it was.
    pub cause: DisconnectCause,
    /// The WebSocket close code that the client sent, or that was or would have been sent to it.
    pub code: u16,
    /// The reason, for people: the text of the log.
    pub reason: ByteString,
}

/// Whose doing the end of a session was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// The client said goodbye: by DISCONNECT, or by closing its connection properly.
    Client,
    /// The client vanished, or answered no more.
    Vanished,
    /// The client broke a protocol, asked for what it may not or what there is not, or ran into a limit.
    Refused,
    /// The client read too slowly.
    TooSlow,
    /// The server's application wanted it: shutdown, or [`Registry::close_session`](crate::Registry::close_session) and
    /// its like.
    Server,
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
