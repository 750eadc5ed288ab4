use std::time::Duration;

use bytestring::ByteString;

use crate::decoder::Limits;
use crate::heart_beat::HeartBeat;

/// The configuration that all connections of a server share, in an `Arc`.
///
/// # Example: slower heart-beats, larger messages
///
/// ```
/// use tramline_stomp::{HeartBeat, Limits, ServerConfig};
///
/// let config = ServerConfig::default()
///     .with_heart_beat(HeartBeat { send: 25_000, receive: 25_000 })
///     .with_limits(Limits::default().with_body(1024 * 1024));
/// assert_eq!(config.max_subscriptions, 1024);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Limits on what a client may send; see [`Limits`] for the defaults.
    pub limits: Limits,

    /// The heart-beats that CONNECTED offers, in milliseconds. Default 10,000 both ways: proxies cut idle connections
    /// after 60 s. When a silent client is considered dead, [`min_silence`](Self::min_silence) says.
    pub heart_beat: HeartBeat,

    /// The least time for which a client that agreed to send heart-beats may be silent before it is considered dead; with
    /// longer intervals it is [`READ_TOLERANCE`](crate::READ_TOLERANCE) times the interval. Default 90 s: browsers run a
    /// background tab's timers once a minute, whatever it agreed to. Zero for clients that are not browsers.
    pub min_silence: Duration,

    /// The period of the timer that calls [`handle_timeout`](crate::ServerConnection::handle_timeout), if it is coarse.
    /// Default zero. Heart-beats are scheduled at 90 % of the agreed interval, rounded down to whole periods: with a
    /// timer that fires at the first of its ticks after a deadline, and time that is read at its ticks, none is late from
    /// intervals of two periods on.
    pub timer_period: Duration,

    /// The maximum number of subscriptions of one client. Default 1,024: an application has tens, and looking up an id
    /// is linear.
    pub max_subscriptions: usize,

    /// The maximum number of open transactions of one client. Default 16, as in RabbitMQ. A client has one or two; each
    /// id may take as much as [`Limits::header_line`] allows.
    pub max_transactions: usize,

    /// The maximum bytes of CONNECT and of what the connection holds of other input before it is accepted. Default 16,384: a
    /// token fits twice, and strangers that stop inside a frame hold no more.
    pub max_connect_bytes: usize,

    /// The `server` header of CONNECTED, such as `tramline/0.1`. Default none: it tells an
    /// attacker which version to look up.
    pub server: Option<ByteString>,
}

impl ServerConfig {
    /// Sets [`ServerConfig::limits`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`ServerConfig::heart_beat`].
    #[must_use]
    pub fn with_heart_beat(mut self, heart_beat: HeartBeat) -> Self {
        self.heart_beat = heart_beat;
        self
    }

    /// Sets [`ServerConfig::min_silence`].
    #[must_use]
    pub fn with_min_silence(mut self, silence: Duration) -> Self {
        self.min_silence = silence;
        self
    }

    /// Sets [`ServerConfig::timer_period`].
    #[must_use]
    pub fn with_timer_period(mut self, period: Duration) -> Self {
        self.timer_period = period;
        self
    }

    /// Sets [`ServerConfig::max_subscriptions`].
    #[must_use]
    pub fn with_max_subscriptions(mut self, count: usize) -> Self {
        self.max_subscriptions = count;
        self
    }

    /// Sets [`ServerConfig::max_transactions`].
    #[must_use]
    pub fn with_max_transactions(mut self, count: usize) -> Self {
        self.max_transactions = count;
        self
    }

    /// Sets [`ServerConfig::max_connect_bytes`].
    #[must_use]
    pub fn with_max_connect_bytes(mut self, bytes: usize) -> Self {
        self.max_connect_bytes = bytes;
        self
    }

    /// Sets [`ServerConfig::server`].
    #[must_use]
    pub fn with_server(mut self, name: impl Into<ByteString>) -> Self {
        self.server = Some(name.into());
        self
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            heart_beat: HeartBeat {
                send: 10_000,
                receive: 10_000,
            },
            min_silence: Duration::from_secs(90),
            timer_period: Duration::ZERO,
            max_subscriptions: 1024,
            max_transactions: 16,
            max_connect_bytes: 16 * 1024,
            server: None,
        }
    }
}
