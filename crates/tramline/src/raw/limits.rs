//! What a client may take of the server.

use std::time::Duration;

use tramline_sockjs::PayloadLimits;
use tramline_websocket::Config;

use crate::net::transport::keep_alive::{KEEP_ALIVE, KEEP_ALIVE_TIMEOUT};

/// The limits that hold for each connection of a raw endpoint.
///
/// A client that goes beyond one hears which, its value, and is closed with the code named here.
///
/// # Example: large messages, and an end to idling
///
/// ```
/// use std::time::Duration;
/// use tramline::raw::RawLimits;
///
/// let mut limits = RawLimits::default();
/// limits.message = 1024 * 1024;
/// limits.idle_timeout = Some(Duration::from_secs(600));
/// assert_eq!(limits.outbox, 512 * 1024);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RawLimits {
    /// Payload of one received message, in bytes, all its fragments together. Beyond it: 1009. Default 65,536, as for STOMP
    /// frames: enough for JSON, too little to fill memory with. With
    /// [`partial_messages`](super::RawEndpointBuilder::partial_messages) it bounds the sum of the parts. Over SockJS it
    /// bounds a message without its escapes; what carries it, a body or a WebSocket message, may have twice as much, and
    /// 524,288 bytes in any case.
    pub message: usize,
    /// Payload of one received frame, in bytes; `None` for no limit but [`message`](Self::message), the default. Beyond it:
    /// 1009.
    pub frame: Option<usize>,
    /// Frames of one received message. Beyond them: 1009. Default 4,096: 16 bytes a frame in the largest message, and an
    /// end to empty frames, which no limit in bytes would stop.
    pub fragments: u32,
    /// Bytes that may wait to be sent, 40 counted for each message's place. Default 524,288, as Spring's
    /// `sendBufferSizeLimit`. One message larger than this passes when nothing else waits.
    pub outbox: usize,
    /// What [`try_send`](super::SocketSender::try_send) does with a message that does not fit the
    /// [`outbox`](Self::outbox). Default [`Overflow::Close`].
    pub overflow: Overflow,
    /// How long writing may make no progress before the connection is closed with 4500. Default 10 s, as Spring's
    /// `sendTimeLimit`.
    pub send_time: Duration,
    /// How long [interceptors](super::RawEndpointBuilder::intercept) may take together, before the client hears 503.
    /// Default 10 s: more than a session store or an identity provider should take, and an end to what hangs.
    pub handshake_time: Duration,
    /// How long a connection may go without a message in either direction before it is closed with 1001; `None` for as long
    /// as it likes, the default: pings find out who is gone, and who is there may be silent. Pings and pongs do not count.
    pub idle_timeout: Option<Duration>,
    /// How often the client is pinged; `None` for never. Default 25 s: proxies cut what is silent for 30 or 60 s. Over
    /// SockJS's HTTP transports the heart-beat of the [SockJS options](crate::SockJs) takes its place.
    pub keep_alive: Option<Duration>,
    /// How long a client may be silent after a [ping](Self::keep_alive) before it is taken for gone. Default 20 s: more than
    /// any network that is alive takes, so that half-open connections are gone within 45 s. The time in which messages
    /// wait for the handler, and nothing is read, does not count.
    pub keep_alive_timeout: Duration,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            message: 64 * 1024,
            frame: None,
            fragments: 4096,
            outbox: 512 * 1024,
            overflow: Overflow::Close,
            send_time: Duration::from_secs(10),
            handshake_time: Duration::from_secs(10),
            idle_timeout: None,
            keep_alive: KEEP_ALIVE,
            keep_alive_timeout: KEEP_ALIVE_TIMEOUT,
        }
    }
}

impl RawLimits {
    pub(super) fn config(&self) -> Config {
        Config::default()
            .with_max_message(self.message)
            .with_max_frame(self.frame.unwrap_or(self.message))
            .with_max_fragments(self.fragments)
    }

    /// What one SockJS message, or one body of `xhr_send`, may have: a whole message, twice as long for what is escaped.
    pub(super) fn payload(&self) -> PayloadLimits {
        let mut limits = PayloadLimits::default();
        limits.bytes = limits.bytes.max(self.message.saturating_mul(2));
        limits.message = Some(self.message);
        limits
    }
}

/// What happens to a message that its connection's outbox has no room for, because the client reads too slowly.
///
/// It is the policy of [`try_send`](super::SocketSender::try_send) and of broadcasts. [`send`](super::SocketSender::send)
/// waits for room instead, and no policy is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The connection is closed with 4500 and a reason; what waited is dropped. The default, as Spring's `TERMINATE`: a
    /// client that missed messages without knowing is worse off than one that reconnects.
    #[default]
    Close,
    /// The oldest messages that wait make room, and are [counted](super::RawStats::messages_dropped). As Spring's `DROP`.
    /// For values of which only the latest matters.
    DropOldest,
    /// The new message is refused: `try_send` gives [`SendError::Full`](super::SendError::Full), and a broadcast counts it as
    /// [dropped](super::RawStats::messages_dropped).
    Refuse,
}
