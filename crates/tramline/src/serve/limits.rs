//! Limits on the connections of a server.

use std::time::Duration;

/// The limits of a [`Server`](super::Server)'s connections.
///
/// Once a connection has become a WebSocket, its times are [`Limits`](crate::Limits)' or
/// [`RawLimits`](crate::raw::RawLimits)'; it still counts among the `connections`.
///
/// # Example: more connections, and less patience with them
///
/// ```
/// use std::time::Duration;
///
/// use tramline::serve::ServeLimits;
///
/// let mut limits = ServeLimits::default();
/// limits.connections = 50_000;
/// limits.head_time = Duration::from_secs(5);
/// assert_eq!(limits.connections_per_address, 1_000);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeLimits {
    /// Time from a connection's opening, or from the first byte of a further request, until the request's head is
    /// complete. Default 10 s: a head has a packet or two, which arrive on any network by then, and a client that sends
    /// a byte now and then holds a connection no longer. Then the connection is closed without an answer:
    /// `head_timeouts`.
    pub head_time: Duration,
    /// The largest head of a request, in bytes; 8,192 at least. Default 16,384: cookies and a token have room. A larger
    /// one is answered by 431.
    pub head_bytes: usize,
    /// Time for which a request's body may make no progress while the application reads it. Default 30 s: a phone that
    /// changes networks comes back. Then reading gives an error, which most applications answer by 400 or 408, and the
    /// connection is closed: `body_timeouts`.
    pub body_time: Duration,
    /// Time for which a client may take nothing of its answer. Default 30 s, for the same reason. Then the connection
    /// is closed: `send_timeouts`.
    pub send_time: Duration,
    /// Time for which a connection may wait between two requests. Default 75 s, as nginx's: longer than proxies and
    /// browsers keep an idle connection, so that they close it and not the server under a request. Then it is closed:
    /// `idle_timeouts`.
    pub idle_time: Duration,
    /// Open connections in all, WebSockets included. Default 20,000: some 50 MB of idle sessions. No more than nine
    /// tenths of the process's open files in any case, on Linux, so that the application can still open some. A further
    /// connection is answered by 503 and closed: `connections_refused`.
    pub connections: usize,
    /// Open connections of one address, or of one IPv6 network of 64 bits. Default 1,000: an office or a school behind
    /// one address passes. [Trusted proxies](super::Server::trusted_proxies) may have more. A further connection is
    /// answered by 503 and closed: `connections_refused`.
    pub connections_per_address: usize,
    /// Time that requests have to end once the [shutdown](super::Server::with_graceful_shutdown) has begun. Default
    /// 5 s. Then their connections are dropped.
    pub shutdown_time: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            head_time: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            body_time: Duration::from_secs(30),
            send_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(75),
            connections: 20_000,
            connections_per_address: 1_000,
            shutdown_time: Duration::from_secs(5),
        }
    }
}

impl ServeLimits {
    /// The most connections that the process's open files leave room for.
    pub(super) fn places(&self) -> usize {
        let Some(files) = open_files() else {
            return self.connections;
        };
        let room = files - files / 10;
        if room < self.connections {
            tracing::info!(
                open_files = files,
                connections = room,
                "fewer connections than `ServeLimits::connections` have room: see `ulimit -n`, or systemd's LimitNOFILE"
            );
        }
        self.connections.min(room)
    }
}

/// The process's limit of open files, where the system says it in a file.
fn open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn no_more_connections_than_open_files() {
        let files = open_files().expect("a limit");
        let places = |connections| {
            let limits = ServeLimits {
                connections,
                ..ServeLimits::default()
            };
            limits.places()
        };
        assert!(places(usize::MAX) < files);
        assert_eq!(places(1), 1);
    }
}
