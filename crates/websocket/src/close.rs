//! Close codes that may be sent, and the frame that carries one.

use std::fmt;

use bytestring::ByteString;

/// A close code that may appear in a Close frame (RFC 6455 §7.4).
///
/// It holds 1000–1003, 1007–1014 and 3000–4999: the codes that the RFC and IANA's registry define, that libraries
/// register, and that applications choose. It cannot hold 1004, 1005, 1006 and 1015, which are reserved or mean "no
/// Close frame was received", nor an undefined number; so neither end can send or report one.
///
/// # Example: a code of the application's own
///
/// ```
/// use tramline_websocket::CloseCode;
///
/// const SLOW_CONSUMER: CloseCode = CloseCode::new(4500).unwrap();
/// assert_eq!(SLOW_CONSUMER.as_u16(), 4500);
/// assert_eq!(CloseCode::new(1006), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server shuts down, or the user left the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer violated the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: the peer sent a kind of data this end cannot take, such as binary where only text makes sense.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1007: the payload contradicts its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: the message violates a policy, and no other code fits better.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: the message is too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts; reconnecting soon will work.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded; reconnect later or elsewhere.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// Returns the code, or `None` if `code` must not appear in a Close frame.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// Returns the number that goes on the wire.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A peer's Close: a code, and a reason meant for people who debug (RFC 6455 §5.5.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CloseFrame {
    /// The peer's code.
    pub code: CloseCode,
    /// The peer's reason, at most 123 bytes, often empty. Neither for users nor to be trusted.
    pub reason: ByteString,
}

/// Encodes the payload of a Close frame. A longer reason is cut at 123 bytes, never inside a character.
pub(crate) fn payload(code: CloseCode, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = Vec::with_capacity(2 + end);
    payload.extend_from_slice(&code.0.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    payload
}

/// A control frame's 125 bytes less the code's two.
const MAX_REASON: usize = 123;
