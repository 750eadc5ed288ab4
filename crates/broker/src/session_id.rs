//! Session ids.

use std::fmt;

/// Identifies one session among all, on every node: 128 random bits, so that nobody guesses another's.
///
/// Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u128);

impl SessionId {
    /// Generates a random id.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness; nothing could be secure without.
    pub fn random() -> Self {
        Self(u128::from_ne_bytes(crate::random_bytes()))
    }

    /// Some of the bits, to spread sessions over shards.
    pub(crate) fn shard(self, shards: usize) -> usize {
        (self.0 % shards as u128) as usize
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
