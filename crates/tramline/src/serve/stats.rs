//! Counters of a server.

use crate::model::counter::counters;

counters! {
    /// Counters of a [`Server`](super::Server)'s connections: from [`Connections::stats`](super::Connections::stats).
    ///
    /// All numbers but `http_open` only grow.
    ServeStats, ServeCounters:
    /// Connections that speak HTTP at the moment; those that have become WebSockets are their endpoints' to count.
    http_open,
    /// Connections that were accepted.
    connections_total,
    /// Connections refused for want of a place, in all or for their address.
    connections_refused,
    /// Connections closed because the head of a request was not complete in time.
    head_timeouts,
    /// Request bodies that stalled.
    body_timeouts,
    /// Connections closed because the client took nothing of its answer.
    send_timeouts,
    /// Connections closed because no further request came.
    idle_timeouts,
    /// Connections dropped with a request under way, when the time of the shutdown was over.
    dropped,
}
