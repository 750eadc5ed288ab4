use std::{io, sync::Arc, time::Duration};

use bytestring::ByteString;
use tramline_stomp::{ClientError, Frame};

/// An error of a client; the variants say who caused it.
///
/// When a connection ends, everything that waits for it receives the same error: pending sends, receipts and
/// subscribes, every [`Subscription`](crate::Subscription), and later calls of the [`Client`](crate::Client).
///
/// # Example: errors that are worth another attempt
///
/// ```
/// use tramline_client::Error;
///
/// fn try_again(error: &Error) -> bool {
///     match error.cause() {
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
///     "the server refused the handshake with HTTP status 403: origin not allowed"
/// );
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An invalid request of the application: a URL or an HTTP header. Nothing was sent.
    #[error("the connection cannot be tried: {reason}")]
    InvalidRequest {
        /// The error, and how to correct it.
        reason: String,
    },

    /// The connection could not be opened; [`cause`](Self::cause) says why.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// Scheme, host and port of the address that was tried last; without the path, which may contain a token.
        address: String,
        /// The reason.
        cause: Box<Error>,
    },

    /// The application's [source of credentials](crate::Connect::credentials) failed.
    #[error("no credentials: {reason}")]
    Credentials {
        /// Its error.
        reason: String,
    },

    /// The application set a header that asks for what this client does not do. Nothing was sent; the connection goes on.
    #[error("the header `{header}` is not supported: {reason}")]
    Unsupported {
        /// The header, as name and value.
        header: String,
        /// The missing feature, and what to do instead.
        reason: &'static str,
    },

    /// The message cannot be sent as it is. Nothing was sent; the connection goes on.
    #[error("the message cannot be sent: {reason}")]
    InvalidMessage {
        /// What is wrong, and what to do instead.
        reason: &'static str,
    },

    /// The message cannot be acknowledged. Nothing was sent; the connection goes on.
    #[error("the message cannot be acknowledged: {reason}")]
    NotAcknowledgeable {
        /// What is wrong, and what to do instead.
        reason: String,
    },

    /// The transaction's connection has ended, and so the transaction, without effect: begin another. The client goes on.
    #[error("the transaction has ended with its connection, without effect; begin another")]
    TransactionLost,

    /// The server answered the WebSocket handshake with a status other than 101, or a request of SockJS with another error.
    #[error(
        "the server refused the handshake with HTTP status {status}{}",
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

    /// The server was silent for longer than three times the negotiated heart-beat.
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
        /// The time limit.
        after: Duration,
    },

    /// This side ended the session: by [`Client::disconnect`](crate::Client::disconnect), or because the runtime
    /// dropped the connection's task.
    #[error("the client has disconnected")]
    Disconnected,

    /// The server violated HTTP, WebSocket or STOMP, or exceeded a limit.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),

    /// The application read a subscription too slowly for
    /// [`Overflow::End`](crate::Overflow::End). The connection goes on.
    #[error("the subscription's inbox exceeds its limit of {limit} bytes; read it faster")]
    InboxFull {
        /// The limit, in bytes.
        limit: usize,
    },

    /// A message's body has another format than the application expected. The connection goes on.
    #[error("the message's body is not {expected}: {reason}")]
    InvalidBody {
        /// What was expected, such as "JSON".
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A server's violation of a protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It answered the handshake with something that is not HTTP/1.1, or accepted a handshake that was not offered.
    #[error("the server's answer to the WebSocket handshake is wrong: {reason}")]
    Handshake {
        /// What is wrong.
        reason: String,
    },

    /// It violated RFC 6455 or a limit on its messages.
    #[error("the server broke the WebSocket protocol: {0}")]
    WebSocket(#[from] tramline_websocket::Error),

    /// It violated STOMP or a limit on its frames.
    #[error(transparent)]
    Stomp(ClientError),
}

impl Error {
    /// The reason of an [`Error::Connect`]; any other error itself.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Connect { cause, .. } => cause.cause(),
            error => error,
        }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::InvalidRequest { reason }
    }

    pub(crate) fn invalid_message(reason: &'static str) -> Self {
        Self::InvalidMessage { reason }
    }

    /// Returns true if another attempt to connect may succeed. `refused`: an ERROR is the answer to CONNECT.
    pub(crate) fn is_transient(&self, refused: bool) -> bool {
        match self.cause() {
            Self::Io(_)
            | Self::HeartBeatLost { .. }
            | Self::Timeout { .. }
            | Self::Credentials { .. } => true,
            Self::ServerError { .. } => !refused,
            Self::Handshake { status, .. } => {
                *status >= 500
                    || matches!(status, 408 | 429)
                    || (matches!(status, 401 | 403) && !refused)
            }
            Self::ClosedByServer { code, .. } => !matches!(code, Some(1002 | 1003 | 1007..=1010)),
            _ => false,
        }
    }

    pub(crate) fn bad_handshake(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        ProtocolError::Handshake { reason }.into()
    }
}

impl From<io::Error> for Error {
    /// An error of ours comes through a stream as the `io::Error` around it.
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::Io(Arc::new(error)),
        }
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

impl From<&Frame> for Error {
    /// An ERROR frame.
    fn from(frame: &Frame) -> Self {
        let message = frame.headers.get_bytestring("message");
        Self::ServerError {
            message: message.cloned().unwrap_or_default(),
            body: String::from_utf8_lossy(&frame.body).into_owned(),
        }
    }
}

impl From<tramline_websocket::Error> for Error {
    fn from(error: tramline_websocket::Error) -> Self {
        ProtocolError::from(error).into()
    }
}

/// A peer's text after a colon, unless it is empty.
fn after_colon(text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}
