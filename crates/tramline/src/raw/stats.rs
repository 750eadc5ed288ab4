//! What happened, counted.

use crate::model::counter::counters;

counters! {
    /// What one raw endpoint has done and refused since it was built: from
    /// [`RawEndpoint::stats`](super::RawEndpoint::stats).
    ///
    /// All numbers but `sessions_open` only grow.
    RawStats, RawCounters:
    /// Sessions whose handler runs, or whose connection is open, at the moment.
    sessions_open,
    /// Sessions that were opened.
    sessions_total,
    /// HTTP requests refused because they came from a page of another origin.
    origins_refused,
    /// HTTP requests that were neither a handshake nor SockJS, that an interceptor refused, for which there was no room, or
    /// whose SockJS session is somebody else's, over or not there.
    requests_refused,
    /// Messages that came, or with partial messages their parts; taken by the handler or not.
    messages_received,
    /// Messages written, pings not among them.
    messages_sent,
    /// Messages that made room for others or were refused, see [`Overflow`](super::Overflow).
    messages_dropped,
    /// Handlers that returned an error while their connection was open.
    handler_errors,
    /// Handlers that panicked.
    handler_panics,
    /// Sessions ended because the client broke WebSocket or SockJS or went beyond a limit.
    protocol_errors,
    /// Sessions ended because the client read too slowly.
    slow_consumers,
    /// Sessions ended because the client did not answer a ping, or neither side had anything to say.
    timeouts,
    /// Sessions whose client vanished without a close.
    vanished,
}
