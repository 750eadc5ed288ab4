//! The sessions of other nodes, as data.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bytestring::ByteString;

use crate::Headers;
use crate::errors::StartError;
use crate::session_id::SessionId;
use crate::sync::Mutex;

/// Identifies a node, from its start to its end: 128 random bits, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u128);

impl NodeId {
    /// Generates a random id.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness, as for [`SessionId::random`].
    pub fn random() -> Self {
        Self(u128::from_ne_bytes(crate::random_bytes()))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A session, described for other nodes and for registries.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// The node that has it.
    pub node: NodeId,
    /// Its id.
    pub session: SessionId,
    /// The name of its user; `None` for an anonymous session.
    pub user: Option<ByteString>,
    /// Details from its node's [`describe`](crate::SessionContext::describe).
    pub details: Headers,
    /// Its active subscriptions.
    pub subscriptions: Vec<SubscriptionDescription>,
}

/// A subscription, described for other nodes and for registries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionDescription {
    /// The session's number for it.
    pub slot: u32,
    /// The client's id.
    pub id: ByteString,
    /// The destination as the client wrote it, perhaps a pattern.
    pub destination: ByteString,
}

/// A change in a session, announced by its node to the others, and to each node's [`Observer`].
///
/// The events of one session come in order: `Opened` first, `Closed` last. `Closed` may come twice, and also before
/// `Opened`, if the session is closed while it opens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MemberEvent {
    /// A session was opened.
    Opened(MemberDescription),
    /// A subscription became active.
    Subscribed {
        /// The session.
        session: SessionId,
        /// The name of its user.
        user: Option<ByteString>,
        /// The subscription.
        subscription: SubscriptionDescription,
    },
    /// An active subscription has ended.
    Unsubscribed {
        /// The session.
        session: SessionId,
        /// The name of its user.
        user: Option<ByteString>,
        /// The subscription.
        subscription: SubscriptionDescription,
    },
    /// A session was closed; its subscriptions ended before.
    Closed {
        /// The session.
        session: SessionId,
    },
}

/// A request from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Ends a session, as [`Hub::end_session`](crate::Hub::end_session) does.
    End {
        /// The session.
        session: SessionId,
        /// The WebSocket close code.
        code: u16,
        /// The reason shown to its client.
        reason: ByteString,
    },
}

/// An observer of every session on all nodes, and of the engine's availability: presence, and listeners.
pub trait Observer: Send + Sync {
    /// Returns true to have [`member`](Self::member) called; read once. Default true.
    fn wants_members(&self) -> bool {
        true
    }

    /// A session of `node`, this one or another, changed. Called without a lock held; the events of one session come in
    /// order.
    fn member(&self, node: NodeId, event: &MemberEvent);

    /// The application, here or on another node, ends the session. Called before it leaves the hub.
    fn ending(&self, session: &super::Member, code: u16, reason: &ByteString);

    /// The engine became available or unavailable.
    fn available(&self, available: bool);

    /// The engine failed to start at its first use.
    fn start_failed(&self, error: &StartError);
}

/// The sessions of other nodes.
#[derive(Debug, Default)]
pub(super) struct Remote {
    nodes: Mutex<HashMap<NodeId, BTreeMap<SessionId, MemberDescription>>>,
}

impl Remote {
    /// Applies an event of another node; returns the resulting events here: none if the session is unknown.
    pub(super) fn note(&self, node: NodeId, event: MemberEvent) -> Vec<MemberEvent> {
        let mut nodes = self.nodes.lock();
        match event {
            MemberEvent::Opened(member) => {
                let known = nodes.entry(node).or_default();
                let mut opened = member.clone();
                let subscriptions = std::mem::take(&mut opened.subscriptions);
                let before = known.insert(member.session, member);
                let mut events = before.map_or_else(Vec::new, gone);
                let (session, user) = (opened.session, opened.user.clone());
                events.push(MemberEvent::Opened(opened));
                events.extend(subscriptions.into_iter().map(|subscription| {
                    MemberEvent::Subscribed {
                        session,
                        user: user.clone(),
                        subscription,
                    }
                }));
                events
            }
            MemberEvent::Subscribed {
                session,
                user,
                subscription,
            } => {
                let Some(member) = member(&mut nodes, node, session) else {
                    return Vec::new();
                };
                let mut known = member.subscriptions.iter();
                if known.any(|known| known.slot == subscription.slot) {
                    // Its description included it already.
                    return Vec::new();
                }
                member.subscriptions.push(subscription.clone());
                vec![MemberEvent::Subscribed {
                    session,
                    user,
                    subscription,
                }]
            }
            MemberEvent::Unsubscribed {
                session,
                user,
                subscription,
            } => {
                let Some(member) = member(&mut nodes, node, session) else {
                    return Vec::new();
                };
                let before = member.subscriptions.len();
                member
                    .subscriptions
                    .retain(|known| known.slot != subscription.slot);
                if member.subscriptions.len() == before {
                    return Vec::new();
                }
                vec![MemberEvent::Unsubscribed {
                    session,
                    user,
                    subscription,
                }]
            }
            MemberEvent::Closed { session } => {
                let known = nodes
                    .get_mut(&node)
                    .and_then(|known| known.remove(&session));
                known.map_or_else(Vec::new, gone)
            }
        }
    }

    /// Removes a node; returns the resulting events here.
    pub(super) fn lost(&self, node: NodeId) -> Vec<MemberEvent> {
        let known = self.nodes.lock().remove(&node).unwrap_or_default();
        known.into_values().flat_map(gone).collect()
    }

    pub(super) fn all(&self) -> Vec<MemberDescription> {
        let nodes = self.nodes.lock();
        nodes.values().flat_map(BTreeMap::values).cloned().collect()
    }

    pub(super) fn find(&self, session: SessionId) -> Option<MemberDescription> {
        let nodes = self.nodes.lock();
        let mut members = nodes.values();
        members.find_map(|members| members.get(&session)).cloned()
    }

    pub(super) fn of_user(&self, name: &str) -> Vec<MemberDescription> {
        let nodes = self.nodes.lock();
        let members = nodes.values().flat_map(BTreeMap::values);
        members
            .filter(|member| member.user.as_deref() == Some(name))
            .cloned()
            .collect()
    }
}

fn member(
    nodes: &mut HashMap<NodeId, BTreeMap<SessionId, MemberDescription>>,
    node: NodeId,
    session: SessionId,
) -> Option<&mut MemberDescription> {
    nodes.get_mut(&node)?.get_mut(&session)
}

/// The events of a session's end.
fn gone(member: MemberDescription) -> Vec<MemberEvent> {
    let MemberDescription {
        session,
        user,
        subscriptions,
        ..
    } = member;
    let ended = subscriptions
        .into_iter()
        .map(|subscription| MemberEvent::Unsubscribed {
            session,
            user: user.clone(),
            subscription,
        });
    let closed = std::iter::once(MemberEvent::Closed { session });
    ended.chain(closed).collect()
}
