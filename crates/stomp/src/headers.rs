use std::fmt;

use bytestring::ByteString;

use crate::text::trim;

/// The headers of a frame: an ordered list that keeps repeated names.
///
/// A lookup returns the *first* entry of a name and the others stay where they are (STOMP 1.2, "Repeated Header
/// Entries"). Names are case-sensitive. Names and values are [`ByteString`]s, so a decoded frame shares the bytes it
/// was read from and a clone copies none. Frames have few headers: every lookup is a linear search.
///
/// `Debug` prints the value of `passcode` as `***`.
///
/// # Example: the first of two equal names wins
///
/// ```
/// use tramline_stomp::Headers;
///
/// let mut headers = Headers::from_iter([("foo", "World"), ("foo", "Hello")]);
/// assert_eq!(headers.get("foo"), Some("World"));
/// assert_eq!(headers.get_all("foo").collect::<Vec<_>>(), ["World", "Hello"]);
///
/// headers.replace("foo", "Bye");
/// assert_eq!(headers.iter().collect::<Vec<_>>(), [("foo", "Bye")]);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    entries: Vec<(ByteString, ByteString)>,
}

impl Headers {
    /// Creates an empty list; allocates nothing.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Creates an empty list with room for `count` headers.
    pub fn with_capacity(count: usize) -> Self {
        Self {
            entries: Vec::with_capacity(count),
        }
    }

    /// The value of the first header with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_bytestring(name).map(|value| &**value)
    }

    /// Like [`Headers::get`], but the value can be kept without copying it.
    pub fn get_bytestring(&self, name: &str) -> Option<&ByteString> {
        self.entries
            .iter()
            .find(|(candidate, _)| **candidate == *name)
            .map(|(_, value)| value)
    }

    /// Every value of this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(candidate, _)| *candidate == name)
            .map(|(_, value)| value)
    }

    /// Every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Appends a header, even if the name exists already.
    pub fn push(&mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) {
        self.entries.push((name.into(), value.into()));
    }

    /// Removes every header of this name, then appends it once.
    pub fn replace(&mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) {
        let name = name.into();
        self.remove(&name);
        self.entries.push((name, value.into()));
    }

    /// Removes every header of this name; returns true if there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.retain(|candidate, _| candidate != name);
        self.len() < before
    }

    /// Keeps the headers for which `keep` returns true, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.entries.retain(|(name, value)| keep(name, value));
    }

    /// Removes the blanks around all values, which 1.0 allows.
    pub(crate) fn trim_values(&mut self) {
        for (_, value) in &mut self.entries {
            let trimmed = trim(value);
            if trimmed.len() < value.len() {
                *value = value.slice_ref(trimmed);
            }
        }
    }

    /// The number of headers, repeated ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are no headers.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes that the headers take on the wire without escapes: each name and value, a colon and a line end.
    pub fn encoded_len_hint(&self) -> usize {
        self.iter()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| {
                let shown = if name == "passcode" { "***" } else { value };
                (name, shown)
            }))
            .finish()
    }
}

impl<N: Into<ByteString>, V: Into<ByteString>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut collected = Self::new();
        collected.extend(headers);
        collected
    }
}

impl<N: Into<ByteString>, V: Into<ByteString>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, headers: I) {
        self.entries.extend(
            headers
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
    }
}

impl IntoIterator for Headers {
    type Item = (ByteString, ByteString);
    type IntoIter = std::vec::IntoIter<(ByteString, ByteString)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_takes_every_entry_of_the_name() {
        let mut headers = Headers::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert!(headers.remove("a"));
        assert!(!headers.remove("a"));
        assert_eq!(headers, Headers::from_iter([("b", "2")]));
    }

    #[test]
    fn names_are_case_sensitive() {
        let headers = Headers::from_iter([("Receipt", "1")]);
        assert_eq!(headers.get("receipt"), None);
    }

    #[test]
    fn the_passcode_is_not_printed() {
        let headers = Headers::from_iter([("login", "ann"), ("passcode", "secret")]);
        let shown = format!("{headers:?}");
        assert!(shown.contains("ann") && shown.contains("***"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn the_length_hint_counts_colon_and_line_end() {
        assert_eq!(
            Headers::from_iter([("a", "1"), ("bc", "")]).encoded_len_hint(),
            8
        );
    }
}
