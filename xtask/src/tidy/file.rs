//! What the checks read.

/// A text file that git tracks, or would if it were added.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}
