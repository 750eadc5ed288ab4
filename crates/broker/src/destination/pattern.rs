//! Patterns of subscriptions.

use std::borrow::Cow;
use std::fmt;

use bytestring::ByteString;

use super::segments::{glob, intersect, segment_matches};
use super::{Segments, check_characters, is_any};
use crate::destination::{Destination, DestinationError, Separator};

/// The pattern of a subscription: one destination, or many by wildcards.
///
/// `*` matches any characters inside one segment and `?` exactly one; `**` as a whole segment matches any number of
/// segments, including none. So `/topic/rooms/*` covers `/topic/rooms/7` but not `/topic/rooms/7/log`, and
/// `/topic/rooms/**` covers both and `/topic/rooms` too. These are the rules of Ant, which Spring uses, without its
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
    separator: Separator,
    wild: bool,
}

impl Pattern {
    /// The maximum number of segments with wildcards: 8, more than any sensible naming scheme needs, and few enough
    /// that a hostile subscription cannot make matching expensive.
    pub const MAX_WILD_SEGMENTS: usize = 8;

    /// The maximum number of segments with wildcards in a pattern that is indexed: 4. Each may double the places where
    /// a search continues.
    pub const MAX_INDEXED_WILD_SEGMENTS: usize = 4;

    /// The maximum length of a pattern with wildcards: 256 bytes. Matching costs at most this times a destination's
    /// length.
    pub const MAX_WILD_LENGTH: usize = 256;

    /// Parses `text` as a pattern whose segments are separated by `/`.
    ///
    /// # Errors
    ///
    /// [`DestinationError`], caused by the author of the text.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, DestinationError> {
        Self::parse_separated(text, Separator::Slash)
    }

    /// Like [`parse`](Self::parse), with another separator of segments.
    ///
    /// # Errors
    ///
    /// [`DestinationError`], caused by the author of the text.
    pub fn parse_separated(
        text: impl Into<ByteString>,
        separator: Separator,
    ) -> Result<Self, DestinationError> {
        let mut text: ByteString = text.into();
        check_characters(&text)?;
        if text.contains("**") {
            // In a segment with other characters `**` means the same as `*`; normalize, so that one pattern has one
            // spelling.
            let one = |segment: &str| {
                if is_any(segment) {
                    segment.to_owned()
                } else {
                    collapse_stars(segment)
                }
            };
            text = Segments::new(&text, separator)
                .map(one)
                .collect::<String>()
                .into();
        }
        let segments = Segments::new(&text, separator).count();
        if segments > Destination::MAX_SEGMENTS {
            return Err(DestinationError::TooManySegments { segments });
        }
        let wild_segments = Segments::new(&text, separator)
            .filter(|segment| segment.contains(['*', '?']))
            .count();
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
            separator,
            wild: wild_segments > 0,
        })
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns a copy that owns its text, so that it keeps no frame alive that the text was a slice of.
    pub(crate) fn detached(&self) -> Self {
        Self {
            text: ByteString::from(self.as_str()),
            ..*self
        }
    }

    /// Returns the single destination of a pattern without wildcards.
    pub fn as_destination(&self) -> Option<Destination> {
        (!self.wild).then(|| Destination::unchecked(self.text.clone()))
    }

    /// Returns true if the pattern covers `destination`.
    pub fn matches(&self, destination: &str) -> bool {
        if !self.wild {
            return *self.text == *destination;
        }
        glob(
            self.segments(),
            Segments::new(destination, self.separator),
            |part| is_any(part),
            |part, segment| segment_matches(part, segment),
        )
    }

    /// The text of a pattern that covers at least as much under `separator`.
    fn read_as(&self, separator: Separator) -> Cow<'_, str> {
        if separator == Separator::Slash && self.separator == Separator::Dot {
            // `*` and `?` match dots there too, but `**` ends no segment at a dot.
            let mut at = 0;
            for segment in self.segments() {
                if is_any(segment) {
                    return Cow::Owned(format!("{}*/**", &self.text[..at]));
                }
                at += segment.len();
            }
        }
        Cow::Borrowed(&self.text)
    }

    /// Returns true if the pattern has a form that the hub does not index, but compares with every new destination
    /// that begins with the same segments: with `?`, with two `*` in a segment, with two `**`, with two segments that
    /// have a `*` beside other characters, or with more than [`Pattern::MAX_INDEXED_WILD_SEGMENTS`] segments with
    /// wildcards. Sessions may have few of them: see
    /// [`HubSettings::max_scanned_patterns`](crate::HubSettings::max_scanned_patterns).
    pub fn is_scanned(&self) -> bool {
        if !self.wild {
            return false;
        }
        let (mut any, mut partial, mut wild) = (0, 0, 0);
        for segment in self.segments() {
            let stars = segment.bytes().filter(|byte| *byte == b'*').count();
            if segment.contains('?') {
                return true;
            }
            wild += usize::from(stars > 0);
            if is_any(segment) {
                any += 1;
            } else if stars > 1 {
                return true;
            } else if stars == 1 && !matches!(segment, "/*" | ".*" | "*") {
                partial += 1;
            }
        }
        any > 1 || partial > 1 || wild > Self::MAX_INDEXED_WILD_SEGMENTS
    }

    /// The segments, each with the separator in front of it.
    pub(crate) fn segments(&self) -> Segments<'_> {
        Segments::new(&self.text, self.separator)
    }
}

impl Pattern {
    /// Returns true if this pattern covers every destination that `other` covers.
    ///
    /// Use it to decide what a subscription could receive. Segments are compared one by one; `?*` does not count as
    /// covering `a*`, which errs on the safe side. So does comparing patterns with different separators.
    pub fn covers(&self, other: &Self) -> bool {
        if !other.wild {
            return self.matches(&other.text);
        }
        if self.separator == Separator::Dot && other.separator == Separator::Slash {
            return false;
        }
        glob(
            self.segments(),
            Segments::new(&other.read_as(self.separator), self.separator),
            |part| is_any(part),
            |part, segment| {
                if is_any(segment) {
                    return false;
                }
                // A lone star matches every segment behind the same separator, wildcards or not.
                let takes_all = part.ends_with('*')
                    && part.len() <= 2
                    && segment.starts_with(&part[..part.len() - 1]);
                part == segment
                    || takes_all
                    || (!segment.contains(['*', '?']) && segment_matches(part, segment))
            },
        )
    }

    /// Returns true if some destination is covered by both patterns. With different separators it errs on the safe
    /// side: it may return true when there is none.
    pub fn overlaps(&self, other: &Self) -> bool {
        let separator = match (self.separator, other.separator) {
            (Separator::Dot, Separator::Dot) => Separator::Dot,
            _ => Separator::Slash,
        };
        let (ours, theirs) = (self.read_as(separator), other.read_as(separator));
        let ours: Vec<&str> = Segments::new(&ours, separator).collect();
        let theirs: Vec<&str> = Segments::new(&theirs, separator).collect();
        intersect(
            &ours,
            &theirs,
            |part| is_any(part),
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
            separator: Separator::Slash,
            wild: false,
        }
    }
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
            ("/topic/a**b", "/topic/ab", true),
            ("/topic/a**b", "/topic/a/b", false),
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
    fn forms_that_are_compared_one_by_one() {
        for (pattern, expected) in [
            ("/topic/a", false),
            ("/topic/*/a*b/**", false),
            ("/topic/**/*a", false),
            ("/topic/*/*/*/*", false),
            ("/topic/a**b", false),
            ("/topic/*/*/*/*/*", true),
            ("/topic/*a*", true),
            ("/topic/a?", true),
            ("/topic/a*/b*", true),
            ("/topic/**/a/**", true),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().is_scanned(),
                expected,
                "{pattern}"
            );
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 3_000, ..Default::default() })]

        #[test]
        fn what_is_covered_is_matched_and_what_both_match_overlaps(
            rule in "(/(a|b|x|\\*|\\*\\*|[ab]\\*|\\?))((/|\\.)(a|b|\\*|\\*\\*|\\*\\*\\*|[ab]\\*|\\?)){0,3}",
            wanted in "(/(a|b|x|\\*|\\*\\*|[ab]\\*|\\?))((/|\\.)(a|b|\\*|\\*\\*|\\*\\*\\*|[ab]\\*|\\?)){0,3}",
            destinations in proptest::collection::vec("(/(a|b|x))((/|\\.)(a|b|ab)){0,4}", 1..20),
            dots in proptest::array::uniform2(proptest::bool::ANY),
        ) {
            let separator = |dot| if dot { Separator::Dot } else { Separator::Slash };
            let rule = Pattern::parse_separated(rule, separator(dots[0])).unwrap();
            let wanted = Pattern::parse_separated(wanted, separator(dots[1])).unwrap();
            for destination in destinations.iter().filter(|text| wanted.matches(text)) {
                proptest::prop_assert!(
                    rule.matches(destination) || !rule.covers(&wanted),
                    "{rule} covers {wanted}, and not {destination}"
                );
                proptest::prop_assert!(
                    !rule.matches(destination) || rule.overlaps(&wanted),
                    "{rule} and {wanted} both have {destination}"
                );
            }
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
