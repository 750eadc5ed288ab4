//! Events of sessions and of the stack, and their listeners.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

use super::connected::ConnectedSession;
use super::panics::{Panic, caught};
use crate::model::disconnected::Disconnected;

/// An event of a stack or of one of its sessions, for listeners of
/// [`MessagingBuilder::on_event`](crate::MessagingBuilder::on_event).
///
/// For one session the order is: `Connect`, `Connected`, then any `Subscribed` and `Unsubscribed`, and `Disconnected`
/// once. A session that is refused after its `Connect` has no `Connected`, but does have its `Disconnected`; one that
/// ends before its `Connect` has none of them. Spring: `SessionConnectEvent` and its like, `BrokerAvailabilityEvent`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client has sent CONNECT and its login, if there is one, has accepted it; policy and broker may still refuse.
    Connect {
        /// The session.
        session: ConnectedSession,
    },
    /// The session is open: its CONNECTED is about to be written.
    Connected {
        /// The session.
        session: ConnectedSession,
    },
    /// A subscription is active: it receives what is published from now on.
    Subscribed {
        /// The session.
        session: ConnectedSession,
        /// The client's id for the subscription.
        id: ByteString,
        /// The destination as the client wrote it.
        destination: ByteString,
    },
    /// A client ended a subscription. Subscriptions that end with their session have no such event.
    Unsubscribed {
        /// The session.
        session: ConnectedSession,
        /// The client's id for the subscription.
        id: ByteString,
        /// The destination as the client wrote it.
        destination: ByteString,
    },
    /// The session is over.
    Disconnected {
        /// The session.
        session: ConnectedSession,
        /// The reason.
        reason: Disconnected,
    },
    /// A user's first subscription to a destination for which [presence](crate::presence::Presences) is kept is active.
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
    /// The broker accepts messages. The embedded broker does once the stack is built.
    BrokerAvailable,
    /// The broker accepts no messages: for now, or, at [`shutdown`](crate::Messaging::shutdown), for good.
    BrokerUnavailable,
}

/// The registered listeners.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Listener>);

type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

impl Listeners {
    pub(crate) fn add(&mut self, listener: impl Fn(&Event) + Send + Sync + 'static) {
        self.0.push(Arc::new(listener));
    }

    /// Calls the listeners, if there are any, and `panicked` for each one that panics; the others are still called.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event, panicked: impl Fn(&Panic, &Event)) {
        if self.0.is_empty() {
            return;
        }
        let event = event();
        for listener in &self.0 {
            if let Err(panic) = caught(|| listener(&event)) {
                panicked(&panic, &event);
            }
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}
