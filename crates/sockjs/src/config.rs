//! What an endpoint may choose.

use std::time::Duration;

/// The choices of one SockJS endpoint, shared by its sessions.
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
    /// How long a receiver may hear nothing before it gets a heartbeat frame. 25 s, the protocol's number: load balancers
    /// commonly cut connections that are silent for 30 s. Zero means no heartbeats.
    pub heartbeat: Duration,
    /// How long a session lives without a receiver. 5 s, the protocol's number: a polling client comes back within a
    /// round trip, so longer only keeps dead sessions, and shorter cuts phones that change networks. A closed session is
    /// remembered as long, to tell late requests.
    pub disconnect_delay: Duration,
    /// How many bytes one HTTP response carries, frames and framing counted and the prelude not, before it ends and the
    /// client asks anew. 128 KiB, the protocol's number: a browser keeps all of a streaming response in memory until it
    /// ends. A message is never split, so one larger than this goes out whole and ends its response. On a WebSocket this
    /// bounds a frame, and ends nothing.
    pub response_limit: usize,
    /// Whether `/info` asks clients for cookies. On, as in Spring: HTTP transports need all requests of a session on one
    /// server, and load balancers see to that by a cookie.
    pub cookie_needed: bool,
    /// Whether `/info` offers WebSocket. On. Off is for places where it is known to break.
    pub websocket: bool,
    /// What becomes of a session whose receiver was cut off.
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

/// What becomes of a session whose HTTP receiver ended before we ended it: a tab closed, a network changed, a proxy lost
/// patience.
///
/// Frames that were handed to that receiver may or may not have arrived, and SockJS has no means to ask. Frames that were
/// still queued are safe either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnAbort {
    /// Close it with 1002 "Connection interrupted" and drop what is queued, so that a client that comes back knows of the
    /// gap. This is what sockjs-protocol asks for ("Handling close", `test_abort_xhr_streaming` and
    /// `test_abort_xhr_polling`). A receiver cut off before it got even the open frame has missed nothing, and the session
    /// stays.
    #[default]
    Close,
    /// Keep the session until [`Config::disconnect_delay`], so that a client that comes back finds it. `sockjs-client`
    /// comes back where the response ended cleanly on its side, as when a proxy lost patience; after a network error it
    /// gives the session up by itself. The price: what was on its way when the cut came is missing without a word. For
    /// content that notices gaps by itself.
    Keep,
}
