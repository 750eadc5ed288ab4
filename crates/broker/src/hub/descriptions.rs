//! Descriptions of sessions, for other nodes and for registries.

use std::fmt;

use bytestring::ByteString;

use crate::Headers;
use crate::session_id::SessionId;

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

impl MemberDescription {
    pub(super) fn has(&self, slot: u32) -> bool {
        self.subscriptions.iter().any(|known| known.slot == slot)
    }
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
