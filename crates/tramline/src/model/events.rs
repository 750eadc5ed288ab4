//! What happens to sessions, for whoever wants to know.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

use super::connected::ConnectedSession;
use super::counter::Counter;
use super::panics::caught;
use crate::model::disconnected::Disconnected;

/// Something that happened to a stack or one of its sessions, told to listeners of
/// [`MessagingBuilder::on_event`](crate::MessagingBuilder::on_event).
///
/// Of one session, in this order: `Connect`, `Connected`, then any `Subscribed` and `Unsubscribed`, and `Disconnected` once.
/// A session that is refused after its `Connect` has no `Connected`, and still its `Disconnected`; one that was never that
/// far has none of them. Spring: `SessionConnectEvent` and its like, `BrokerAvailabilityEvent`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client's CONNECT has come and its login, if there is one, has let it in; policy and broker may still refuse.
    Connect {
        /// The session.
        session: ConnectedSession,
    },
    /// The session is open: its CONNECTED is about to be written.
    Connected {
        /// The session.
        session: ConnectedSession,
    },
    /// A subscription is active: what is published from now on, it gets.
    Subscribed {
        /// The session.
        session: ConnectedSession,
        /// The client's name for the subscription.
        id: ByteString,
        /// What to, as the client wrote it.
        destination: ByteString,
    },
    /// A client ended a subscription. Those that end with their session are not told one by one.
    Unsubscribed {
        /// The session.
        session: ConnectedSession,
        /// The client's name for the subscription.
        id: ByteString,
        /// What to, as the client wrote it.
        destination: ByteString,
    },
    /// The session is over.
    Disconnected {
        /// The session.
        session: ConnectedSession,
        /// Why.
        reason: Disconnected,
    },
    /// A user is at a destination, of those that [presence](crate::presence::Presences) is kept for, with the first of its
    /// subscriptions there.
    Joined {
        /// The destination.
        destination: ByteString,
        /// The user's name.
        user: ByteString,
    },
    /// A user's last subscription to such a destination has ended.
    Left {
        /// The destination.
        destination: ByteString,
        /// The user's name.
        user: ByteString,
    },
    /// The broker takes messages. For the embedded broker when the stack is built.
    BrokerAvailable,
    /// The broker takes no messages for now, or, at [`shutdown`](crate::Messaging::shutdown), any more.
    BrokerUnavailable,
}

/// Those who want to know.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Listener>);

type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

impl Listeners {
    pub(crate) fn add(&mut self, listener: impl Fn(&Event) + Send + Sync + 'static) {
        self.0.push(Arc::new(listener));
    }

    /// Tells them, if there are any. One that panics is counted, and keeps nobody else from hearing it.
    pub(crate) fn tell(&self, stack: &str, panics: &Counter, event: impl FnOnce() -> Event) {
        if self.0.is_empty() {
            return;
        }
        let event = event();
        for listener in &self.0 {
            if let Err(panic) = caught(|| listener(&event)) {
                panics.increment();
                tracing::error!(stack, %panic, ?event, "event listener panicked");
            }
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}
