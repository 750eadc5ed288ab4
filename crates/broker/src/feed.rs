//! Names that hub and engine share: sources, feeds, tokens.

use std::fmt;

use bytestring::ByteString;

use crate::destination::Pattern;
use crate::session_id::SessionId;

/// A source of messages that a node asks for while it has subscribers for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// Messages to one destination, or to all that a pattern covers.
    Pattern(Pattern),
    /// Messages to a user.
    User(ByteString),
    /// Messages to a session.
    Session(SessionId),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => f.write_str(pattern.as_str()),
            Self::User(name) => write!(f, "user {name:?}"),
            Self::Session(id) => write!(f, "session {id}"),
        }
    }
}

/// A stream of messages from an engine to one node. An engine delivers *by feed*, and the hub passes each message to
/// the subscribers of the sources that have this feed and cover it.
///
/// An engine gives each source its own feed, so that overlapping sources deliver once to each of their subscribers. It
/// may *widen*: give many sources the same feed, that of a source which covers all of them. A number is never reused
/// for another stream, so that a late message reaches no subscriber. An engine's own numbers are neither 0, which is
/// [`NODE`](Self::NODE), nor `u64::MAX`, which means *not active*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Feed(pub u64);

impl Feed {
    /// The feed of engines that deliver each message once, for all the node's subscribers.
    pub const NODE: Self = Self(0);

    /// Not active.
    pub(crate) const NONE: Self = Self(u64::MAX);
}

/// An engine's own number of a delivery to a consumer. It is never used again in the consumer's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);
