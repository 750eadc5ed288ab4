//! DEFLATE as in RFC 7692: raw, each message flushed to a byte boundary, without the constant last four bytes.

use std::cell::Cell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Agreement, Direction, MAX_WINDOW_BITS, MIN_WINDOW_BITS};
use crate::config::Role;
use crate::error::Error;
use crate::frame::{self, OpCode};

/// Compresses the common end of messages to many receivers; `None` if it does not get smaller.
///
/// The result serves all connections whose agreement [`shares_tails`](Agreement::shares_tails): send each
/// [`write_deflated_head`] with a beginning of its own, and then these bytes. `level` is that of
/// [`Deflate::level`](super::Deflate::level).
///
/// # Example: one tail, two receivers
///
/// ```
/// use tramline_websocket::{
///     Config, Connection, Deflate, Event, OpCode, deflate_tail, write_deflated_head,
/// };
///
/// let body = "much the same, ".repeat(100);
/// let tail = deflate_tail(body.as_bytes(), 3).unwrap();
/// assert!(tail.len() < 40);
///
/// let deflate = Deflate::default();
/// let response = "permessage-deflate; server_no_context_takeover";
/// for own in ["first: ", "second: "] {
///     let mut wire = Vec::new();
///     write_deflated_head(&mut wire, OpCode::Text, own.as_bytes(), tail.len());
///     wire.extend_from_slice(&tail);
///
///     let agreement = deflate.confirm([response])?.unwrap();
///     let mut receiver = Connection::new_client(Config::default(), 1).with_deflate(agreement);
///     let event = receiver.receive(&mut wire.as_mut_slice()).unwrap();
///     assert_eq!(event, Some(Event::Text(format!("{own}{body}").into())));
/// }
/// # Ok::<(), tramline_websocket::NegotiationError>(())
/// ```
#[must_use]
pub fn deflate_tail(tail: &[u8], level: u8) -> Option<Vec<u8>> {
    let mut compressed = Vec::new();
    let setting = Setting {
        level: level.clamp(1, 9),
        window_bits: MAX_WINDOW_BITS,
    };
    setting.with_spare(|compress| deflate(compress, tail, &mut compressed));
    (compressed.len() < tail.len()).then_some(compressed)
}

/// Appends the beginning of a server's frame that carries one whole compressed message: the frame's own head, and
/// `head`, the message's beginning, uncompressed. The rest must follow at once and in full: `tail_len` bytes from
/// [`deflate_tail`].
///
/// Only for connections whose agreement [`shares_tails`](Agreement::shares_tails); otherwise like
/// [`write_head`](crate::write_head). `head` takes five more bytes for each 65,535 of it, since it is a stored block
/// (RFC 1951 §3.2.4).
pub fn write_deflated_head(out: &mut Vec<u8>, opcode: OpCode, head: &[u8], tail_len: usize) {
    let blocks = head.chunks(usize::from(u16::MAX));
    let len = head.len() + blocks.len() * STORED_HEAD + tail_len;
    frame::put_head(out, opcode.into(), true, len, None);
    for block in blocks {
        let [low, high] = (block.len() as u16).to_le_bytes();
        out.extend_from_slice(&[0, low, high, !low, !high]);
        out.extend_from_slice(block);
    }
}

/// A stored block's type, its length, and the length's complement.
const STORED_HEAD: usize = 5;

/// The extension's state in one connection.
pub(crate) struct Extension {
    /// Minimum payload bytes of a compressed message.
    above: usize,
    deflater: Option<Deflater>,
    receiving: Direction,
    /// Kept between messages if the peer keeps its context.
    inflater: Option<Inflater>,
}

impl Extension {
    pub(crate) fn new(agreement: &Agreement, role: Role) -> Self {
        let (sending, receiving) = match role {
            Role::Server => (agreement.server, agreement.client),
            Role::Client => (agreement.client, agreement.server),
        };
        Self {
            above: agreement.above(),
            deflater: Deflater::new(agreement.level, sending),
            receiving,
            inflater: None,
        }
    }

    /// Returns the payload of a compressed message; `None` if it should be sent uncompressed.
    pub(crate) fn compress(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let deflater = self.deflater.as_mut();
        deflater
            .filter(|_| payload.len() >= self.above)
            .and_then(|deflater| deflater.message(payload))
    }

    /// Returns the inflater for the next message.
    pub(crate) fn inflater(&mut self) -> Inflater {
        self.inflater
            .take()
            .unwrap_or_else(|| Inflater::new(self.receiving.takeover))
    }

    /// Stores an inflater for the next message.
    pub(crate) fn keep(&mut self, inflater: Inflater) {
        self.inflater = self.receiving.takeover.then_some(inflater);
    }
}

/// Compresses the payloads of messages.
struct Deflater {
    setting: Setting,
    /// The context kept between messages, after the first one.
    context: Option<Option<Box<Compress>>>,
}

impl Deflater {
    /// Returns `None` for a window of 8 bits: no compressor of zlib's family supports it in raw streams, and an end may
    /// always send its messages uncompressed (RFC 7692 §6).
    fn new(level: u8, direction: Direction) -> Option<Self> {
        (direction.window_bits > MIN_WINDOW_BITS).then(|| Self {
            setting: Setting {
                level,
                window_bits: direction.window_bits,
            },
            context: direction.takeover.then_some(None),
        })
    }

    /// Compresses one message; `None` if it should be sent uncompressed.
    fn message(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        // Flushing twice without input in between produces nothing.
        if payload.is_empty() {
            return None;
        }
        let mut compressed = Vec::with_capacity(payload.len() / 4 + ROOM);
        let Some(context) = &mut self.context else {
            self.setting
                .with_spare(|compress| deflate(compress, payload, &mut compressed));
            return (compressed.len() < payload.len()).then_some(compressed);
        };
        // Sent even if it grew: the peer's window has to match ours.
        let compress = context.get_or_insert_with(|| self.setting.compress());
        deflate(compress, payload, &mut compressed);
        Some(compressed)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Setting {
    level: u8,
    window_bits: u8,
}

impl Setting {
    fn compress(self) -> Box<Compress> {
        let level = Compression::new(self.level.into());
        Box::new(Compress::new_with_window_bits(
            level,
            false,
            self.window_bits,
        ))
    }

    /// Lends the thread's compressor, with an empty context: creating one takes longer than most messages do.
    fn with_spare(self, use_it: impl FnOnce(&mut Compress)) {
        let spare = SPARE.take().filter(|(setting, _)| *setting == self);
        let mut compress = match spare {
            Some((_, mut compress)) => {
                compress.reset();
                compress
            }
            None => self.compress(),
        };
        use_it(&mut compress);
        SPARE.set(Some((self, compress)));
    }
}

thread_local! {
    static SPARE: Cell<Option<(Setting, Box<Compress>)>> = const { Cell::new(None) };
}

/// Appends a flushed message, without the constant end.
fn deflate(compress: &mut Compress, mut payload: &[u8], out: &mut Vec<u8>) {
    loop {
        out.reserve(ROOM);
        let before = compress.total_in();
        // The compressor returns only errors of its callers: a preset dictionary, a finished stream.
        let status = compress.compress_vec(payload, out, FlushCompress::Sync);
        debug_assert!(status.is_ok(), "{status:?}");
        payload = &payload[(compress.total_in() - before) as usize..];
        // Free capacity means that the flush is complete.
        if status.is_err() || (payload.is_empty() && out.len() < out.capacity()) {
            break;
        }
    }
    debug_assert!(out.ends_with(&END));
    out.truncate(out.len().saturating_sub(END.len()));
}

/// Several times the size of a flush: with less, zlib would flush repeatedly.
const ROOM: usize = 64;

/// The empty stored block after each message, without its first byte: the sender removes it, the receiver restores it
/// (RFC 7692 §7.2).
const END: [u8; 4] = [0, 0, 0xff, 0xff];

/// The same with the bit of a final block. At a block boundary it ends the stream, elsewhere it does not.
const FINAL: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// Inflates the payloads of messages.
pub(crate) struct Inflater {
    inflate: Box<Decompress>,
    takeover: bool,
}

impl Inflater {
    /// The window always has full size: it costs the same.
    fn new(takeover: bool) -> Self {
        Self {
            inflate: Box::new(Decompress::new_with_window_bits(false, MAX_WINDOW_BITS)),
            takeover,
        }
    }

    /// Inflates a piece of a payload into `sink`, which may stop it. Each chunk comes with true if the piece is used up
    /// after it.
    pub(crate) fn piece(
        &mut self,
        mut piece: &[u8],
        mut sink: impl FnMut(&[u8], bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut chunk = [0; CHUNK];
        loop {
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let result = self
                .inflate
                .decompress(piece, &mut chunk, FlushDecompress::Sync);
            piece = &piece[(self.inflate.total_in() - read) as usize..];
            let len = (self.inflate.total_out() - written) as usize;
            let ended = matches!(result, Ok(Status::StreamEnd));
            let used_up = piece.is_empty() && (len < CHUNK || ended);
            if len > 0 {
                sink(&chunk[..len], used_up)?;
            }
            // Checked only now: the inflated part may be invalid too, and whether that is found must not depend on the
            // cut.
            result.map_err(|_| Error::InvalidDeflate)?;
            if ended {
                // A sender may end the stream with its message (RFC 7692 §7.2.3.4); the next one starts a new stream.
                self.inflate.reset(false);
            }
            if used_up {
                return Ok(());
            }
        }
    }

    /// Ends a message.
    pub(crate) fn finish(
        &mut self,
        sink: impl FnMut(&[u8], bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.piece(&END, sink)?;
        if self.takeover {
            // If this message is truncated, the next one shows it.
            return Ok(());
        }
        let status = self
            .inflate
            .decompress(&FINAL, &mut [0], FlushDecompress::Sync);
        match status {
            Ok(Status::StreamEnd) => Ok(()),
            Ok(Status::Ok | Status::BufError) | Err(_) => Err(Error::InvalidDeflate),
        }
    }
}

/// Bytes inflated at a time: a message may exceed its limit by this much before that is noticed.
const CHUNK: usize = 8 * 1024;
