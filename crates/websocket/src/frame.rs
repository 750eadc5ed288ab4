//! The head of a frame: the two to fourteen bytes before its payload (RFC 6455 §5.2).

use crate::config::Role;
use crate::error::Error;

/// The kind of a message that an application sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpCode {
    /// UTF-8 text.
    Text,
    /// Bytes of any kind.
    Binary,
}

/// Maximum length in bytes of a head from [`write_head`]: two, and eight for a length above 65,535.
pub const MAX_HEAD: usize = 10;

/// Appends the head of a server's frame that carries one whole message of `payload_len` bytes.
///
/// For write paths that join private heads and payloads shared by many connections; everything else uses
/// [`Connection::send`](crate::Connection::send). The payload must follow at once and in full. The connection does not
/// see such frames, so check [`Connection::state`](crate::Connection::state) first: after a Close nothing may follow
/// (RFC 6455 §5.5.1).
///
/// # Example: head and shared payload
///
/// ```
/// use tramline_websocket::{OpCode, write_head};
///
/// let mut out = Vec::new();
/// write_head(&mut out, OpCode::Text, 5);
/// out.extend_from_slice(b"Hello");
/// assert_eq!(out, b"\x81\x05Hello");
/// ```
#[inline]
pub fn write_head(out: &mut Vec<u8>, opcode: OpCode, payload_len: usize) {
    put_head(out, opcode.into(), false, payload_len, None);
}

/// All opcodes of the wire; [`OpCode`] is the subset for applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Kind {
    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn from_bits(bits: u8) -> Result<Self, Error> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            opcode => return Err(Error::ReservedOpCode { opcode }),
        })
    }
}

impl From<OpCode> for Kind {
    #[inline]
    fn from(opcode: OpCode) -> Self {
        match opcode {
            OpCode::Text => Self::Text,
            OpCode::Binary => Self::Binary,
        }
    }
}

/// A received head that satisfies every rule that can be checked without the earlier frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) fin: bool,
    /// RSV1: first frame of a message compressed by permessage-deflate.
    pub(crate) compressed: bool,
    /// All zero if the peer is a server: unmasking then changes nothing, and is skipped.
    pub(crate) key: [u8; 4],
    pub(crate) len: u64,
}

impl Head {
    /// Parses a head from the front of `bytes`, for a machine in `role` with or without compression, and returns its
    /// length too; `None` if more bytes are needed.
    ///
    /// The rules are checked in the order of the bytes, each as soon as its byte is there, so the cuts change neither
    /// the result nor which of two errors is reported.
    #[inline]
    pub(crate) fn parse(
        bytes: &[u8],
        role: Role,
        deflate: bool,
    ) -> Result<Option<(Self, usize)>, Error> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let reserved = first & RSV;
        let compressed = deflate && reserved == RSV1;
        if reserved != 0 && !compressed {
            return Err(Error::ReservedBits {
                bits: reserved >> 4,
            });
        }
        let kind = Kind::from_bits(first & OPCODE)?;
        if compressed && !matches!(kind, Kind::Text | Kind::Binary) {
            return Err(Error::MisplacedCompression { opcode: kind as u8 });
        }
        let fin = first & FIN != 0;
        if kind.is_control() && !fin {
            return Err(Error::FragmentedControl { opcode: kind as u8 });
        }

        let Some((&second, rest)) = rest.split_first() else {
            return Ok(None);
        };
        let masked = second & MASK != 0;
        match role {
            Role::Server if !masked => return Err(Error::UnmaskedByClient),
            Role::Client if masked => return Err(Error::MaskedByServer),
            Role::Server | Role::Client => {}
        }
        let (len, rest) = match second & !MASK {
            short @ 0..=LEN_7 => (u64::from(short), rest),
            _ if kind.is_control() => return Err(Error::ControlTooLong { opcode: kind as u8 }),
            LEN_16_FOLLOWS => {
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                let len = u64::from(u16::from_be_bytes(*len));
                if len <= u64::from(LEN_7) {
                    return Err(Error::LengthNotMinimal { len });
                }
                (len, rest)
            }
            _ => {
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                let len = u64::from_be_bytes(*len);
                if len >> 63 != 0 {
                    return Err(Error::LengthOutOfRange);
                }
                if len <= u64::from(u16::MAX) {
                    return Err(Error::LengthNotMinimal { len });
                }
                (len, rest)
            }
        };

        let (key, rest) = if masked {
            let Some((key, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (*key, rest)
        } else {
            ([0; 4], rest)
        };
        Ok(Some((
            Self {
                kind,
                fin,
                compressed,
                key,
                len,
            },
            bytes.len() - rest.len(),
        )))
    }
}

/// Appends a head with FIN, with RSV1 if the payload is `compressed`, and with a client's mask `key`.
#[inline]
pub(crate) fn put_head(
    out: &mut Vec<u8>,
    kind: Kind,
    compressed: bool,
    len: usize,
    key: Option<[u8; 4]>,
) {
    let first = FIN | kind as u8 | if compressed { RSV1 } else { 0 };
    let mask = if key.is_some() { MASK } else { 0 };
    if len <= usize::from(LEN_7) {
        out.extend_from_slice(&[first, mask | len as u8]);
    } else if let Ok(len) = u16::try_from(len) {
        let [a, b] = len.to_be_bytes();
        out.extend_from_slice(&[first, mask | LEN_16_FOLLOWS, a, b]);
    } else {
        let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
        out.extend_from_slice(&[first, mask | LEN_64_FOLLOWS, a, b, c, d, e, f, g, h]);
    }
    if let Some(key) = key {
        out.extend_from_slice(&key);
    }
}

/// Maximum length of a head on the wire, a client's: [`MAX_HEAD`] and a key.
pub(crate) const MAX_MASKED_HEAD: usize = MAX_HEAD + 4;

/// Maximum payload of a control frame (§5.5).
pub(crate) const MAX_CONTROL: usize = 125;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const MASK: u8 = 0x80;
const LEN_7: u8 = 125;
const LEN_16_FOLLOWS: u8 = 126;
const LEN_64_FOLLOWS: u8 = 127;
