//! Limits on the resources of one client.

use std::time::Duration;

use tramline_broker::Overflow;
use tramline_sockjs::PayloadLimits;
use tramline_stomp::HeartBeat;
use tramline_websocket::Config;

use crate::net::transport::keep_alive::{KEEP_ALIVE, KEEP_ALIVE_TIMEOUT};

/// The limits of each session of a messaging stack.
///
/// A client that exceeds one is closed with a reason that names the limit and its value.
///
/// # Example: larger frames
///
/// ```
/// use tramline::Limits;
///
/// let mut limits = Limits::default();
/// limits.body = 1024 * 1024;
/// assert_eq!(limits.header_count, 64);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Body of one frame, in bytes. Default 65,536, as Spring's: enough for JSON, too little to fill memory with.
    pub body: usize,
    /// One header line of a frame, in bytes. Default 8,192: enough for a token in a header.
    pub header_line: usize,
    /// Headers of one frame. Default 64, which no known client comes near.
    pub header_count: usize,
    /// Subscriptions of one session. Default 1,024: a page that needs more should use a pattern.
    pub subscriptions: usize,
    /// Transactions that one session has open. Default 16, as RabbitMQ's: more than one is rare.
    pub transactions: usize,
    /// SEND, ACK and NACK frames in one transaction. Default 1,024, as RabbitMQ's.
    pub transaction_frames: usize,
    /// Bytes of headers and bodies of the messages in one transaction. Default 1,048,576 (1 MiB): the session holds
    /// them until COMMIT.
    pub transaction_bytes: usize,
    /// The share of memory that messages may take which wait to be sent to one session, in bytes: beyond it, the
    /// [`overflow`](Self::overflow) policy or the topic's applies. Default 16,777,216 (16 MiB). Subscribers share a
    /// message's memory, so that a burst costs a backlog little; a client whose socket takes nothing is closed after
    /// [`send_time`](Self::send_time), not for the size of a burst. Spring's `sendBufferSizeLimit` of 512 KiB closes
    /// clients that keep up when an application publishes a megabyte at once.
    pub outbox: usize,
    /// The policy beyond [`outbox`](Self::outbox) for messages to user destinations. Default [`Overflow::Close`].
    /// Topics have policies of their own: [`TopicSettings::overflow`](crate::broker::TopicSettings::overflow).
    pub overflow: Overflow,
    /// Time for which writing may make no progress before the session is closed with 4500. Default 10 s, as Spring's
    /// `sendTimeLimit`.
    pub send_time: Duration,
    /// Time until a session's CONNECT has come, and its [login](crate::MessageRouter::connect) and a
    /// [check](fn@crate::policy::check) on CONNECT have decided, before it is closed with 4500. Default 60 s, as Spring's
    /// `timeToFirstMessage`: slow networks pass, idle sockets do not pile up.
    pub connect_time: Duration,
    /// Bytes that a session may hold before CONNECTED: the CONNECT frame and whatever follows it. Default 16,384: a token
    /// fits twice, and strangers who stop inside a frame hold no more. A transport's message counts too, over SockJS with
    /// its escapes.
    pub connect_bytes: usize,
    /// Time after which a running handler, or a [check](fn@crate::policy::check), is dropped at one of its `await`s and
    /// its message rejected, and what a client sent before it left is given up. Default 30 s: no client waits longer, and
    /// a handler that waits for what never comes would keep its session for ever. A route's own is set by
    /// [`time_limit`](crate::router::MessageHandler::time_limit).
    pub handler_time: Duration,
    /// Milliseconds between heart-beats that this side offers and wants. Default 10,000 each way, as Spring's with a
    /// scheduler, at a cost of one byte each time. Ours leave at 90 % of the agreed interval, by a timer of 100 ms:
    /// intervals of less than 200 cannot be kept. A client counts as gone after three times the agreed interval, and over
    /// WebSocket and SockJS not before [`heart_beat_silence`](Self::heart_beat_silence).
    pub heart_beat: HeartBeat,
    /// The least time for which a client of WebSocket or SockJS that agreed on heart-beats may send none, whatever their
    /// interval. Default 90 s: browsers run a background tab's timers once a minute. A connection that is dead is noticed
    /// before, by [`keep_alive`](Self::keep_alive): browsers answer pings in background tabs too. TCP clients count as gone
    /// after three times the interval.
    pub heart_beat_silence: Duration,
    /// Interval of pings on a WebSocket; `None` for none. Default 25 s, as SockJS's heart-beat: proxies cut connections
    /// that are silent for 30 or 60 s.
    pub keep_alive: Option<Duration>,
    /// Time for which a peer may be silent after a [ping](Self::keep_alive) before it counts as gone. Default 20 s:
    /// more than any live network takes, so that half-open connections are gone within 45 s. WebSockets only: see
    /// [`serve_tcp`](crate::Messaging::serve_tcp) for TCP.
    pub keep_alive_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let stomp = tramline_stomp::Limits::default();
        Self {
            body: stomp.body,
            header_line: stomp.header_line,
            header_count: stomp.header_count,
            subscriptions: 1024,
            transactions: 16,
            transaction_frames: 1024,
            transaction_bytes: 1024 * 1024,
            outbox: OUTBOX,
            overflow: Overflow::Close,
            send_time: Duration::from_secs(10),
            connect_time: Duration::from_secs(60),
            connect_bytes: 16 * 1024,
            handler_time: Duration::from_secs(30),
            heart_beat: HeartBeat {
                send: 10_000,
                receive: 10_000,
            },
            heart_beat_silence: Duration::from_secs(90),
            keep_alive: KEEP_ALIVE,
            keep_alive_timeout: KEEP_ALIVE_TIMEOUT,
        }
    }
}

/// The default of the outboxes of STOMP sessions and raw sockets.
pub(crate) const OUTBOX: usize = 16 * 1024 * 1024;

/// Returns an error for each limit that is 0, given by name.
pub(crate) fn zero_limits<const N: usize>(
    limits: [(&'static str, bool); N],
) -> impl Iterator<Item = String> {
    let zero = limits.into_iter().filter(|(_, is_zero)| *is_zero);
    zero.map(|(name, _)| format!("limit `{name}` is 0: nothing could pass"))
}

impl Limits {
    /// Returns the limits that nothing could pass, and those that contradict each other, one text each.
    pub(crate) fn errors(&self) -> Vec<String> {
        let mut errors: Vec<String> = zero_limits([
            ("body", self.body == 0),
            ("header_line", self.header_line == 0),
            ("header_count", self.header_count == 0),
            ("outbox", self.outbox == 0),
            ("send_time", self.send_time.is_zero()),
            ("connect_time", self.connect_time.is_zero()),
            ("connect_bytes", self.connect_bytes == 0),
            ("handler_time", self.handler_time.is_zero()),
            ("keep_alive_timeout", self.keep_alive_timeout.is_zero()),
        ])
        .collect();
        let (transaction, outbox) = (self.transaction_bytes, self.outbox);
        if transaction > outbox && outbox > 0 {
            errors.push(format!(
                "limit `transaction_bytes` of {transaction} bytes is more than `outbox` of {outbox}: one COMMIT would \
                 overflow the outbox of whoever receives it"
            ));
        }
        errors
    }

    /// The limits of a connected session's WebSocket.
    pub(crate) fn websocket(&self) -> Config {
        let message = self.message();
        Config::default()
            .with_max_message(message)
            .with_max_frame(message)
    }

    /// The limits of one SockJS message or body of `xhr_send`.
    pub(crate) fn payload(&self) -> PayloadLimits {
        let mut limits = PayloadLimits::default();
        limits.bytes = limits.bytes.max(self.message());
        limits
    }

    /// The most bytes of one message of a transport: a whole frame with long headers, and as much again for SockJS's
    /// escapes. The decoder applies STOMP's own limits; this one keeps the transport from buffering more.
    pub(crate) fn message(&self) -> usize {
        let head = self
            .header_line
            .saturating_mul(self.header_count)
            .min(128 * 1024);
        self.body.saturating_add(head).saturating_mul(2)
    }
}
