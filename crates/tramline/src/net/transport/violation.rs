//! Violations by the peer, with the names of the options that it exceeded.

use tramline_sockjs::PayloadError;
use tramline_websocket::{CloseCode, Error};

use super::Lost;

/// The options that set the limits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LimitsOf {
    /// [`Limits`](crate::Limits), from which the transport's limits follow.
    Stomp,
    /// The same until CONNECTED: [`Limits::connect_bytes`](crate::Limits::connect_bytes).
    Connect,
    /// [`RawLimits`](crate::raw::RawLimits).
    Raw,
    /// The same, for a transport whose messages are envelopes.
    RawEnvelopes,
}

impl LimitsOf {
    pub(super) fn envelopes(self) -> Self {
        match self {
            Self::Stomp | Self::Connect => self,
            Self::Raw | Self::RawEnvelopes => Self::RawEnvelopes,
        }
    }

    /// The options that bound messages, frames and their number.
    const fn options(self) -> [&'static str; 3] {
        const FRAME: &str = " (`RawLimits::frame`)";
        const FRAGMENTS: &str = " (`RawLimits::fragments`)";
        match self {
            Self::Stomp => [BY_BODY, BY_BODY, ""],
            Self::Connect => [BEFORE_LOGIN, BEFORE_LOGIN, ""],
            Self::Raw => [BY_MESSAGE, FRAME, FRAGMENTS],
            Self::RawEnvelopes => [" (by `RawLimits::message`)", FRAME, FRAGMENTS],
        }
    }
}

pub(crate) const BEFORE_LOGIN: &str = " before CONNECTED (`Limits::connect_bytes`)";
const BY_BODY: &str = " (by `Limits::body`)";
const BY_MESSAGE: &str = " (`RawLimits::message`)";

/// A rule of WebSocket that was broken.
pub(super) fn of_websocket(error: &Error, limits: LimitsOf) -> Lost {
    let [message, frame, fragments] = limits.options();
    Lost::Violation {
        code: error.close_code().as_u16(),
        error: match error {
            Error::MessageTooBig { len, max } => {
                format!("message of {len} bytes or more, limit {max}{message}; send it as several")
            }
            Error::InflatedTooBig { max } => {
                format!("message inflates to more than {max} bytes{message}; send it as several")
            }
            Error::FrameTooBig { len, max } => {
                format!("frame of {len} bytes, limit {max}{frame}; send it in smaller frames")
            }
            Error::TooManyFragments { max } => {
                format!("message in more than {max} frames{fragments}; send larger frames")
            }
            error => error.to_string(),
        },
    }
}

/// A SockJS payload that was refused.
pub(crate) fn of_payload(error: PayloadError) -> Lost {
    let (code, option) = match error {
        PayloadError::Empty | PayloadError::BrokenJson => (CloseCode::INVALID_PAYLOAD, ""),
        // Only raw endpoints limit the content of an envelope.
        PayloadError::MessageTooLarge { .. } => (CloseCode::TOO_BIG, BY_MESSAGE),
        _ => (CloseCode::TOO_BIG, ""),
    };
    Lost::Violation {
        code: code.as_u16(),
        error: format!("{error}{option}"),
    }
}
