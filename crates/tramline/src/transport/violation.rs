//! What a peer did wrong, in the words of whoever set the limits.

use tramline_sockjs::PayloadError;
use tramline_websocket::{CloseCode, Error};

use super::Lost;

/// A rule of WebSocket that was broken.
pub(super) fn of_websocket(error: &Error) -> Lost {
    Lost::Violation {
        code: error.close_code().as_u16(),
        error: error.to_string(),
    }
}

/// A SockJS payload that was refused.
pub(crate) fn of_payload(error: PayloadError) -> Lost {
    let (code, option) = match error {
        PayloadError::Empty | PayloadError::BrokenJson => (CloseCode::INVALID_PAYLOAD, ""),
        // Only raw endpoints bound a message that is inside a payload.
        PayloadError::MessageTooLarge { .. } => (CloseCode::TOO_BIG, " (`RawLimits::message`)"),
        _ => (CloseCode::TOO_BIG, ""),
    };
    Lost::Violation {
        code: code.as_u16(),
        error: format!("{error}{option}"),
    }
}
