//! Reasons for the end of a connection.

use std::fmt;

use bytestring::ByteString;
use tramline_websocket::CloseCode;

use super::channel::Channel;
use super::stats::RawCounters;
use crate::model::user::User;
use crate::net::transport::Lost;
use crate::net::transport::task::{Severity, log_end};

/// The reason for a connection's end, by who caused it: from [`SocketSender::closed`](super::SocketSender::closed).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// The client closed, with this code and reason if it gave any. A browser that leaves the page gives 1001.
    ByClient {
        /// The client's code; `None` if it closed without one.
        code: Option<CloseCode>,
        /// The client's own text, not to be trusted.
        reason: ByteString,
    },
    /// The server's side closed: the handler returned (1000), failed or panicked (1011), the application called
    /// [`close`](super::SocketSender::close), or the endpoint was shut down (1001).
    ByServer {
        /// The code that the client received.
        code: CloseCode,
        /// The reason that the client received.
        reason: ByteString,
    },
    /// The client vanished without a close: its network failed, its process was killed.
    Vanished {
        /// The error by which that was detected.
        error: ByteString,
    },
    /// The client did not answer a [keep-alive](super::RawLimits::keep_alive) ping.
    Silent {
        /// The time for which it was silent.
        error: ByteString,
    },
    /// The client broke the protocol or exceeded a limit.
    Violation {
        /// The code that the client received: 1002, 1007 or 1009.
        code: CloseCode,
        /// The violation.
        error: ByteString,
    },
    /// The client reads too slowly. It was closed with 4500.
    TooSlow {
        /// The limit that it exceeded.
        error: ByteString,
    },
    /// No message came or went for [`idle_timeout`](super::RawLimits::idle_timeout). It was closed with 1001.
    Idle {
        /// The length of that time.
        error: ByteString,
    },
}

/// Spring's code for a session that is not reliable; front ends may recognise it.
const NOT_RELIABLE: u16 = 4500;

impl Closed {
    /// The close code and reason for the client.
    pub(super) fn close(&self) -> (u16, &str) {
        match self {
            // The machine answers with the client's own code.
            Self::ByClient { code, .. } => (code.unwrap_or(CloseCode::NORMAL).as_u16(), ""),
            Self::ByServer { code, reason } => (code.as_u16(), reason),
            Self::Violation { code, error } => (code.as_u16(), error),
            Self::TooSlow { error } => (NOT_RELIABLE, error),
            Self::Vanished { error } | Self::Silent { error } | Self::Idle { error } => {
                (CloseCode::GOING_AWAY.as_u16(), error)
            }
        }
    }

    /// Returns true if the client is gone, so that there is no close handshake.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Vanished { .. } | Self::Silent { .. })
    }

    pub(super) fn count(&self, counters: &RawCounters) {
        match self {
            Self::ByClient { .. } | Self::ByServer { .. } => {}
            Self::Vanished { .. } => counters.vanished.increment(),
            Self::Silent { .. } | Self::Idle { .. } => counters.timeouts.increment(),
            Self::Violation { .. } => counters.protocol_errors.increment(),
            Self::TooSlow { .. } => counters.slow_consumers.increment(),
        }
    }

    /// Logs the end, at INFO or WARN if neither side asked for it.
    pub(super) fn log(&self, channel: &Channel) {
        let severity = match self {
            Self::ByClient { .. } | Self::ByServer { .. } => Severity::Usual,
            Self::Vanished { .. } | Self::Silent { .. } | Self::Idle { .. } => Severity::Notable,
            Self::Violation { .. } | Self::TooSlow { .. } => Severity::Fault,
        };
        let info = &channel.opening.info;
        let user = info.user.as_ref().map(User::name);
        log_end!(
            severity,
            channel.stack.may_log_of(info),
            {
                stack = %channel.stack.name,
                session = %info.id,
                remote = ?info.handshake.remote,
                transport = channel.transport
            },
            self.without_peers_text(),
            format_args!("{self}; user {user:?}")
        );
    }

    fn without_peers_text(&self) -> String {
        match self {
            Self::ByClient { code, .. } => format!("the client closed with {code:?}"),
            Self::ByServer { code, .. } => format!("the server closed with {code}"),
            // Errors of the transports name limits and states of the connection.
            _ => self.to_string(),
        }
    }
}

impl From<Lost> for Closed {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Closed { code, reason } => Self::ByClient {
                code: code.and_then(CloseCode::new),
                reason,
            },
            Lost::Vanished(error) => Self::Vanished {
                error: error.into(),
            },
            Lost::HalfClosed => Self::Vanished {
                error: ByteString::from_static("it ended its side without a word"),
            },
            Lost::Silent(error) => Self::Silent {
                error: error.into(),
            },
            Lost::Violation { code, error } => Self::Violation {
                code: CloseCode::new(code).unwrap_or(CloseCode::PROTOCOL_ERROR),
                error: error.into(),
            },
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByClient { code: None, .. } => f.write_str("the client closed without a code"),
            Self::ByClient {
                code: Some(code),
                reason,
            } => write!(f, "the client closed with {code} {reason:?}"),
            Self::ByServer { code, reason } => {
                write!(f, "the server closed with {code} {reason:?}")
            }
            Self::Vanished { error } => write!(f, "the client vanished: {error}"),
            Self::Silent { error } => write!(f, "the client is gone: {error}"),
            Self::Violation { error, .. } => write!(f, "the client broke a rule: {error}"),
            Self::TooSlow { error } => write!(f, "the client reads too slowly: {error}"),
            Self::Idle { error } => f.write_str(error),
        }
    }
}
