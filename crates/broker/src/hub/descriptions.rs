//! Descriptions of sessions, for other nodes and for registries.

use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;

use crate::Headers;
use crate::session_id::{InvalidId, SessionId, read_id};

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

impl FromStr for NodeId {
    type Err = InvalidId;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        read_id(text).map(Self)
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
    /// Creates the description of a session without details and subscriptions, for engines that receive one from another
    /// node.
    pub fn new(node: NodeId, session: SessionId, user: Option<ByteString>) -> Self {
        Self {
            node,
            session,
            user,
            details: Headers::new(),
            subscriptions: Vec::new(),
        }
    }

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

impl SubscriptionDescription {
    /// Creates the description of a subscription.
    pub fn new(slot: u32, id: impl Into<ByteString>, destination: impl Into<ByteString>) -> Self {
        Self {
            slot,
            id: id.into(),
            destination: destination.into(),
        }
    }
}
