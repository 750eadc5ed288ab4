//! The brokers that the relay knows, and how they differ.

use std::fmt;

use tramline_broker::{DurableName, Headers, Outcome, Timestamp};
use tramline_stomp::Connected;

use crate::names::Shape;

/// The software of a broker. The relay finds it out from the `server` header of CONNECTED, unless
/// [`StompRelay::kind`](crate::StompRelay::kind) sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BrokerKind {
    /// RabbitMQ with the plugin `rabbitmq_stomp`; tested with 3.10.
    RabbitMq,
    /// Apache ActiveMQ Classic; tested with 5.17.
    ActiveMq,
    /// Apache ActiveMQ Artemis.
    Artemis,
}

/// The bytes that Artemis may reserve for each message of a consumer's credit: more than most messages have.
const WINDOW: u64 = 4 * 1024;

impl BrokerKind {
    /// Reads the kind from a broker's greeting.
    pub(crate) fn of(connected: &Connected) -> Option<Self> {
        let server = connected.server.as_deref()?.to_ascii_lowercase();
        [
            ("rabbitmq", Self::RabbitMq),
            // Its name begins with that of the other one.
            ("activemq-artemis", Self::Artemis),
            ("activemq", Self::ActiveMq),
        ]
        .into_iter()
        .find_map(|(name, kind)| server.starts_with(name).then_some(kind))
    }

    /// Returns true if a NACK puts a message back into its queue. ActiveMQ makes a dead letter of it, and Artemis drops
    /// it.
    pub(crate) fn nack_releases(self) -> bool {
        matches!(self, Self::RabbitMq)
    }

    /// Headers of a SUBSCRIBE to a topic.
    pub(crate) fn topic_headers(self) -> Headers {
        let mut headers = Headers::new();
        match self {
            // RabbitMQ 4 deprecates queues that are neither durable nor exclusive.
            Self::RabbitMq => headers.push("exclusive", "true"),
            Self::ActiveMq => {}
            Self::Artemis => headers.push("subscription-type", "MULTICAST"),
        }
        headers
    }

    /// Headers of a SUBSCRIBE to a queue, or of a durable subscription, with at most `credit` unsettled messages.
    pub(crate) fn consumer_headers(self, credit: u32, durable: Option<&str>) -> Headers {
        let mut headers = Headers::new();
        match self {
            Self::RabbitMq => {
                headers.push("prefetch-count", credit.to_string());
                if let Some(name) = durable {
                    headers.push("durable", "true");
                    headers.push("auto-delete", "false");
                    headers.push("x-queue-name", name);
                }
            }
            Self::ActiveMq => {
                headers.push("activemq.prefetchSize", credit.to_string());
                if let Some(name) = durable {
                    headers.push("activemq.subscriptionName", name);
                }
            }
            Self::Artemis => {
                // It counts bytes: 0 means one message at a time, and the relay keeps what exceeds the credit.
                let window = if credit == 1 {
                    0
                } else {
                    u64::from(credit) * WINDOW
                };
                headers.push("consumer-window-size", window.to_string());
                let routing = if durable.is_some() {
                    "MULTICAST"
                } else {
                    "ANYCAST"
                };
                headers.push("subscription-type", routing);
                if let Some(name) = durable {
                    headers.push("durable-subscription-name", name);
                }
            }
        }
        headers
    }

    /// The headers of the UNSUBSCRIBE frames that end a durable subscription for good.
    pub(crate) fn end_headers(self, durable: &str) -> Vec<Headers> {
        let mut headers = Headers::new();
        match self {
            Self::RabbitMq => {
                headers.push("durable", "true");
                headers.push("auto-delete", "false");
                headers.push("x-queue-name", durable);
            }
            Self::ActiveMq => headers.push("activemq.subscriptionName", durable),
            Self::Artemis => headers.push("durable-subscription-name", durable),
        }
        match self {
            // It ends none that has a consumer, and one frame does not do both.
            Self::ActiveMq => vec![Headers::new(), headers],
            Self::RabbitMq | Self::Artemis => vec![headers],
        }
    }

    /// The `client-id` of the CONNECT of a durable subscription's link.
    pub(crate) fn client_id(self, durable: &str) -> Option<&str> {
        (self != Self::RabbitMq).then_some(durable)
    }

    /// Adds what a SEND needs, and the time of its expiry in the broker's own header.
    pub(crate) fn complete_send(
        self,
        to: Shape,
        (expires, now): (Option<Timestamp>, Timestamp),
        headers: &mut Headers,
    ) {
        if self == Self::Artemis {
            let routing = match to {
                Shape::Topic => "MULTICAST",
                Shape::Queue => "ANYCAST",
            };
            headers.push("destination-type", routing);
        }
        let Some(expires) = expires else { return };
        headers.remove("expires");
        headers.remove("expiration");
        match self {
            Self::RabbitMq => {
                let left = expires.as_millis().saturating_sub(now.as_millis());
                headers.push("expiration", left.to_string());
            }
            Self::ActiveMq | Self::Artemis => {
                headers.push("expires", expires.as_millis().to_string());
            }
        }
    }

    /// The headers of the NACK for an outcome that is no ACK.
    pub(crate) fn nack_headers(self, outcome: Outcome) -> Headers {
        let mut headers = Headers::new();
        if self == Self::RabbitMq {
            let requeue = if outcome == Outcome::Released {
                "true"
            } else {
                "false"
            };
            headers.push("requeue", requeue);
        }
        headers
    }
}

/// The broker's name of a durable subscription: different for different users, whatever their names contain.
pub(crate) fn durable_name(durable: &DurableName) -> String {
    let part = |text: &str| {
        let escape = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            byte => format!("_{byte:02x}"),
        };
        text.bytes().map(escape).collect::<String>()
    };
    format!("tramline.{}.{}", part(&durable.user), part(&durable.id))
}

impl fmt::Display for BrokerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RabbitMq => "RabbitMQ",
            Self::ActiveMq => "ActiveMQ",
            Self::Artemis => "Artemis",
        })
    }
}
