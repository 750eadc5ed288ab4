//! Destinations below a prefix.

/// What follows `prefix` in `destination`, beginning with `/`.
pub(crate) fn below<'a>(destination: &'a str, prefix: &str) -> Option<&'a str> {
    let path = destination.strip_prefix(prefix)?;
    (path.len() > 1 && path.starts_with('/')).then_some(path)
}
