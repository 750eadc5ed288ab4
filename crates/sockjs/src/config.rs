//! Configuration of an endpoint.

use std::time::Duration;

/// The configuration of one SockJS endpoint, shared by its sessions.
///
/// The defaults are Spring's, which its front ends were written against.
///
/// # Example: change one thing
///
/// ```
/// use std::time::Duration;
/// use tramline_sockjs::Config;
///
/// let mut config = Config::default();
/// config.heartbeat = Duration::from_secs(10);
/// assert_eq!(config.disconnect_delay, Duration::from_secs(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long a receiver may get nothing before it gets a heartbeat frame. 25 s, the protocol's number: load
    /// balancers commonly cut connections that are silent for 30 s. Zero means no heartbeats.
    pub heartbeat: Duration,
    /// How long a session lives without a receiver. 5 s, the protocol's number: a polling client comes back within a
    /// round trip, so longer only keeps dead sessions, and shorter cuts phones that change networks. A closed session
    /// is kept for the same time, to answer late requests.
    pub disconnect_delay: Duration,
    /// The maximum size of one HTTP response in bytes, including frames and framing but not the prelude; then it ends
    /// and the client sends a new request. 128 KiB, the protocol's number: a browser keeps all of a streaming response
    /// in memory until it ends. A message is never split, so a larger one is sent whole and ends its response. On a
    /// WebSocket this bounds a frame, and ends nothing.
    pub response_limit: usize,
    /// Makes `/info` ask clients for cookies. On, as in Spring: HTTP transports need all requests of a session on one
    /// server, and load balancers do that by a cookie.
    pub cookie_needed: bool,
    /// Makes `/info` offer WebSocket. On. Turn it off where WebSocket is known to fail.
    pub websocket: bool,
    /// The treatment of a session whose receiver was cut off.
    pub on_abort: OnAbort,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(25),
            disconnect_delay: Duration::from_secs(5),
            response_limit: 128 * 1024,
            cookie_needed: true,
            websocket: true,
            on_abort: OnAbort::default(),
        }
    }
}

/// The treatment of a session whose HTTP receiver ended before the session ended it: a tab closed, a network changed, a
/// proxy timed out.
///
/// Frames that were handed to that receiver may or may not have arrived, and SockJS has no means to ask. Frames that
/// were still queued are safe either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnAbort {
    /// Closes it with 1002 "Connection interrupted" and drops queued messages, so that a client that comes back learns
    /// of the gap. This is what sockjs-protocol requires ("Handling close", `test_abort_xhr_streaming` and
    /// `test_abort_xhr_polling`). A receiver cut off before it got even the open frame has missed nothing, and the
    /// session stays.
    #[default]
    Close,
    /// Keeps the session until [`Config::disconnect_delay`], so that a client that comes back finds it. `sockjs-client`
    /// comes back if the response ended cleanly on its side, as when a proxy timed out; after a network error it closes
    /// the session by itself. The price: frames in flight at the cut are lost silently. For content that detects gaps
    /// by itself.
    Keep,
}
