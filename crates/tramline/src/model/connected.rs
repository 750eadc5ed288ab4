//! Sessions that are connected, as the application sees them.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::{Member, MemberDescription, NodeId, SessionId, SubscriptionDescription};

use super::inbound::SessionRecord;
use super::user::{Handshake, User};

/// A session, in a [`Registry`](crate::Registry) or an [`Event`](crate::events::Event): of this node, or of another.
///
/// A session of this node shows its state at each call, one of another node its state when the registry was asked.
#[derive(Clone)]
pub struct ConnectedSession(Which);

#[derive(Clone)]
enum Which {
    Here(Arc<Member>, Arc<SessionRecord>),
    Elsewhere(Arc<Elsewhere>),
}

/// A session of another node.
struct Elsewhere {
    described: MemberDescription,
    user: Option<User>,
    handshake: Handshake,
}

impl ConnectedSession {
    pub(crate) fn here(member: &Arc<Member>, record: &Arc<SessionRecord>) -> Self {
        Self(Which::Here(Arc::clone(member), Arc::clone(record)))
    }

    /// A session that the hub knows.
    pub(crate) fn of(member: Arc<Member>) -> Option<Self> {
        let record = member.context()?;
        Some(Self(Which::Here(member, record)))
    }

    pub(crate) fn elsewhere(described: MemberDescription) -> Self {
        let details = &described.details;
        let user = described.user.as_ref();
        Self(Which::Elsewhere(Arc::new(Elsewhere {
            user: user.map(|name| User::described(name, details)),
            handshake: Handshake::described(details),
            described,
        })))
    }

    /// Its id, unique in the world: the `session` header of CONNECTED.
    pub fn id(&self) -> SessionId {
        match &self.0 {
            Which::Here(member, _) => member.id(),
            Which::Elsewhere(session) => session.described.session,
        }
    }

    /// Its user; `None` if the session is anonymous.
    pub fn user(&self) -> Option<User> {
        match &self.0 {
            Which::Here(_, record) => record.user(),
            Which::Elsewhere(session) => session.user.clone(),
        }
    }

    /// The kept parts of the HTTP request that opened it. For a session of another node that is path, origin and remote
    /// address.
    pub fn handshake(&self) -> &Handshake {
        match &self.0 {
            Which::Here(_, record) => record.handshake(),
            Which::Elsewhere(session) => &session.handshake,
        }
    }

    /// The other node that has it; `None` for a session of this node.
    pub fn node(&self) -> Option<NodeId> {
        match &self.0 {
            Which::Here(..) => None,
            Which::Elsewhere(session) => Some(session.described.node),
        }
    }

    /// The hub's and the stack's record of a session of this node.
    #[cfg(feature = "console")]
    pub(crate) fn local(&self) -> Option<(&Member, &SessionRecord)> {
        match &self.0 {
            Which::Here(member, record) => Some((member, record)),
            Which::Elsewhere(_) => None,
        }
    }

    /// A handle of its stack, by type, as handlers have it.
    pub(crate) fn handle<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        match &self.0 {
            Which::Here(_, record) => record.stack.upgrade()?.get().cloned(),
            Which::Elsewhere(_) => None,
        }
    }

    /// Its active subscriptions, in no order.
    pub fn subscriptions(&self) -> Vec<ConnectedSubscription> {
        self.subscriptions_where(|_| true)
    }

    pub(crate) fn subscriptions_where(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<ConnectedSubscription> {
        let subscriptions = match &self.0 {
            Which::Here(member, _) => member.subscriptions(|_, destination| wanted(destination)),
            Which::Elsewhere(session) => {
                let known = session.described.subscriptions.iter();
                let wanted = known.filter(|known| wanted(&known.destination));
                wanted.cloned().collect()
            }
        };
        let subscriptions = subscriptions.into_iter();
        subscriptions
            .map(|subscription| {
                let SubscriptionDescription {
                    id, destination, ..
                } = subscription;
                ConnectedSubscription {
                    session: self.clone(),
                    id,
                    destination,
                }
            })
            .collect()
    }
}

impl fmt::Debug for ConnectedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Which::Here(_, record) => record.fmt(f),
            Which::Elsewhere(session) => session.described.fmt(f),
        }
    }
}

/// A subscription that was active when the [`Registry`](crate::Registry) was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectedSubscription {
    /// The session that subscribed.
    pub session: ConnectedSession,
    /// The client's id for it.
    pub id: ByteString,
    /// The destination as the client wrote it, perhaps a pattern.
    pub destination: ByteString,
}
