//! Errors of opening a store.

use std::io;
use std::path::PathBuf;

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error(
        "the store in {path} is in use; a store belongs to one process: end the other, or give each a directory of its own",
        path = path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A later version of Tramline wrote it.
    #[error(
        "{file} has version {version} of the format, and this Tramline reads version 1; use the version that wrote it"
    )]
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
    },
    /// The options contradict each other.
    #[error(
        "max_bytes is {max_bytes}; with files of {file_bytes} bytes it must be {least} at least"
    )]
    TooSmall {
        /// [`StoreOptions::max_bytes`](crate::StoreOptions::max_bytes).
        max_bytes: u64,
        /// [`StoreOptions::file_bytes`](crate::StoreOptions::file_bytes).
        file_bytes: u64,
        /// The least possible `max_bytes`.
        least: u64,
    },
    /// The operating system refused.
    #[error("the store's files cannot be used: {0}")]
    Io(#[from] io::Error),
}
