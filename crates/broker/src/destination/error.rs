//! Errors of parsing destinations and patterns.

use bytestring::ByteString;

use crate::destination::{Destination, Pattern};

/// A text is not a valid [`Destination`] or [`Pattern`]: an error of its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// The text is empty.
    #[error("a destination must not be empty")]
    Empty,
    /// The text contains a control character.
    #[error("destination {destination:?} has a control character; use printable characters")]
    ControlCharacter {
        /// The text.
        destination: ByteString,
    },
    /// The path of a user's destination was expected.
    #[error(
        "{path:?} is no path of a user's destination: it begins with `/`, as \"/queue/news\" for what clients subscribe to \
         as \"/user/queue/news\""
    )]
    NoUserPath {
        /// The text.
        path: ByteString,
    },
    /// A concrete destination was expected.
    #[error(
        "destination {destination:?} has a wildcard; messages go to one destination, only subscriptions may use `*`, `?` and `**`"
    )]
    Wildcard {
        /// The text.
        destination: ByteString,
    },
    /// The text is longer than [`Destination::MAX_LENGTH`], or than [`Pattern::MAX_WILD_LENGTH`] with wildcards.
    #[error("a destination of {length} bytes is too long; {limit} are allowed here")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The text has more segments than [`Destination::MAX_SEGMENTS`].
    #[error(
        "a destination of {segments} segments is too deep; {} are allowed",
        Destination::MAX_SEGMENTS
    )]
    TooManySegments {
        /// Its number of segments.
        segments: usize,
    },
    /// The text has more wildcards than [`Pattern::MAX_WILD_SEGMENTS`].
    #[error(
        "pattern {pattern:?} has more than {} segments with wildcards; subscribe to a shorter pattern",
        Pattern::MAX_WILD_SEGMENTS
    )]
    TooManyWildcards {
        /// The text.
        pattern: ByteString,
    },
}
