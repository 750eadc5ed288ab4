//! Captures in the patterns of rules: `/topic/rooms/{room}`.

use std::borrow::Cow;
use std::iter;

use bytestring::ByteString;
use tramline_broker::Separator;

/// Where a pattern's captures are in a destination that it covers.
#[derive(Clone, Debug, Default)]
pub(super) struct Captures {
    captures: Vec<Capture>,
    separator: Separator,
}

#[derive(Clone, Debug)]
struct Capture {
    name: ByteString,
    /// The number of its segment, and what stands around it there, the separator in front included.
    segment: usize,
    before: ByteString,
    after: ByteString,
}

/// The pattern with `*` for each `{capture}`: it covers the same.
pub(super) fn starred(written: &str) -> Result<Cow<'_, str>, String> {
    if !written.contains(['{', '}']) {
        return Ok(Cow::Borrowed(written));
    }
    let mut starred = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("pattern {written:?}: unclosed `{{`"));
        };
        if name.starts_with('*') {
            return Err(format!(
                "pattern {written:?}: {{{name}}}: a rule's capture is one segment; write `**` for all that is left"
            ));
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!(
                "pattern {written:?}: {{{name}}}: a capture's name is made of letters, digits and `_`"
            ));
        }
        starred.push_str(before);
        starred.push('*');
        rest = after;
    }
    starred.push_str(rest);
    if starred.contains('}') {
        return Err(format!("pattern {written:?}: `}}` without `{{`"));
    }
    Ok(Cow::Owned(starred))
}

impl Captures {
    /// Finds the captures of a pattern that [`starred`] takes.
    pub(super) fn find(pattern: &str, separator: Separator) -> Result<Self, String> {
        let mut captures: Vec<Capture> = Vec::new();
        let mut behind_any = false;
        for (segment, text) in segments(pattern, separator).enumerate() {
            behind_any |= matches!(text, "**" | "/**" | ".**");
            let Some((before, rest)) = text.split_once('{') else {
                continue;
            };
            let (name, after) = rest.split_once('}').unwrap_or((rest, ""));
            let wrong = if behind_any {
                "a capture behind `**` could be any of several segments"
            } else if after.contains('{') {
                "a segment has one capture"
            } else if before.contains(['*', '?']) || after.contains(['*', '?']) {
                "a segment with a capture has no other wildcard"
            } else if captures.iter().any(|known| *known.name == *name) {
                "each capture has a name of its own"
            } else {
                captures.push(Capture {
                    name: name.into(),
                    segment,
                    before: before.into(),
                    after: after.into(),
                });
                continue;
            };
            return Err(format!("pattern {pattern:?}: {{{name}}}: {wrong}"));
        }
        Ok(Self {
            captures,
            separator,
        })
    }

    /// The values in a destination that the pattern covers, by name, in the pattern's order.
    ///
    /// # Errors
    ///
    /// The name of a capture that is empty.
    pub(super) fn values(
        &self,
        destination: &str,
    ) -> Result<Vec<(ByteString, ByteString)>, &ByteString> {
        let value = |capture: &Capture| {
            let segment = segments(destination, self.separator).nth(capture.segment)?;
            let value = segment.strip_prefix(&*capture.before)?;
            let value = value.strip_suffix(&*capture.after)?;
            (!value.is_empty()).then(|| ByteString::from(value))
        };
        let captures = self.captures.iter();
        captures
            .map(|capture| match value(capture) {
                Some(value) => Ok((capture.name.clone(), value)),
                None => Err(&capture.name),
            })
            .collect()
    }
}

/// The segments of a text as [`Pattern`](tramline_broker::Pattern) has them, each with the separator in front of it.
fn segments(text: &str, separator: Separator) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        let mut after_first = rest.as_bytes().get(1..)?.iter();
        let end = after_first
            .position(|byte| *byte == b'/' || (*byte == b'.' && separator == Separator::Dot))
            .map_or(rest.len(), |at| at + 1);
        let (segment, behind) = rest.split_at(end);
        rest = behind;
        Some(segment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(
        pattern: &str,
        destination: &str,
        separator: Separator,
    ) -> Result<Vec<String>, String> {
        let captures = Captures::find(pattern, separator)?;
        let values = captures.values(destination).map_err(ToString::to_string)?;
        Ok(values
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect())
    }

    #[test]
    fn captures_are_where_the_pattern_has_them() {
        for (pattern, destination, separator, expected) in [
            (
                "/rooms/{room}/{seat}",
                "/rooms/7/b",
                Separator::Slash,
                &["room=7", "seat=b"][..],
            ),
            (
                "/rooms/{room}/**",
                "/rooms/7/a/b",
                Separator::Slash,
                &["room=7"],
            ),
            (
                "/*/v{version}-x",
                "/any/v12-x",
                Separator::Slash,
                &["version=12"],
            ),
            ("*/{what}", "/topic/a", Separator::Slash, &["what=a"]),
            (
                "/topic/price.{stock}",
                "/topic/price.a.b",
                Separator::Slash,
                &["stock=a.b"],
            ),
            (
                "/topic/{a}.{b}",
                "/topic/x.y",
                Separator::Dot,
                &["a=x", "b=y"],
            ),
        ] {
            let found = values(pattern, destination, separator);
            assert_eq!(
                found.as_deref(),
                Ok(&*expected
                    .iter()
                    .map(|text| (*text).to_owned())
                    .collect::<Vec<_>>()),
                "{pattern}"
            );
            let starred = starred(pattern).unwrap().into_owned();
            let starred = tramline_broker::Pattern::parse_separated(starred, separator).unwrap();
            assert!(starred.matches(destination), "{starred}");
        }
        let empty = values("/rooms/{room}", "/rooms/", Separator::Slash);
        assert_eq!(empty, Err("room".into()));
    }

    #[test]
    fn captures_that_cannot_be_are_errors() {
        for (pattern, wrong) in [
            ("/rooms/{room", "unclosed"),
            ("/rooms/room}", "without"),
            ("/rooms/{*rest}", "write `**`"),
            ("/rooms/{}", "name is made of"),
            ("/rooms/{a.b}", "name is made of"),
        ] {
            let error = starred(pattern).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        for (pattern, wrong) in [
            ("/**/{room}", "behind `**`"),
            ("/rooms/{a}.{b}", "one capture"),
            ("/rooms/{a}*", "no other wildcard"),
            ("/{a}/{a}", "a name of its own"),
        ] {
            let error = Captures::find(pattern, Separator::Slash).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
