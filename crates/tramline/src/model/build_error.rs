//! What is wrong with what a builder was given.

use std::fmt;

/// Everything that is wrong with what a [`MessagingBuilder`](crate::MessagingBuilder) or a [`RawEndpointBuilder`](crate::raw::RawEndpointBuilder)
/// was given: the application's mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    what: &'static str,
    mistakes: Vec<String>,
}

impl BuildError {
    pub(crate) fn new(what: &'static str, mistakes: Vec<String>) -> Self {
        Self { what, mistakes }
    }

    /// The mistakes, one text each.
    pub fn mistakes(&self) -> impl Iterator<Item = &str> {
        self.mistakes.iter().map(String::as_str)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be built:", self.what)?;
        self.mistakes
            .iter()
            .try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

impl std::error::Error for BuildError {}
