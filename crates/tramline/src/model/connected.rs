//! Sessions that are connected, as the application sees them.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::SessionId;

use super::inbound::SessionRecord;
use super::user::{Handshake, User};

/// A session, in a [`Registry`](crate::Registry) or an [`Event`](crate::Event).
#[derive(Clone)]
pub struct ConnectedSession(pub(crate) Arc<SessionRecord>);

impl ConnectedSession {
    /// Its id, unique in the world: the `session` header of CONNECTED.
    pub fn id(&self) -> SessionId {
        self.0.id()
    }

    /// Its user; `None` for an anonymous session.
    pub fn user(&self) -> Option<&User> {
        self.0.user()
    }

    /// What is kept of the HTTP request that opened it.
    pub fn handshake(&self) -> &Handshake {
        self.0.handshake()
    }

    /// Its subscriptions that are active at this moment, in no order.
    pub fn subscriptions(&self) -> Vec<ConnectedSubscription> {
        self.subscriptions_where(|_| true)
    }

    pub(crate) fn subscriptions_where(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<ConnectedSubscription> {
        self.0.subscriptions.select(|id, destination| {
            wanted(destination).then(|| ConnectedSubscription {
                session: self.clone(),
                id: id.into(),
                destination: destination.into(),
            })
        })
    }
}

impl fmt::Debug for ConnectedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A subscription that was active when the [`Registry`](crate::Registry) was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectedSubscription {
    /// Whose it is.
    pub session: ConnectedSession,
    /// The client's name for it.
    pub id: ByteString,
    /// What to, as the client wrote it: a pattern perhaps.
    pub destination: ByteString,
}
