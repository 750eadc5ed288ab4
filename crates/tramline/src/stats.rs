//! What happened, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A struct of numbers, and one of the counters behind them.
macro_rules! counters {
    (
        $(#[$about:meta])* $stats:ident, $counters:ident:
        $($(#[$doc:meta])* $name:ident,)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct $counters {
            $(pub(crate) $name: $crate::stats::Counter,)*
        }

        impl $counters {
            pub(crate) fn snapshot(&self) -> $stats {
                $stats { $($name: self.$name.get(),)* }
            }
        }
    };
}

pub(crate) use counters;

counters! {
    /// What one messaging stack has done and refused since it was built: from
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
    /// HTTP requests to an endpoint that were neither a handshake nor SockJS: unknown path, wrong method or headers; and
    /// those for which there was no room, or whose SockJS session is somebody else's, over or not there.
    requests_refused,
    /// SEND frames that reached a handler or the broker.
    messages_received,
    /// MESSAGE frames written.
    messages_sent,
    /// CONNECT frames whose login was refused, see [`ConnectRefused`](crate::ConnectRefused).
    logins_refused,
    /// Frames that the policy denied.
    denied,
    /// Frames that an [interceptor](crate::Interceptor) did not let pass.
    refused,
    /// Messages that a handler did not take or whose reply could not be sent, see [`Rejection`](crate::Rejection); and
    /// frames for destinations that there are not.
    rejected,
    /// Handlers that panicked, the login's included; interceptors and event listeners too.
    handler_panics,
    /// Sessions ended because the client broke STOMP, WebSocket or SockJS.
    protocol_errors,
    /// Sessions ended because the client read too slowly.
    slow_consumers,
    /// Sessions ended because the client's heart-beats, its answers to pings, its CONNECT, or the decision about that did
    /// not come in time.
    timeouts,
    /// Sessions whose client vanished without saying goodbye.
    vanished,
}

/// A number that many tasks count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
