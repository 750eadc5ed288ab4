//! Destinations below a prefix.

/// Returns the part of `destination` after `prefix`, which begins with `/`.
pub(crate) fn below<'a>(destination: &'a str, prefix: &str) -> Option<&'a str> {
    let path = destination.strip_prefix(prefix)?;
    (path.len() > 1 && path.starts_with('/')).then_some(path)
}
