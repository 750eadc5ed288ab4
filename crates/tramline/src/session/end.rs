//! Reasons for the end of a session, and what client, application and log are told.

use std::fmt;

use bytestring::ByteString;
use tramline_stomp::{DecodeError, PeerViolation, ServerError};

use crate::model::disconnected::{DisconnectCause, Disconnected};
use crate::model::inbound::SessionRecord;
use crate::model::user::User;
use crate::net::transport::Lost;
use crate::net::transport::task::{Severity, log_end};
use crate::stack::shared::MessagingStack;
use crate::stack::stats::Counters;

/// The reason why a session ends.
#[derive(Debug)]
pub(crate) enum End {
    /// It sent DISCONNECT.
    Disconnected,
    /// It closed its side of the transport.
    PeerClosed {
        code: Option<u16>,
        reason: ByteString,
    },
    /// It went away without a word.
    Vanished(String),
    /// It ended its side of the stream without DISCONNECT; it may still read answers to what it sent.
    HalfClosed,
    /// It does not answer any more.
    Silent(String),
    /// It broke the transport's protocol.
    Violation { code: u16, error: String },
    /// It broke STOMP, or let its heart-beats fail; the ERROR is queued.
    Stomp(ServerError),
    /// It wanted what it may not, or what there is not; the ERROR is queued.
    Refused { what: &'static str, error: String },
    /// It sent no CONNECT in time.
    NoConnect,
    /// The application did not decide about its CONNECT in time.
    SlowLogin,
    /// It reads too slowly.
    TooSlow(String),
    /// It sends too fast.
    TooFast(String),
    /// Somebody on the server's side wanted it.
    Requested { code: u16, reason: ByteString },
}

/// What a client is told whose frame the policy denies.
pub(super) const ACCESS_DENIED: &str = "access denied";

/// Spring's code for a session that is not reliable, which front ends may know.
const NOT_RELIABLE: u16 = 4500;

impl End {
    /// The close code and reason that the client gets.
    pub(super) fn close(&self) -> (u16, ByteString) {
        match self {
            Self::Disconnected | Self::HalfClosed => (1000, ByteString::new()),
            // The machine answers with the peer's own code.
            Self::PeerClosed { code, .. } => (code.unwrap_or(1000), ByteString::new()),
            Self::Vanished(_) | Self::Silent(_) => (1001, ByteString::new()),
            Self::Violation { code, error } => (*code, error.as_str().into()),
            Self::Stomp(error) => (1002, error.to_string().into()),
            Self::Refused { error, .. } => (1002, error.as_str().into()),
            Self::NoConnect | Self::SlowLogin | Self::TooSlow(_) => {
                (NOT_RELIABLE, self.to_string().into())
            }
            Self::TooFast(error) => (1008, error.as_str().into()),
            Self::Requested { code, reason } => (*code, reason.clone()),
        }
    }

    /// The same for the application.
    pub(super) fn disconnected(&self) -> Disconnected {
        let cause = match self {
            Self::Disconnected | Self::PeerClosed { .. } | Self::HalfClosed => {
                DisconnectCause::Client
            }
            Self::Vanished(_)
            | Self::Silent(_)
            | Self::Stomp(ServerError::HeartBeatTimeout { .. }) => DisconnectCause::Vanished,
            Self::Violation { .. }
            | Self::Stomp(_)
            | Self::Refused { .. }
            | Self::NoConnect
            | Self::SlowLogin
            | Self::TooFast(_) => DisconnectCause::Refused,
            Self::TooSlow(_) => DisconnectCause::TooSlow,
            Self::Requested { .. } => DisconnectCause::Server,
        };
        Disconnected {
            cause,
            code: self.close().0,
            reason: self.to_string().into(),
        }
    }

    /// Returns whether the client is gone, so that there is no close handshake.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Vanished(_) | Self::Silent(_))
    }

    pub(super) fn count(&self, counters: &Counters) {
        let counter = match self {
            Self::Disconnected
            | Self::PeerClosed { .. }
            | Self::Requested { .. }
            | Self::Refused { .. } => return,
            Self::Vanished(_) | Self::HalfClosed => &counters.vanished,
            Self::Stomp(ServerError::HeartBeatTimeout { .. })
            | Self::NoConnect
            | Self::SlowLogin
            | Self::Silent(_) => &counters.timeouts,
            Self::Violation { .. } | Self::Stomp(_) => &counters.protocol_errors,
            Self::TooSlow(_) => &counters.slow_consumers,
            Self::TooFast(_) => &counters.too_fast,
        };
        counter.increment();
    }

    /// The kind of an end that an operator looks for; `None` if the client or the server wanted it, or if the refusal that
    /// led to it was reported.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        Some(match self {
            Self::Disconnected
            | Self::PeerClosed { .. }
            | Self::HalfClosed
            | Self::Requested { .. } => return None,
            Self::Refused { what, .. } if *what == ACCESS_DENIED => return None,
            Self::Refused { what, .. } => what,
            Self::Vanished(_) | Self::Silent(_) => "client vanished",
            Self::Violation { .. } | Self::Stomp(_) => "protocol broken",
            Self::NoConnect | Self::SlowLogin => "no login in time",
            Self::TooSlow(_) => "slow consumer",
            Self::TooFast(_) => "sends too fast",
        })
    }

    /// Logs the end; at INFO or WARN when the session ends for a reason other than its client's wish.
    pub(super) fn log(
        &self,
        stack: &MessagingStack,
        session: &SessionRecord,
        transport: &'static str,
    ) {
        let severity = match self {
            Self::Disconnected | Self::PeerClosed { .. } => Severity::Usual,
            Self::Vanished(_)
            | Self::Silent(_)
            | Self::HalfClosed
            | Self::NoConnect
            | Self::Requested { .. } => Severity::Notable,
            Self::Violation { .. }
            | Self::Stomp(_)
            | Self::Refused { .. }
            | Self::SlowLogin
            | Self::TooFast(_)
            | Self::TooSlow(_) => Severity::Fault,
        };
        let user = session.user();
        let user = user.as_ref().map(User::name);
        log_end!(
            severity,
            stack.may_log_of(session),
            {
                stack = %stack.name,
                session = %session.id(),
                remote = ?session.handshake().remote,
                transport
            },
            self.without_peers_text(),
            format_args!("{self}; user {user:?}")
        );
    }

    fn without_peers_text(&self) -> String {
        match self {
            Self::PeerClosed { code, .. } => format!("the client closed with {code:?}"),
            Self::Stomp(error) => without_peers_text(error),
            Self::Refused { what, .. } => format!("refused: {what}"),
            Self::Requested { code, .. } => format!("the server closed it with {code}"),
            // Errors of the transports name limits and states of the connection.
            _ => self.to_string(),
        }
    }
}

fn without_peers_text(error: &ServerError) -> String {
    use PeerViolation::{ConnectTooLarge, Frame, TooManySubscriptions, TooManyTransactions};
    match error {
        ServerError::HeartBeatTimeout { .. }
        | ServerError::PeerViolation(
            Frame(
                DecodeError::HeaderLineTooLong { .. }
                | DecodeError::TooManyHeaders { .. }
                | DecodeError::BodyTooLarge { .. },
            )
            | ConnectTooLarge { .. }
            | TooManySubscriptions { .. }
            | TooManyTransactions { .. },
        ) => error.to_string(),
        ServerError::PeerViolation(Frame(DecodeError::ContentLengthTooLarge { limit, .. })) => {
            format!("frame body exceeds the limit of {limit} bytes (`Limits::body`)")
        }
        ServerError::PeerViolation(_) => "the client broke STOMP".to_owned(),
        _ => "the client asks for what the server does not have".to_owned(),
    }
}

impl From<Lost> for End {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Closed { code, reason } => Self::PeerClosed { code, reason },
            Lost::Vanished(how) => Self::Vanished(how),
            Lost::HalfClosed => Self::HalfClosed,
            Lost::Silent(how) => Self::Silent(how),
            Lost::Violation { code, error } => Self::Violation { code, error },
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the client disconnected"),
            Self::PeerClosed { code, reason } => {
                f.write_str("the client closed")?;
                if let Some(code) = code {
                    write!(f, " with {code}")?;
                }
                if !reason.is_empty() {
                    write!(f, ": {reason:?}")?;
                }
                Ok(())
            }
            Self::Vanished(how) | Self::Silent(how) => write!(f, "the client vanished: {how}"),
            Self::HalfClosed => f.write_str("the client ended its side without DISCONNECT"),
            Self::Violation { error, .. } => {
                write!(f, "the client broke its transport's protocol: {error}")
            }
            Self::Stomp(error) => write!(f, "{error}"),
            Self::Refused { error, .. } => write!(f, "refused: {error}"),
            Self::NoConnect => f.write_str("no CONNECT frame came in time"),
            Self::SlowLogin => f.write_str("the login was not decided in time"),
            Self::TooSlow(error) | Self::TooFast(error) => f.write_str(error),
            Self::Requested { code, reason } => {
                write!(f, "the server closed it with {code} {reason:?}")
            }
        }
    }
}
