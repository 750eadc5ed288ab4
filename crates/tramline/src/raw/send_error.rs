//! Errors of sending to a raw socket.

/// The reason why an item was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closing or closed, by either side: [`SocketSender::closed`](super::SocketSender::closed)
    /// returns the reason.
    #[error("the connection is closed")]
    Closed,
    /// The client reads too slowly, and was closed for it ([`Overflow::Close`](super::Overflow::Close)).
    #[error(
        "the client reads too slowly and was closed: {queued} bytes would wait for it, and {limit} may (`RawLimits::outbox`)"
    )]
    Overflow {
        /// Bytes that would have been queued.
        queued: usize,
        /// The limit.
        limit: usize,
    },
    /// The client reads too slowly, and this message was refused ([`Overflow::Refuse`](super::Overflow::Refuse)).
    #[error("{queued} bytes would wait for the client, and {limit} may (`RawLimits::outbox`)")]
    Full {
        /// Bytes that would have been queued.
        queued: usize,
        /// The limit.
        limit: usize,
    },
    /// The application sent bytes to a client that is connected by SockJS, which carries text only.
    #[error("SockJS carries text only; encode the bytes as text, or have the client use WebSocket")]
    BinaryOverSockJs,
    /// The application pinged a client that is connected by SockJS, which has no pings.
    #[error("SockJS has no pings; its heart-beats are sent without asking")]
    PingOverSockJs,
    /// The application's ping has too long a payload.
    #[error("a ping of {len} bytes; at most 125 fit (RFC 6455 section 5.5)")]
    PingTooLong {
        /// Its length in bytes.
        len: usize,
    },
}
