//! Why a command fails, and with which exit code.

use std::{fmt, io, process::ExitCode};

use tramline_client::Error;
use tramline_store::OpenError;

pub(crate) enum Failure {
    /// Of the connection.
    Client(Error),
    /// Of a file, or of stdin and stdout.
    Io(String, io::Error),
    /// The command line contradicts itself.
    Usage(String),
    TimeOver(String),
    /// Of the store in a directory.
    Store(String, OpenError),
    /// The store in a directory lacks something that was confirmed.
    Lost(String),
    /// A file for `serve` has errors.
    Config(Vec<String>),
    /// The server ended by itself.
    Serve(String),
}

impl Failure {
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Client(Error::InvalidRequest { .. }) | Self::Usage(_) | Self::Config(_) => 2,
            Self::Client(Error::Connect { .. } | Error::Credentials { .. }) => 3,
            Self::Client(Error::Timeout { .. }) | Self::TimeOver(_) => 4,
            Self::Client(_) | Self::Io(..) | Self::Store(..) | Self::Lost(_) | Self::Serve(_) => 1,
        })
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |error| Self::Io(what, error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
            Self::Store(directory, error) => write!(f, "{directory}: {error}"),
            Self::Lost(directory) => {
                write!(f, "{directory}: something that was confirmed may be gone")
            }
            Self::Config(errors) => {
                let count = errors.len();
                write!(f, "{count} error{}", if count == 1 { "" } else { "s" })?;
                errors.iter().try_for_each(|error| write!(f, "\n{error}"))
            }
            Self::Usage(what) | Self::TimeOver(what) | Self::Serve(what) => f.write_str(what),
        }
    }
}
