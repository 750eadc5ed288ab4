//! Configuration errors of a builder.

use std::fmt;

/// All configuration errors of a [`MessagingBuilder`](crate::MessagingBuilder) or a
/// [`RawEndpointBuilder`](crate::raw::RawEndpointBuilder): the application's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    what: &'static str,
    errors: Vec<String>,
}

impl BuildError {
    pub(crate) fn new(what: &'static str, errors: Vec<String>) -> Self {
        Self { what, errors }
    }

    /// The errors, one text each.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().map(String::as_str)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be built:", self.what)?;
        self.errors
            .iter()
            .try_for_each(|error| write!(f, "\n  - {error}"))
    }
}

impl std::error::Error for BuildError {}
