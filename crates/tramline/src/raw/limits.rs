//! Limits on the resources of one client.

use std::time::Duration;

use tramline_sockjs::PayloadLimits;
use tramline_websocket::Config;

use crate::net::transport::keep_alive::{KEEP_ALIVE, KEEP_ALIVE_TIMEOUT};
use crate::stack::limits::OUTBOX;

/// The limits of each connection of a raw endpoint.
///
/// A client that exceeds one is closed with the code given here, and a reason that names the limit and its value.
///
/// # Example: large messages, and a limit on idling
///
/// ```
/// use std::time::Duration;
/// use tramline::raw::RawLimits;
///
/// let mut limits = RawLimits::default();
/// limits.message = 1024 * 1024;
/// limits.idle_timeout = Some(Duration::from_secs(600));
/// assert_eq!(limits.outbox, 16 * 1024 * 1024);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RawLimits {
    /// Payload of one received message, in bytes, all its fragments together. Beyond it: 1009. Default 65,536, as for
    /// STOMP frames: enough for JSON, too little to fill memory with. With
    /// [`partial_messages`](super::RawEndpointBuilder::partial_messages) it bounds the sum of the parts. Over SockJS it
    /// bounds a message without its escapes; the body or WebSocket message around it may have twice as much, and
    /// 524,288 bytes in any case.
    pub message: usize,
    /// Payload of one received frame, in bytes; `None` for no limit but [`message`](Self::message), the default. Beyond it:
    /// 1009.
    pub frame: Option<usize>,
    /// Frames of one received message. Beyond them: 1009. Default 4,096: 16 bytes a frame in the largest message, and a
    /// bound on empty frames, which no limit in bytes would stop.
    pub fragments: u32,
    /// Bytes that may wait to be sent, plus 40 for each message. Default 16,777,216, for the reasons of
    /// [`Limits::outbox`](crate::Limits::outbox).
    /// One message larger than this passes if nothing else waits.
    pub outbox: usize,
    /// The policy of [`try_send`](super::SocketSender::try_send) for a message that does not fit the
    /// [`outbox`](Self::outbox). Default [`Overflow::Close`].
    pub overflow: Overflow,
    /// Time for which writing may make no progress before the connection is closed with 4500. Default 10 s, as Spring's
    /// `sendTimeLimit`.
    pub send_time: Duration,
    /// Time that [interceptors](super::RawEndpointBuilder::intercept) may take together, before the client receives
    /// 503. Default 10 s: more than a session store or an identity provider should take, and a bound on calls that
    /// hang.
    pub handshake_time: Duration,
    /// Time for which a handler may go on after its connection has ended, before it is dropped at one of its `await`s.
    /// Default 30 s, as [`Limits::handler_time`](crate::Limits::handler_time): enough to save what has to be saved, and a
    /// bound on handlers that wait for what never comes.
    pub handler_time: Duration,
    /// Time without a message in either direction after which a connection is closed with 1001; `None`, the default,
    /// for no limit: pings detect clients that are gone, and a live client may be silent. Pings and pongs do not count.
    pub idle_timeout: Option<Duration>,
    /// Interval of pings to the client; `None` for none. Default 25 s: proxies cut connections that are silent for 30
    /// or 60 s. Over SockJS's HTTP transports the heart-beat of the [SockJS options](crate::SockJs) takes its place.
    pub keep_alive: Option<Duration>,
    /// Time for which a client may be silent after a [ping](Self::keep_alive) before it counts as gone. Default 20 s:
    /// more than any live network takes, so that half-open connections are gone within 45 s. The time in which messages
    /// wait for the handler, and nothing is read, does not count.
    pub keep_alive_timeout: Duration,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            message: 64 * 1024,
            frame: None,
            fragments: 4096,
            outbox: OUTBOX,
            overflow: Overflow::Close,
            send_time: Duration::from_secs(10),
            handshake_time: Duration::from_secs(10),
            handler_time: Duration::from_secs(30),
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

    /// The limits of one SockJS message or body of `xhr_send`: a whole message, twice as long for its escapes.
    pub(super) fn payload(&self) -> PayloadLimits {
        let mut limits = PayloadLimits::default();
        limits.bytes = limits.bytes.max(self.message.saturating_mul(2));
        limits.message = Some(self.message);
        limits
    }
}

/// The policy for a message that does not fit its connection's outbox, because the client reads too slowly.
///
/// It applies to [`try_send`](super::SocketSender::try_send) and to broadcasts. [`send`](super::SocketSender::send)
/// waits for room instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The connection is closed with 4500 and a reason; queued messages are dropped. The default, as Spring's
    /// `TERMINATE`: a client that missed messages without knowing is worse off than one that reconnects.
    #[default]
    Close,
    /// The oldest queued messages are dropped to make room, and [counted](super::RawStats::messages_dropped). As
    /// Spring's `DROP`. For values of which only the latest matters.
    DropOldest,
    /// The new message is refused: `try_send` returns [`SendError::Full`](super::SendError::Full), and a broadcast
    /// counts it as [dropped](super::RawStats::messages_dropped).
    Refuse,
}
