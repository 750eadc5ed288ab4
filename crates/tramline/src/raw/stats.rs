//! Counters of a raw endpoint.

use crate::model::counter::counters;

counters! {
    /// Counters of what one raw endpoint has done and refused since it was built: from
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
    /// HTTP requests that were neither a handshake nor SockJS, that an interceptor refused, that exceeded the number of
    /// sessions, or whose SockJS session is another user's, over or unknown.
    requests_refused,
    /// Messages received, or with partial messages their parts, whether the handler took them or not.
    messages_received,
    /// Messages written, without pings.
    messages_sent,
    /// Messages dropped for newer ones or refused, see [`Overflow`](super::Overflow).
    messages_dropped,
    /// Handlers that returned an error while their connection was open.
    handler_errors,
    /// Handlers that were dropped because they went on for too long after their connection, see
    /// [`RawLimits::handler_time`](super::RawLimits::handler_time).
    handler_timeouts,
    /// Handlers that panicked.
    handler_panics,
    /// Sessions ended because the client broke WebSocket or SockJS or exceeded a limit.
    protocol_errors,
    /// Sessions ended because the client read too slowly.
    slow_consumers,
    /// Sessions ended because the client did not answer a ping, or because both sides were idle.
    timeouts,
    /// Sessions whose client vanished without a close.
    vanished,
    /// Lines at INFO or above that were not logged, because one client caused too many:
    /// [deploying](crate::guide::deploying#logs).
    log_lines_suppressed,
}
