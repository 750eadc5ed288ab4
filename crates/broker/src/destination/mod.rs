//! Addresses of messages: concrete destinations, patterns over them, and typed targets.

use std::fmt;
use std::ops::Deref;

use bytestring::ByteString;

mod error;
mod pattern;
mod segments;
mod target;

pub use self::error::DestinationError;
pub use self::pattern::Pattern;
pub use self::segments::Separator;
pub(crate) use self::segments::{Segments, is_any};
pub use self::target::Target;

/// A concrete address of a message, such as `/topic/rooms/7`.
///
/// A destination is not empty, and has no control characters and no pattern characters (`*`, `?`): a message goes to
/// one destination, only subscriptions may cover many. Its segments are separated by `/`. Cloning shares the text.
///
/// # Example: a pattern is not a destination
///
/// ```
/// use tramline_broker::{Destination, DestinationError};
///
/// assert_eq!(Destination::parse("/topic/rooms/7")?.as_str(), "/topic/rooms/7");
/// assert!(matches!(Destination::parse("/topic/**"), Err(DestinationError::Wildcard { .. })));
/// # Ok::<(), DestinationError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(ByteString);

impl Destination {
    /// The maximum length of a destination in bytes: 512, twice what AMQP allows, and short enough that a hostile name
    /// cannot make matching expensive.
    pub const MAX_LENGTH: usize = 512;

    /// The maximum number of segments of a destination or pattern: 64, deeper than any naming scheme.
    pub const MAX_SEGMENTS: usize = 64;

    /// Parses `text` as a destination.
    ///
    /// # Errors
    ///
    /// [`DestinationError`], caused by the author of the text.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, DestinationError> {
        let text = text.into();
        check_characters(&text)?;
        if text.contains(['*', '?']) {
            return Err(DestinationError::Wildcard { destination: text });
        }
        Ok(Self(text))
    }

    /// Parses the part after the user prefix of a [user's](crate::Target::User) destination, such as `/queue/news`. It
    /// must begin with `/`, or no subscription could name it.
    ///
    /// # Errors
    ///
    /// [`DestinationError`], caused by the author of the text.
    pub fn parse_user_path(text: impl Into<ByteString>) -> Result<Self, DestinationError> {
        let path = Self::parse(text)?;
        if path.starts_with('/') {
            Ok(path)
        } else {
            Err(DestinationError::NoUserPath { path: path.0 })
        }
    }

    /// Creates a destination from text that a pattern without wildcards has checked already.
    fn unchecked(text: ByteString) -> Self {
        Self(text)
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address as shared text.
    pub fn as_bytestring(&self) -> &ByteString {
        &self.0
    }
}

impl Deref for Destination {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn check_characters(text: &ByteString) -> Result<(), DestinationError> {
    if text.is_empty() {
        return Err(DestinationError::Empty);
    }
    if text.len() > Destination::MAX_LENGTH {
        return Err(DestinationError::TooLong {
            length: text.len(),
            limit: Destination::MAX_LENGTH,
        });
    }
    let segments = text.split('/').count();
    if segments > Destination::MAX_SEGMENTS {
        return Err(DestinationError::TooManySegments { segments });
    }
    if text.chars().any(char::is_control) {
        return Err(DestinationError::ControlCharacter {
            destination: text.clone(),
        });
    }
    Ok(())
}
