use bytestring::ByteString;

use crate::decoder::Limits;
use crate::heart_beat::HeartBeat;

/// What every connection of a server has in common; share it in an `Arc`.
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
    /// What a client may send; see [`Limits`] for the defaults.
    pub limits: Limits,

    /// The heart-beats that CONNECTED offers, in milliseconds. Default 10,000 both ways: a dead
    /// peer is noticed within 30 s, and proxies that cut idle connections do so after 60 s.
    pub heart_beat: HeartBeat,

    /// The most subscriptions that one client holds at a time. Default 1,024: an application has
    /// tens, and looking an id up is linear.
    pub max_subscriptions: usize,

    /// The most transactions that one client has open at a time. Default 16: as RabbitMQ. A
    /// client has one or two; each id may take as much as [`Limits::header_line`] allows.
    pub max_transactions: usize,

    /// The `server` header of CONNECTED, such as `tramline/0.1`. Default none: it tells an
    /// attacker which version to look up.
    pub server: Option<ByteString>,
}

impl ServerConfig {
    /// With other [`ServerConfig::limits`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With another [`ServerConfig::heart_beat`].
    #[must_use]
    pub fn with_heart_beat(mut self, heart_beat: HeartBeat) -> Self {
        self.heart_beat = heart_beat;
        self
    }

    /// With another [`ServerConfig::max_subscriptions`].
    #[must_use]
    pub fn with_max_subscriptions(mut self, count: usize) -> Self {
        self.max_subscriptions = count;
        self
    }

    /// With another [`ServerConfig::max_transactions`].
    #[must_use]
    pub fn with_max_transactions(mut self, count: usize) -> Self {
        self.max_transactions = count;
        self
    }

    /// With a [`ServerConfig::server`] header.
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
            max_subscriptions: 1024,
            max_transactions: 16,
            server: None,
        }
    }
}
