use std::{io, sync::Arc, time::Duration};

use bytestring::ByteString;
use tramline_stomp::ClientError;

/// Why something did not work, named by who did what.
///
/// When a connection ends, everything that waits for it is told the same reason: pending sends,
/// receipts and subscribes, every [`Subscription`](crate::Subscription), and whatever is asked of
/// the [`Client`](crate::Client) afterwards.
///
/// # Example: worth another attempt, or not
///
/// ```
/// use tramline_client::Error;
///
/// fn try_again(error: &Error) -> bool {
///     match error {
///         Error::Io(_) | Error::HeartBeatLost { .. } | Error::Timeout { .. } => true,
///         Error::ClosedByServer { code, .. } => matches!(code, Some(1001 | 1012 | 1013)),
///         Error::Handshake { status, .. } => *status >= 500,
///         _ => false,
///     }
/// }
///
/// let refused = Error::Handshake { status: 403, body: "origin not allowed".into() };
/// assert!(!try_again(&refused));
/// assert_eq!(
///     refused.to_string(),
///     "the server refused the WebSocket handshake with HTTP status 403: origin not allowed"
/// );
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// We asked for something that cannot be: a URL or an HTTP header. Nothing was sent.
    #[error("the connection cannot be tried: {reason}")]
    InvalidRequest {
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// The server answered the WebSocket handshake with a status other than 101.
    #[error(
        "the server refused the WebSocket handshake with HTTP status {status}{}",
        after_colon(body)
    )]
    Handshake {
        /// The HTTP status.
        status: u16,
        /// The beginning of the response's body, at most 4 KiB; bytes that are not UTF-8 are
        /// replaced.
        body: String,
    },

    /// The server sent an ERROR frame, which ends the session.
    #[error("the server ended the session: {message}{}", after_colon(body))]
    ServerError {
        /// The frame's `message` header; empty if it had none.
        message: ByteString,
        /// The frame's body, at most as long as the limit on bodies; bytes that are not UTF-8
        /// are replaced.
        body: String,
    },

    /// The server closed the connection without an ERROR frame.
    #[error(
        "the server closed the connection{}{}",
        code.map(|code| format!(" with code {code}")).unwrap_or_default(),
        after_colon(reason)
    )]
    ClosedByServer {
        /// The code of its WebSocket Close frame. `None` if that had none, and in plain STOMP.
        code: Option<u16>,
        /// The reason that it gave, often empty.
        reason: ByteString,
    },

    /// The server was silent for longer than three times the agreed heart-beat.
    #[error("nothing came from the server for {silent_for:?}; it or the network is gone")]
    HeartBeatLost {
        /// The time since its last byte.
        silent_for: Duration,
    },

    /// The network failed, or the stream ended without a closing handshake.
    #[error("the connection failed: {0}")]
    Io(Arc<io::Error>),

    /// The server did not answer in time.
    #[error("no answer within {after:?} while waiting for {waiting_for}")]
    Timeout {
        /// The step that took too long.
        waiting_for: &'static str,
        /// The time that it had.
        after: Duration,
    },

    /// We left: by [`Client::disconnect`](crate::Client::disconnect), or because the runtime
    /// dropped the connection's task.
    #[error("the client has disconnected")]
    Disconnected,

    /// The server does not keep to HTTP, WebSocket or STOMP, or sent more than a limit allows.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),

    /// The application read a subscription too slowly for
    /// [`Overflow::End`](crate::Overflow::End). The connection goes on.
    #[error("the subscription's inbox exceeds its limit of {limit} bytes; read it faster")]
    InboxFull {
        /// The limit, in bytes.
        limit: usize,
    },

    /// A message's body is not what the application took it for. The connection goes on.
    #[error("the message's body is not {expected}: {reason}")]
    InvalidBody {
        /// What was expected, such as "JSON".
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// What the server did against a protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It answered the handshake with something that is not HTTP/1.1, or that accepts a handshake
    /// we did not offer.
    #[error("the server's answer to the WebSocket handshake is wrong: {reason}")]
    Handshake {
        /// What is wrong.
        reason: String,
    },

    /// It broke RFC 6455 or a limit on its messages.
    #[error("the server broke the WebSocket protocol: {0}")]
    WebSocket(#[from] tramline_websocket::Error),

    /// It broke STOMP or a limit on its frames.
    #[error(transparent)]
    Stomp(ClientError),
}

impl Error {
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::InvalidRequest { reason }
    }

    pub(crate) fn bad_handshake(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        ProtocolError::Handshake { reason }.into()
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::HeartBeatTimeout { silent_for } => Self::HeartBeatLost { silent_for },
            error => ProtocolError::Stomp(error).into(),
        }
    }
}

impl From<tramline_websocket::Error> for Error {
    fn from(error: tramline_websocket::Error) -> Self {
        ProtocolError::from(error).into()
    }
}

/// A peer's words behind a colon, if it had any.
fn after_colon(text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}
