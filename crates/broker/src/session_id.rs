//! Session ids.

use std::fmt;
use std::str::FromStr;

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

impl FromStr for SessionId {
    type Err = InvalidId;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        read_id(text).map(Self)
    }
}

/// A text is not the id of a session or node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id has 32 hexadecimal digits in lower case")]
pub struct InvalidId;

/// Reads an id in the one form that it is written in.
pub(crate) fn read_id(text: &str) -> Result<u128, InvalidId> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 32 || !text.bytes().all(is_digit) {
        return Err(InvalidId);
    }
    u128::from_str_radix(text, 16).map_err(|_| InvalidId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = SessionId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "+",
            "7",
            &"G".repeat(32),
            &"A".repeat(32),
            &"0".repeat(33),
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(InvalidId), "{text:?}");
        }
    }
}
