//! Prefixes of destinations.

use std::fmt::Debug;

use bytestring::ByteString;

/// Returns the part of `destination` after `prefix`, which begins with `/`.
pub(crate) fn below<'a>(destination: &'a str, prefix: &str) -> Option<&'a str> {
    let path = destination.strip_prefix(prefix)?;
    (path.len() > 1 && path.starts_with('/')).then_some(path)
}

/// The prefix without a `/` at its end.
pub(crate) fn unslashed(prefix: ByteString) -> ByteString {
    match prefix.strip_suffix('/') {
        Some(rest) => rest.into(),
        None => prefix,
    }
}

/// The prefixes, for an error.
pub(crate) fn quoted(prefixes: impl IntoIterator<Item = impl Debug>) -> String {
    let quoted: Vec<String> = prefixes
        .into_iter()
        .map(|prefix| format!("{prefix:?}"))
        .collect();
    match quoted.split_last() {
        None => "no prefix, since none is configured".into(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
