//! Messages that a handler did not get, or an answer that could not be sent.

use std::fmt;

use serde::Serialize;
use tramline_broker::{DestinationError, PublishError};

/// Why a client's message was not handled as it should have been.
///
/// Extractors reject what they cannot read, and a reply that cannot be encoded is rejected too. By default the client
/// hears of it at `/user/queue/errors` (a JSON object with `kind`, `error` and `destination`), the log has a WARN line
/// and the [counter](crate::Stats::rejected) goes up; the session goes on. A RECEIPT that the client asked for is sent
/// all the same: the message *was* handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    kind: RejectionKind,
    error: String,
}

/// What sort of failure a [`Rejection`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RejectionKind {
    /// The client's body or headers are not what the handler takes.
    BadMessage,
    /// The handler wants a user and the session has none.
    Anonymous,
    /// No route has the destination.
    NoRoute,
    /// The handler panicked: the application's fault, and the client hears no detail.
    HandlerPanicked,
    /// The reply could not be encoded or has no valid destination: the application's fault.
    BadReply,
    /// The broker did not take the reply.
    NotPublished,
}

impl Rejection {
    /// A rejection with a text that its client may read.
    pub fn new(kind: RejectionKind, error: impl fmt::Display) -> Self {
        Self {
            kind,
            error: error.to_string(),
        }
    }

    /// A body or header that the handler cannot take.
    pub fn bad_message(error: impl fmt::Display) -> Self {
        Self::new(RejectionKind::BadMessage, error)
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The message that the client gets, as JSON.
    pub(crate) fn to_json(&self, destination: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            kind: RejectionKind,
            error: &'a str,
            destination: &'a str,
        }
        let body = Body {
            kind: self.kind,
            error: &self.error,
            destination,
        };
        // Three strings always encode; an empty body would still say that something is wrong.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for Rejection {}

impl From<std::convert::Infallible> for Rejection {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<DestinationError> for Rejection {
    fn from(error: DestinationError) -> Self {
        Self::new(RejectionKind::BadReply, error)
    }
}

impl From<PublishError> for Rejection {
    fn from(error: PublishError) -> Self {
        Self::new(RejectionKind::NotPublished, error)
    }
}
