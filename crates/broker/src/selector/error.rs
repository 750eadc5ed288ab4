//! Errors in selectors.

use std::fmt;

/// A selector cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    at: usize,
    error: String,
}

impl SelectorError {
    pub(super) fn new(at: usize, error: impl Into<String>) -> Self {
        Self {
            at,
            error: error.into(),
        }
    }

    /// The place of the error: the number of characters before it.
    pub fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.at + 1, self.error)
    }
}

impl std::error::Error for SelectorError {}
