//! The sessions of other nodes, as data.

use std::collections::{BTreeMap, HashMap};

use bytestring::ByteString;

use super::descriptions::{MemberDescription, NodeId, SubscriptionDescription};
use crate::errors::{SettleError, StartError};
use crate::session_id::SessionId;
use crate::sync::Mutex;

/// A change in a session, announced by its node to the others, and to each node's [`Observer`].
///
/// The events of one session come in the order of its changes: `Opened` first, `Closed` last. Other nodes may receive
/// `Opened` again, with all subscriptions: see [`LocalHub::announce_members`](crate::LocalHub::announce_members).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MemberEvent {
    /// A session was opened: the engine has confirmed it.
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
    /// Has a session check its subscriptions again, as [`Hub::recheck_session`](crate::Hub::recheck_session) does.
    Recheck {
        /// The session.
        session: SessionId,
    },
}

/// An observer of every session on all nodes, and of the engine's availability: presence, and listeners.
pub trait Observer: Send + Sync {
    /// Returns true to have [`member`](Self::member) called; read once. Default true.
    fn wants_members(&self) -> bool {
        true
    }

    /// A session of `node`, this one or another, changed. Called without a lock held, one event at a time, in the order of
    /// the changes; perhaps by another thread than the one that made the change.
    fn member(&self, node: NodeId, event: &MemberEvent);

    /// The application, here or on another node, ends the session. Called before it leaves the hub.
    fn ending(&self, session: &super::Member, code: u16, reason: &ByteString);

    /// The engine became available or unavailable.
    fn available(&self, available: bool);

    /// The engine refused or did not answer a settlement that
    /// [no caller waits for](crate::Hub::settle_unawaited).
    fn settlement_failed(&self, session: SessionId, error: &SettleError);

    /// The engine failed to start at its first use.
    fn start_failed(&self, error: &StartError);
}

/// The sessions of other nodes.
#[derive(Debug, Default)]
pub(super) struct Remote {
    nodes: Mutex<HashMap<NodeId, BTreeMap<SessionId, MemberDescription>>>,
}

impl Remote {
    /// Applies an event of another node, and passes the resulting events to `report`, in order and under the lock that
    /// decides them: none if nothing changes.
    pub(super) fn note(
        &self,
        node: NodeId,
        event: MemberEvent,
        mut report: impl FnMut(MemberEvent),
    ) {
        let mut nodes = self.nodes.lock();
        match event {
            MemberEvent::Opened(described) => {
                described_anew(nodes.entry(node).or_default(), described, report);
            }
            MemberEvent::Subscribed {
                session,
                user,
                subscription,
            } => {
                let Some(member) = member(&mut nodes, node, session) else {
                    return;
                };
                // Its description may have included it.
                if !member.has(subscription.slot) {
                    member.subscriptions.push(subscription.clone());
                    report(MemberEvent::Subscribed {
                        session,
                        user,
                        subscription,
                    });
                }
            }
            MemberEvent::Unsubscribed {
                session,
                user,
                subscription,
            } => {
                let Some(member) = member(&mut nodes, node, session) else {
                    return;
                };
                if member.has(subscription.slot) {
                    let ended = subscription.slot;
                    member.subscriptions.retain(|known| known.slot != ended);
                    report(MemberEvent::Unsubscribed {
                        session,
                        user,
                        subscription,
                    });
                }
            }
            MemberEvent::Closed { session } => {
                let known = nodes.get_mut(&node);
                let known = known.and_then(|known| known.remove(&session));
                known.into_iter().flat_map(gone).for_each(report);
            }
        }
    }

    /// Removes a node, and passes the resulting events to `report`, as [`note`](Self::note) does.
    pub(super) fn lost(&self, node: NodeId, report: impl FnMut(MemberEvent)) {
        let mut nodes = self.nodes.lock();
        let known = nodes.remove(&node).unwrap_or_default();
        known.into_values().flat_map(gone).for_each(report);
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

/// Applies a description of a session, which may be known already.
fn described_anew(
    members: &mut BTreeMap<SessionId, MemberDescription>,
    described: MemberDescription,
    mut report: impl FnMut(MemberEvent),
) {
    let session = described.session;
    let known = members.remove(&session);
    let known = match known {
        Some(known) if known.user == described.user => known.subscriptions,
        other => {
            other.into_iter().flat_map(gone).for_each(&mut report);
            let mut opened = described.clone();
            opened.subscriptions.clear();
            report(MemberEvent::Opened(opened));
            Vec::new()
        }
    };
    let user = &described.user;
    for subscription in &known {
        if !described.has(subscription.slot) {
            report(MemberEvent::Unsubscribed {
                session,
                user: user.clone(),
                subscription: subscription.clone(),
            });
        }
    }
    for subscription in &described.subscriptions {
        if !known.iter().any(|known| known.slot == subscription.slot) {
            report(MemberEvent::Subscribed {
                session,
                user: user.clone(),
                subscription: subscription.clone(),
            });
        }
    }
    members.insert(session, described);
}

fn member(
    nodes: &mut HashMap<NodeId, BTreeMap<SessionId, MemberDescription>>,
    node: NodeId,
    session: SessionId,
) -> Option<&mut MemberDescription> {
    nodes.get_mut(&node)?.get_mut(&session)
}

/// The events of a session's end.
fn gone(member: MemberDescription) -> impl Iterator<Item = MemberEvent> {
    let MemberDescription {
        session,
        user,
        subscriptions,
        ..
    } = member;
    let ended = subscriptions
        .into_iter()
        .map(move |subscription| MemberEvent::Unsubscribed {
            session,
            user: user.clone(),
            subscription,
        });
    let closed = std::iter::once(MemberEvent::Closed { session });
    ended.chain(closed)
}
