//! Errors of the peer.

use thiserror::Error;

use crate::close::CloseCode;

/// A violation by the peer of RFC 6455, or of a limit of [`Config`](crate::Config).
///
/// Every variant is the peer's fault and ends the connection: the machine has queued the Close frame with
/// [`close_code`](Error::close_code), takes no further input, and has nothing left to do once
/// [`poll_transmit`](crate::Connection::poll_transmit) has returned that frame.
///
/// # Example: a client that does not mask
///
/// ```
/// use tramline_websocket::{CloseCode, Config, Connection, Error, Role};
///
/// let mut server = Connection::new(Role::Server, Config::default());
/// let mut plain = *b"\x81\x05Hello";
/// let error = server.receive(&mut plain.as_mut_slice()).unwrap_err();
/// assert_eq!(error, Error::UnmaskedByClient);
/// assert_eq!(error.close_code(), CloseCode::PROTOCOL_ERROR);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer set bits that belong to an extension (§5.2).
    #[error("reserved bits {bits:03b} set, which no negotiated extension uses; send them as 000")]
    ReservedBits {
        /// RSV1, RSV2 and RSV3, from high to low.
        bits: u8,
    },
    /// The peer set RSV1, which marks a compressed message, on a frame that starts no message (RFC 7692 §6).
    #[error(
        "RSV1 set on opcode {opcode}; only the first frame of a message says whether it is compressed"
    )]
    MisplacedCompression {
        /// 0, 8, 9 or 10.
        opcode: u8,
    },
    /// The peer used an undefined opcode: 3–7 or 11–15 (§5.2).
    #[error("opcode {opcode} is reserved; use 0, 1, 2, 8, 9 or 10")]
    ReservedOpCode {
        /// The opcode.
        opcode: u8,
    },
    /// The peer is a client and sent a frame without a mask (§5.1).
    #[error("frame from a client without a mask; mask every frame")]
    UnmaskedByClient,
    /// The peer is a server and sent a masked frame (§5.1).
    #[error("masked frame from a server; a server masks nothing")]
    MaskedByServer,
    /// The peer split a Close, Ping or Pong into fragments (§5.5).
    #[error("control frame (opcode {opcode}) without FIN; control frames cannot be fragmented")]
    FragmentedControl {
        /// 8, 9 or 10.
        opcode: u8,
    },
    /// The peer sent a Close, Ping or Pong with a payload above 125 bytes (§5.5).
    #[error("control frame (opcode {opcode}) of more than 125 bytes; shorten its payload")]
    ControlTooLong {
        /// 8, 9 or 10.
        opcode: u8,
    },
    /// The peer encoded a length in more bytes than it needs (§5.2).
    #[error("length {len} not in its shortest form; up to 125 takes 7 bits, up to 65535 takes 16")]
    LengthNotMinimal {
        /// The length as announced, in bytes.
        len: u64,
    },
    /// The peer set the highest bit of a 64-bit length (§5.2).
    #[error("64-bit length with its highest bit set; a length is at most 2^63 - 1")]
    LengthOutOfRange,
    /// The peer continued a message that it had not started (§5.4).
    #[error("continuation frame without a message to continue; begin with opcode 1 or 2")]
    NothingToContinue,
    /// The peer started a message before it finished the previous one (§5.4).
    #[error(
        "new message (opcode {opcode}) inside an unfinished one; continue with opcode 0 until FIN"
    )]
    UnfinishedMessage {
        /// 1 or 2.
        opcode: u8,
    },
    /// The peer sent text that is not UTF-8 (§8.1).
    #[error("text is not UTF-8 from byte {at} on; send bytes as a binary message")]
    InvalidUtf8 {
        /// The length of the valid part of the message, over all its fragments, in bytes.
        at: usize,
    },
    /// The peer sent a Close with a payload of one byte, half a code (§5.5.1).
    #[error("Close frame with half a code; send none or at least two bytes")]
    CloseTooShort,
    /// The peer sent a close code that must not be sent (§7.4).
    #[error("close code {code} must not be sent; use 1000-1003, 1007-1014 or 3000-4999")]
    InvalidCloseCode {
        /// The code.
        code: u16,
    },
    /// The peer's reason for closing is not UTF-8 (§5.5.1).
    #[error("reason in Close frame is not UTF-8")]
    InvalidCloseReason,
    /// The peer announced a frame above [`Config::max_frame`](crate::Config::max_frame), in a message that would be
    /// allowed.
    #[error("frame of {len} bytes, limit {max}; send it in smaller frames or raise max_frame")]
    FrameTooBig {
        /// Payload bytes announced.
        len: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// The peer announced a frame that takes its message above [`Config::max_message`](crate::Config::max_message).
    #[error("message of {len} bytes or more, limit {max}; send it as several or raise max_message")]
    MessageTooBig {
        /// Bytes of the message, received and announced.
        len: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// The peer compressed a message of more than [`Config::max_message`](crate::Config::max_message).
    #[error("message inflates to more than {max} bytes; send it as several or raise max_message")]
    InflatedTooBig {
        /// The limit, in bytes.
        max: usize,
    },
    /// The peer sent a compressed message that is invalid or truncated (RFC 7692 §7.2.2).
    #[error("compressed message is not DEFLATE data flushed to its end")]
    InvalidDeflate,
    /// The peer split a message into more frames than [`Config::max_fragments`](crate::Config::max_fragments).
    #[error("message in more than {max} frames; send larger frames or raise max_fragments")]
    TooManyFragments {
        /// The limit, in frames.
        max: u32,
    },
}

impl Error {
    /// Returns the code of the Close frame that answers this error (RFC 6455 §7.4.1).
    ///
    /// 1007 for invalid UTF-8 or compressed data, 1009 for every limit, 1002 for the rest. Too many fragments are 1009
    /// and not 1008: the count is one more measure of a message's size, and the remedy, other fragments, is the same.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidUtf8 { .. } | Self::InvalidCloseReason | Self::InvalidDeflate => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::FrameTooBig { .. }
            | Self::MessageTooBig { .. }
            | Self::InflatedTooBig { .. }
            | Self::TooManyFragments { .. } => CloseCode::TOO_BIG,
            Self::ReservedBits { .. }
            | Self::MisplacedCompression { .. }
            | Self::ReservedOpCode { .. }
            | Self::UnmaskedByClient
            | Self::MaskedByServer
            | Self::FragmentedControl { .. }
            | Self::ControlTooLong { .. }
            | Self::LengthNotMinimal { .. }
            | Self::LengthOutOfRange
            | Self::NothingToContinue
            | Self::UnfinishedMessage { .. }
            | Self::CloseTooShort
            | Self::InvalidCloseCode { .. } => CloseCode::PROTOCOL_ERROR,
        }
    }
}
