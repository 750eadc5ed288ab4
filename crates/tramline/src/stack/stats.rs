//! Counters of a stack.

use crate::model::counter::counters;

counters! {
    /// Counters of what one messaging stack has done and refused since it was built: from
    /// [`Messaging::stats`](crate::Messaging::stats).
    ///
    /// All numbers but `sessions_open` only grow.
    Stats, Counters:
    /// Sessions whose transport is open at the moment, CONNECT sent or not.
    sessions_open,
    /// Sessions whose transport was opened.
    sessions_total,
    /// HTTP requests refused because they came from a page of another origin.
    origins_refused,
    /// HTTP requests to an endpoint that were neither a handshake nor SockJS (unknown path, wrong method or headers),
    /// that exceeded the number of sessions or the rate of connections, or whose SockJS session is another user's, over or unknown.
    requests_refused,
    /// SEND frames that reached a handler or the broker.
    messages_received,
    /// MESSAGE frames written.
    messages_sent,
    /// Messages not written because they had expired on their way to the session.
    messages_expired,
    /// Messages not written because the session's transport cannot carry them: bodies that are not UTF-8, over SockJS.
    messages_not_carried,
    /// Times that a subscription was told that it missed messages, which the broker lost on their way.
    messages_missed,
    /// CONNECT frames whose login was refused, see [`ConnectRefused`](crate::login::ConnectRefused).
    logins_refused,
    /// Frames that the policy denied.
    denied,
    /// Frames that an [interceptor](crate::interceptor::Interceptor) refused.
    refused,
    /// Messages that a handler did not take or whose reply could not be sent, see [`Rejection`](crate::Rejection); and
    /// frames for destinations that do not exist.
    rejected,
    /// Handlers and checks of the policy that took longer than their time and were dropped, and sessions that gave up
    /// what their client had sent before it left: see [`Limits::handler_time`](crate::Limits::handler_time).
    handler_timeouts,
    /// Rejections by the application's own fault, each logged at ERROR: a reply that cannot be encoded or that nobody can
    /// receive, an argument that cannot have a value. Counted in `rejected` too.
    faults,
    /// Panics of handlers (login included), checks of the policy, interceptors and event listeners.
    handler_panics,
    /// Sessions ended because the client broke STOMP, WebSocket or SockJS.
    protocol_errors,
    /// Sessions ended because the client read too slowly.
    slow_consumers,
    /// Sessions ended because the client sent too fast for too long: see [`Rates`](crate::limits::Rates).
    too_fast,
    /// Sessions ended because the client's heart-beats, its answers to pings, its CONNECT, or the decision on it did
    /// not come in time.
    timeouts,
    /// Sessions whose client vanished without a close.
    vanished,
    /// Lines at INFO or above that were not logged, because one client caused too many:
    /// [deploying](crate::guide::deploying#logs).
    log_lines_suppressed,
}
