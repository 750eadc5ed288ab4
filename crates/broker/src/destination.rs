//! Where messages go: concrete addresses, patterns over them, and typed targets.

use std::fmt;
use std::ops::Deref;

use bytestring::ByteString;

/// A concrete address of a message, such as `/topic/rooms/7`.
///
/// A destination is not empty, has no control characters and no pattern characters (`*`, `?`): a message goes to
/// one place, only subscriptions may range over many. Its segments are separated by `/`. Cloning shares the text.
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
    /// The most bytes that a destination's text may have: 512, twice what AMQP allows, and few enough that a hostile name
    /// cannot make matching expensive.
    pub const MAX_LENGTH: usize = 512;

    /// The most segments that a destination or pattern may have: 64, deeper than any naming scheme.
    pub const MAX_SEGMENTS: usize = 64;

    /// Checks `text` and makes it a destination.
    ///
    /// # Errors
    ///
    /// [`DestinationError`], caused by whoever wrote the text.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, DestinationError> {
        let text = text.into();
        check_characters(&text)?;
        if text.contains(['*', '?']) {
            return Err(DestinationError::Wildcard { destination: text });
        }
        Ok(Self(text))
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

/// What a subscription ranges over: a destination, or many by wildcards.
///
/// `*` matches any characters inside one segment and `?` exactly one; `**` as a whole segment matches any number of
/// segments, none included. So `/topic/rooms/*` has `/topic/rooms/7` but not `/topic/rooms/7/log`, and
/// `/topic/rooms/**` has both and `/topic/rooms` too. These are Ant's meanings, which Spring uses, without its
/// `{captures}`: those exist in routes only.
///
/// A pattern may have at most [`Pattern::MAX_WILD_SEGMENTS`] segments with wildcards.
///
/// # Example: stars and segments
///
/// ```
/// use tramline_broker::Pattern;
///
/// let rooms = Pattern::parse("/topic/rooms/**")?;
/// assert!(rooms.matches("/topic/rooms") && rooms.matches("/topic/rooms/7/log"));
/// assert!(!rooms.matches("/topic/roomservice"));
/// assert!(Pattern::parse("/topic/price.*")?.matches("/topic/price.acme"));
/// # Ok::<(), tramline_broker::DestinationError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: ByteString,
    wild: bool,
}

impl Pattern {
    /// The most segments with wildcards that one pattern may have: 8, more than any sensible naming scheme needs,
    /// and few enough that a hostile subscription cannot make matching expensive.
    pub const MAX_WILD_SEGMENTS: usize = 8;

    /// The most bytes that a pattern with wildcards may have: 256. Matching costs at most this times a destination's
    /// length.
    pub const MAX_WILD_LENGTH: usize = 256;

    /// Checks `text` and makes it a pattern.
    ///
    /// # Errors
    ///
    /// [`DestinationError`], caused by whoever wrote the text.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, DestinationError> {
        let mut text: ByteString = text.into();
        check_characters(&text)?;
        if text.contains("***") {
            // More than two stars mean what one does; many spellings of one pattern would be many patterns.
            let one = |segment: &str| {
                if segment.contains("***") {
                    collapse_stars(segment)
                } else {
                    segment.to_owned()
                }
            };
            text = text
                .split('/')
                .map(one)
                .collect::<Vec<_>>()
                .join("/")
                .into();
        }
        let wild_segments = text.split('/').filter(|s| s.contains(['*', '?'])).count();
        if wild_segments > Self::MAX_WILD_SEGMENTS {
            return Err(DestinationError::TooManyWildcards { pattern: text });
        }
        if wild_segments > 0 && text.len() > Self::MAX_WILD_LENGTH {
            return Err(DestinationError::TooLong {
                length: text.len(),
                limit: Self::MAX_WILD_LENGTH,
            });
        }
        Ok(Self {
            text,
            wild: wild_segments > 0,
        })
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A copy with its own text, which keeps no frame alive that the text was a slice of.
    pub(crate) fn detached(&self) -> Self {
        Self {
            text: ByteString::from(self.as_str()),
            wild: self.wild,
        }
    }

    /// The single destination this pattern means, when it has no wildcards.
    pub fn as_destination(&self) -> Option<Destination> {
        (!self.wild).then(|| Destination(self.text.clone()))
    }

    /// Whether the pattern covers `destination`.
    pub fn matches(&self, destination: &str) -> bool {
        if !self.wild {
            return *self.text == *destination;
        }
        glob(
            self.text.split('/'),
            destination.split('/'),
            |part| *part == "**",
            |part, segment| segment_matches(part, segment),
        )
    }
}

impl Pattern {
    /// Whether every destination that `other` covers is covered by this pattern too.
    ///
    /// For asking what a subscription could receive. Segments are compared one by one: `a*` is not seen to be covered
    /// by `?*`, which errs on the safe side.
    pub fn covers(&self, other: &Self) -> bool {
        glob(
            self.text.split('/'),
            other.text.split('/'),
            |part| *part == "**",
            |part, segment| match *segment {
                "**" => false,
                _ if part == segment || *part == "*" => true,
                _ => !segment.contains(['*', '?']) && segment_matches(part, segment),
            },
        )
    }

    /// Whether there can be a destination that both patterns cover.
    pub fn overlaps(&self, other: &Self) -> bool {
        let ours: Vec<&str> = self.text.split('/').collect();
        let theirs: Vec<&str> = other.text.split('/').collect();
        intersect(
            &ours,
            &theirs,
            |part| *part == "**",
            |a, b| {
                let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
                intersect(
                    &a,
                    &b,
                    |c| *c == '*',
                    |a, b| a == b || *a == '?' || *b == '?',
                )
            },
        )
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

impl From<Destination> for Pattern {
    fn from(destination: Destination) -> Self {
        Self {
            text: destination.0,
            wild: false,
        }
    }
}

/// Whom a message is for.
///
/// A user's or a session's address exists only as a value of this type: no text that a client can send becomes one,
/// it is never stored and never matched by a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// Everyone who subscribed to the destination.
    Destination(Destination),
    /// Every session of the user `name` that subscribed to `path` among its user destinations.
    User {
        /// The user's name, any characters.
        name: ByteString,
        /// What follows the user prefix: `/queue/errors` for a client's `/user/queue/errors`.
        path: Destination,
    },
    /// The one session `id`, where it subscribed to `path` among its user destinations.
    Session {
        /// The session.
        id: crate::SessionId,
        /// As for [`Target::User`].
        path: Destination,
    },
}

impl From<Destination> for Target {
    fn from(destination: Destination) -> Self {
        Self::Destination(destination)
    }
}

/// Why a text is not a [`Destination`] or [`Pattern`]: the fault of whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// The text is empty.
    #[error("a destination must not be empty")]
    Empty,
    /// The text has a control character.
    #[error("destination {destination:?} has a control character; use printable characters")]
    ControlCharacter {
        /// The text.
        destination: ByteString,
    },
    /// A concrete destination was wanted.
    #[error(
        "destination {destination:?} has a wildcard; messages go to one destination, only subscriptions may use `*`, `?` and `**`"
    )]
    Wildcard {
        /// The text.
        destination: ByteString,
    },
    /// Longer than [`Destination::MAX_LENGTH`], or than [`Pattern::MAX_WILD_LENGTH`] with wildcards.
    #[error("a destination of {length} bytes is too long; {limit} are allowed here")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// More segments than [`Destination::MAX_SEGMENTS`].
    #[error(
        "a destination of {segments} segments is too deep; {} are allowed",
        Destination::MAX_SEGMENTS
    )]
    TooManySegments {
        /// How many it has.
        segments: usize,
    },
    /// More wildcards than [`Pattern::MAX_WILD_SEGMENTS`].
    #[error(
        "pattern {pattern:?} has more than {} segments with wildcards; subscribe to a shorter pattern",
        Pattern::MAX_WILD_SEGMENTS
    )]
    TooManyWildcards {
        /// The text.
        pattern: ByteString,
    },
}

fn collapse_stars(segment: &str) -> String {
    let mut collapsed = String::with_capacity(segment.len());
    for c in segment.chars() {
        if c != '*' || !collapsed.ends_with('*') {
            collapsed.push(c);
        }
    }
    collapsed
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

/// Matches one segment against one part with `*` and `?`; `**` is not for here.
pub(crate) fn segment_matches(part: &str, segment: &str) -> bool {
    glob(
        part.chars(),
        segment.chars(),
        |c| *c == '*',
        |pattern, c| *pattern == '?' || pattern == c,
    )
}

/// Whether `values` match `pattern`, where a star takes any number of values, none included.
///
/// Only the last star is ever asked to take one more, so the cost is at most the product of both lengths.
fn glob<P, V>(
    mut pattern: P,
    mut values: V,
    is_star: impl Fn(&P::Item) -> bool,
    matches: impl Fn(&P::Item, &V::Item) -> bool,
) -> bool
where
    P: Iterator + Clone,
    V: Iterator + Clone,
{
    // What comes after the last star, and the values it has not taken.
    let mut star: Option<(P, V)> = None;
    loop {
        let rest = values.clone();
        match (pattern.next(), values.next()) {
            (None, None) => return true,
            (Some(part), _) if is_star(&part) => {
                values = rest;
                star = Some((pattern.clone(), values.clone()));
                continue;
            }
            (Some(part), Some(value)) if matches(&part, &value) => continue,
            _ => {}
        }
        let Some((after_star, untaken)) = &mut star else {
            return false;
        };
        if untaken.next().is_none() {
            return false;
        }
        pattern = after_star.clone();
        values = untaken.clone();
    }
}

/// Whether some sequence matches both patterns, where a star takes any number of values.
fn intersect<T>(
    a: &[T],
    b: &[T],
    is_star: impl Fn(&T) -> bool,
    compatible: impl Fn(&T, &T) -> bool,
) -> bool {
    // `row[j]`: whether what is left of `a` and `b[j..]` have a sequence in common; filled from the ends.
    let mut row = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let below = std::mem::replace(&mut row, vec![false; b.len() + 1]);
        for j in (0..=b.len()).rev() {
            row[j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(x), _) if is_star(x) => below[j] || (j < b.len() && row[j + 1]),
                (_, Some(y)) if is_star(y) => row[j + 1] || (i < a.len() && below[j]),
                (Some(x), Some(y)) => compatible(x, y) && below[j + 1],
                _ => false,
            };
        }
    }
    row[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, destination: &str) -> bool {
        Pattern::parse(ByteString::from(pattern))
            .unwrap()
            .matches(destination)
    }

    #[test]
    fn wildcards_have_ants_meaning() {
        for (pattern, destination, expected) in [
            ("/topic/a", "/topic/a", true),
            ("/topic/a", "/topic/ab", false),
            ("/topic/*", "/topic/a", true),
            ("/topic/*", "/topic/", true),
            ("/topic/*", "/topic/a/b", false),
            ("/topic/*", "/topic", false),
            ("/topic/a?c", "/topic/abc", true),
            ("/topic/a?c", "/topic/ac", false),
            ("/topic/**", "/topic", true),
            ("/topic/**", "/topic/a/b/c", true),
            ("/topic/**/end", "/topic/end", true),
            ("/topic/**/end", "/topic/a/b/end", true),
            ("/topic/**/end", "/topic/a/b/end/more", false),
            ("/topic/*a*b*", "/topic/xaxxbx", true),
            ("/topic/*a*b*", "/topic/xbxa", false),
            ("/**/**/x", "/x", true),
            ("/topic/*é?", "/topic/caféx", true),
            ("/topic/***", "/topic/a", true),
            ("/topic/***", "/topic/a/b", false),
            ("/topic/a***b/**", "/topic/axb/c", true),
        ] {
            assert_eq!(
                matches(pattern, destination),
                expected,
                "{pattern} over {destination}"
            );
        }
    }

    #[test]
    fn covering_and_overlapping() {
        for (a, b, covers, overlaps) in [
            ("/topic/**", "/topic/a/*", true, true),
            ("/topic/**", "/topic/**", true, true),
            ("/topic/*", "/topic/**", false, true),
            ("/topic/*", "/topic/a*", true, true),
            ("/topic/a*", "/topic/*", false, true),
            ("/topic/a*", "/topic/abc", true, true),
            ("/topic/a*", "/topic/b*", false, false),
            ("/topic/secret/**", "/topic/**", false, true),
            ("/topic/secret/**", "/topic/*", false, true),
            ("/topic/secret/*", "/topic/*", false, false),
            ("/**/secret", "/topic/**", false, true),
            ("/topic/a?", "/topic/*b", false, true),
            ("/topic/a?", "/topic/*bc", false, false),
        ] {
            let (a, b) = (Pattern::parse(a).unwrap(), Pattern::parse(b).unwrap());
            assert_eq!(a.covers(&b), covers, "{a} covers {b}");
            assert_eq!(a.overlaps(&b), overlaps, "{a} overlaps {b}");
            assert_eq!(b.overlaps(&a), overlaps, "{b} overlaps {a}");
        }
    }

    #[test]
    fn bad_texts_are_refused_by_name() {
        assert_eq!(Destination::parse(""), Err(DestinationError::Empty));
        assert!(matches!(
            Destination::parse("/topic/a\nb"),
            Err(DestinationError::ControlCharacter { .. })
        ));
        let many = "/*".repeat(Pattern::MAX_WILD_SEGMENTS + 1);
        assert!(matches!(
            Pattern::parse(many),
            Err(DestinationError::TooManyWildcards { .. })
        ));
    }

    #[test]
    fn what_could_make_matching_expensive_is_refused() {
        let deep = format!("/topic/*{}", "/".repeat(Destination::MAX_SEGMENTS));
        let error = Pattern::parse(deep).unwrap_err();
        assert_eq!(error, DestinationError::TooManySegments { segments: 67 });
        let long = format!("/topic/*{}", "a".repeat(Pattern::MAX_WILD_LENGTH));
        let error = Pattern::parse(long).unwrap_err();
        assert_eq!(
            error,
            DestinationError::TooLong {
                length: 264,
                limit: 256
            }
        );
        let long = format!("/topic/{}", "a".repeat(Destination::MAX_LENGTH));
        let error = Destination::parse(long).unwrap_err();
        assert_eq!(
            error,
            DestinationError::TooLong {
                length: 519,
                limit: 512
            }
        );
    }

    #[test]
    fn a_star_bomb_is_cheap() {
        let pattern = format!("/{}b", "*a".repeat(120));
        let destination = format!("/{}", "a".repeat(500));
        assert!(!matches(&pattern, &destination));
    }
}
