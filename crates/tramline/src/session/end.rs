//! Why sessions end, and who hears of it.

use bytestring::ByteString;
use tramline_stomp::ServerError;

use crate::inbound::SessionInfo;
use crate::stats::Counters;

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// It sent DISCONNECT.
    Disconnected,
    /// It closed its side of the transport.
    PeerClosed {
        code: Option<u16>,
        reason: ByteString,
    },
    /// It went away without a word.
    Vanished(String),
    /// It broke the transport's protocol.
    Violation { code: u16, error: String },
    /// It broke STOMP, or let its heart-beats fail; the ERROR is queued.
    Stomp(ServerError),
    /// It wanted what it may not, or what there is not; the ERROR is queued.
    Refused { error: String },
    /// It sent no CONNECT in time.
    NoConnect,
    /// It reads too slowly.
    TooSlow(String),
    /// A message for it cannot travel on its transport; the ERROR is queued.
    NotText { destination: String },
    /// Somebody on the server's side wanted it.
    Requested { code: u16, reason: ByteString },
}

/// Spring's code for a session that is not reliable, which front ends may know.
const NOT_RELIABLE: u16 = 4500;

impl End {
    /// The close code and reason that the client gets.
    pub(super) fn close(&self) -> (u16, ByteString) {
        match self {
            Self::Disconnected => (1000, ByteString::new()),
            // The machine answers with the peer's own code.
            Self::PeerClosed { code, .. } => (code.unwrap_or(1000), ByteString::new()),
            Self::Vanished(_) => (1001, ByteString::new()),
            Self::Violation { code, error } => (*code, error.as_str().into()),
            Self::Stomp(error) => (1002, error.to_string().into()),
            Self::Refused { error } => (1002, error.as_str().into()),
            Self::NoConnect => (NOT_RELIABLE, "no CONNECT frame came in time".into()),
            Self::TooSlow(error) => (NOT_RELIABLE, error.as_str().into()),
            Self::NotText { .. } => (1003, self.error().into()),
            Self::Requested { code, reason } => (*code, reason.clone()),
        }
    }

    /// Whether there is nobody to say goodbye to.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Vanished(_))
    }

    pub(super) fn count(&self, counters: &Counters) {
        let counter = match self {
            Self::Disconnected
            | Self::PeerClosed { .. }
            | Self::Requested { .. }
            | Self::Refused { .. } => return,
            Self::Vanished(_) => &counters.vanished,
            Self::Stomp(ServerError::HeartBeatTimeout { .. }) | Self::NoConnect => {
                &counters.timeouts
            }
            Self::Violation { .. } | Self::Stomp(_) => &counters.protocol_errors,
            Self::TooSlow(_) => &counters.slow_consumers,
            Self::NotText { .. } => &counters.rejected,
        };
        counter.increment();
    }

    /// One line for each session that ends for a reason other than its own wish.
    pub(super) fn log(&self, stack: &str, info: &SessionInfo, transport: &'static str) {
        let (session, user) = (info.id, info.user.as_ref().map(crate::User::name));
        let remote = info.handshake.remote;
        macro_rules! log {
            ($level:ident, $text:literal $(, $($field:tt)*)?) => {
                tracing::$level!(stack, %session, user, remote = ?remote, transport, $($($field)*,)? $text)
            };
        }
        match self {
            Self::Disconnected => log!(debug, "session disconnected"),
            Self::PeerClosed { code, reason } => {
                log!(debug, "session closed by its client", code, %reason)
            }
            Self::Requested { code, reason } => {
                log!(debug, "session closed by the server", code, %reason)
            }
            Self::Vanished(how) => log!(info, "session ended: its client vanished", how),
            Self::Violation { .. } | Self::Stomp(_) => {
                log!(
                    warn,
                    "session ended: its client broke the protocol",
                    error = self.error()
                );
            }
            Self::Refused { .. } => {
                log!(warn, "session ended: it was refused", error = self.error())
            }
            Self::NoConnect => log!(info, "session ended: no CONNECT came in time"),
            Self::TooSlow(_) => log!(
                warn,
                "session ended: its client reads too slowly",
                error = self.error()
            ),
            Self::NotText { .. } => log!(
                warn,
                "session ended: a message cannot be carried",
                error = self.error()
            ),
        }
    }

    fn error(&self) -> String {
        match self {
            Self::Violation { error, .. } | Self::Refused { error } | Self::TooSlow(error) => {
                error.clone()
            }
            Self::Stomp(error) => error.to_string(),
            Self::NotText { destination } => not_text(destination),
            _ => String::new(),
        }
    }
}

/// The text for a body that SockJS cannot carry.
pub(super) fn not_text(destination: &str) -> String {
    format!(
        "a message to {destination:?} has a body that is not UTF-8, which SockJS cannot carry; use WebSocket"
    )
}
