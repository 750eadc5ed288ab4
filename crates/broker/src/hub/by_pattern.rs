//! Settings by pattern, parsed once.

use bytestring::ByteString;

use crate::destination::{Pattern, Separator};

/// Values of patterns, in the order in which they were added. The first pattern that covers a destination counts.
#[derive(Clone, Debug)]
pub(crate) struct ByPattern<T>(Vec<Entry<T>>);

#[derive(Clone, Debug)]
struct Entry<T> {
    text: ByteString,
    /// By separator: that of a destination is known when all prefixes are.
    slashed: Option<Pattern>,
    dotted: Option<Pattern>,
    value: T,
}

impl<T> Default for ByPattern<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Entry<T> {
    /// The pattern; `None` if it is invalid, which the settings report.
    fn pattern(&self, separator: Separator) -> Option<&Pattern> {
        match separator {
            Separator::Slash => self.slashed.as_ref(),
            Separator::Dot => self.dotted.as_ref(),
        }
    }
}

impl<T> ByPattern<T> {
    pub(crate) fn push(&mut self, text: ByteString, value: T) {
        let parse = |separator| Pattern::parse_separated(text.clone(), separator).ok();
        self.0.push(Entry {
            slashed: parse(Separator::Slash),
            dotted: parse(Separator::Dot),
            text,
            value,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ByteString, &T)> {
        self.0.iter().map(|entry| (&entry.text, &entry.value))
    }

    /// Returns the value of the first pattern that `is` true for; the segments of its destinations have `separator`.
    pub(crate) fn find(&self, separator: Separator, is: impl Fn(&Pattern) -> bool) -> Option<&T> {
        let mut entries = self.0.iter();
        let found = entries.find(|entry| entry.pattern(separator).is_some_and(&is))?;
        Some(&found.value)
    }
}
