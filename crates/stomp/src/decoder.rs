use std::{collections::VecDeque, fmt, mem};

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use crate::frame::Frame;
use crate::version::Version;

use self::scan::{Scan, receipt_of};
pub use self::{error::DecodeError, limits::Limits};

mod error;
mod limits;
mod scan;

/// Decodes a stream of bytes, cut anywhere, into frames.
///
/// [`feed`](Decoder::feed) a piece, then call [`next`](Decoder::next) until it returns `None`.
///
/// # Rules
///
/// - Lines end with LF or CRLF in every version, and a CRLF may be split between pieces. A CR without its LF is an
///   error anywhere in a head: a parser that accepts CRLF cannot distinguish it from a line end. (1.1 would allow it
///   inside a value, and offers no way to write it at the end of one.)
/// - A header line splits at its first colon. Names must not be empty. Blanks around values belong to them, except in 1.0,
///   whose own examples have them: there they are removed.
/// - Headers are UTF-8. The [version](Decoder::set_version) determines how they are unescaped; CONNECT, STOMP and
///   CONNECTED never are. An undefined escape is an error (STOMP 1.2, "Value Encoding").
/// - The first `content-length` counts. That many bytes are the body, and NUL must follow. One that is not a number is
///   an error. Without one the body ends at the first NUL.
/// - SEND, MESSAGE and ERROR may have a body, in every version. Other frames have none: one that comes all the same ends
///   by the same rules and is dropped, since clients exist that write a line end there.
/// - A NUL in a head is an error: usually it ends a frame that lacks its blank line, and without this rule the peer
///   would wait for ever.
///
/// # Memory
///
/// A frame that lies in one piece is sliced from it: only names and values with escapes are copied. But a frame of less
/// than half its piece is copied as a whole, so that keeping it keeps at most twice its size alive. A frame that spans
/// pieces is collected in one buffer that grows by doubling, and no byte is searched twice. Between frames the decoder
/// owns no allocation. By [`Limits`], a peer can make it hold at most this of one frame: the command's line,
/// `header_count × (header_line + 2)` and the larger of one more line and `body + 2` bytes; twice that while the buffer
/// grows. Each limit is checked before the bytes beyond it are stored.
///
/// # Example: a frame in two pieces
///
/// ```
/// use tramline_stomp::{Bytes, Command, Decoded, Decoder, Limits};
///
/// let mut decoder = Decoder::new(Limits::default());
/// decoder.feed(Bytes::from_static(b"SEND\ndestination:/app/hello\r"));
/// assert_eq!(decoder.next()?, None);
/// assert_eq!(decoder.buffered(), 28);
///
/// decoder.feed(Bytes::from_static(b"\n\nAnn\0"));
/// let Some(Decoded::Frame(frame)) = decoder.next()? else { panic!("a frame is complete") };
/// assert_eq!(frame.command, Command::Send);
/// assert_eq!(frame.headers.get("destination"), Some("/app/hello"));
/// assert_eq!(frame.body, "Ann");
/// assert_eq!(decoder.buffered(), 0);
/// # Ok::<(), tramline_stomp::DecodeError>(())
/// ```
pub struct Decoder {
    limits: Limits,
    /// The piece being read; never an exhausted view of an allocation.
    input: Bytes,
    /// Pieces that were fed before `input` was used up.
    queue: VecDeque<Bytes>,
    partial: Option<Box<Partial>>,
    version: Version,
    /// A frame ended in `input`: line ends up to the next frame belong to it.
    after_frame: bool,
    /// The last byte between frames was a CR.
    after_cr: bool,
    spent: bool,
    /// The length of the piece that `input` is the rest of.
    piece: u32,
}

/// The result of [`Decoder::next`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A whole frame.
    Frame(Frame),
    /// One or more line ends between frames. Those that follow a frame in the same piece are its optional padding and
    /// not reported.
    HeartBeat,
}

impl Decoder {
    /// Creates a decoder for a new stream. Until a version is set it decodes 1.2.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            input: Bytes::new(),
            queue: VecDeque::new(),
            partial: None,
            version: Version::V1_2,
            after_frame: false,
            after_cr: false,
            spent: false,
            piece: 0,
        }
    }

    /// Sets the version whose escapes apply to the frames that [`next`](Decoder::next) returns from now on. Call it
    /// once the version is negotiated: earlier frames have no escapes.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// The version set, or 1.2.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Takes the next piece of the stream. Decodes nothing before [`next`](Decoder::next).
    pub fn feed(&mut self, bytes: Bytes) {
        if bytes.is_empty() || self.spent {
            return;
        }
        if self.input.is_empty() && self.queue.is_empty() {
            self.begin_piece(bytes);
        } else {
            self.queue.push_back(bytes);
        }
    }

    /// Returns the next frame or heart-beat, or `None` until more is fed.
    ///
    /// # Errors
    ///
    /// The peer violated the protocol or a limit. The start of its next frame is then unknown, so the decoder drops
    /// what it held and returns `None` from now on.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator could not be fed"
    )]
    pub fn next(&mut self) -> Result<Option<Decoded>, DecodeError> {
        self.next_or_failure().map_err(|failure| failure.error)
    }

    /// As [`next`](Self::next); an error comes with the receipt that its frame asks for.
    pub(crate) fn next_or_failure(&mut self) -> Result<Option<Decoded>, Failure> {
        let result = self.advance();
        if result.is_err() {
            self.finish();
        }
        result
    }

    /// The bytes that are not yet decoded or belong to an incomplete frame.
    pub fn buffered(&self) -> usize {
        let held = self
            .partial
            .as_ref()
            .map_or(0, |partial| partial.bytes.len());
        held + self.input.len() + self.queue.iter().map(Bytes::len).sum::<usize>()
    }

    /// Drops all input, including what is fed from now on.
    pub(crate) fn finish(&mut self) {
        self.input = Bytes::new();
        self.queue = VecDeque::new();
        self.partial = None;
        self.spent = true;
    }

    fn advance(&mut self) -> Result<Option<Decoded>, Failure> {
        loop {
            if self.input.is_empty() && !self.next_piece() {
                return Ok(None);
            }
            if self.partial.is_none() {
                if self.skip_line_ends()? {
                    return Ok(Some(Decoded::HeartBeat));
                }
                if self.input.is_empty() {
                    continue;
                }
            }
            if let Some(frame) = self.frame()? {
                self.after_frame = true;
                return Ok(Some(Decoded::Frame(frame)));
            }
        }
    }

    fn next_piece(&mut self) -> bool {
        let Some(piece) = self.queue.pop_front() else {
            return false;
        };
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        self.begin_piece(piece);
        true
    }

    fn begin_piece(&mut self, piece: Bytes) {
        self.piece = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        self.input = piece;
        self.after_frame = false;
    }

    /// Skips line ends between frames; returns true if they were a heart-beat.
    fn skip_line_ends(&mut self) -> Result<bool, DecodeError> {
        let mut line_ends = false;
        let mut read = 0;
        for &octet in &self.input {
            match octet {
                b'\n' => {
                    line_ends = true;
                    self.after_cr = false;
                }
                _ if self.after_cr => return Err(DecodeError::BareCarriageReturn),
                b'\r' => self.after_cr = true,
                _ => break,
            }
            read += 1;
        }
        self.consume(read);
        Ok(line_ends && !self.after_frame)
    }

    /// Returns the frame that `input` begins or continues, if it ends there too; otherwise `input` is used up.
    fn frame(&mut self) -> Result<Option<Frame>, Failure> {
        let Some(mut partial) = self.partial.take() else {
            let mut scan = Scan::default();
            let end = scan
                .run(&[], &self.input, &self.limits)
                .map_err(|error| self.failure(error, &[]))?;
            return match end {
                Some(end) => {
                    let mut bytes = self.input.split_to(end);
                    if end < self.piece as usize / 2 {
                        // A slice would keep the whole piece alive, which no limit counts.
                        bytes = Bytes::copy_from_slice(&bytes);
                    }
                    self.parse(scan, &bytes).map(Some)
                }
                None => {
                    let bytes = mem::take(&mut self.input).to_vec();
                    self.partial = Some(Box::new(Partial { bytes, scan }));
                    Ok(None)
                }
            };
        };
        let end = partial
            .scan
            .run(&partial.bytes, &self.input, &self.limits)
            .map_err(|error| self.failure(error, &partial.bytes))?;
        match end {
            Some(end) => {
                partial.bytes.extend_from_slice(&self.input[..end]);
                self.consume(end);
                let Partial { bytes, scan } = *partial;
                self.parse(scan, &bytes.into()).map(Some)
            }
            None => {
                partial.bytes.extend_from_slice(&mem::take(&mut self.input));
                self.partial = Some(partial);
                Ok(None)
            }
        }
    }

    fn parse(&self, scan: Scan, bytes: &Bytes) -> Result<Frame, Failure> {
        scan.into_frame(bytes, self.version)
            .map_err(|error| Failure {
                error,
                receipt: receipt_of(bytes, self.version, &self.limits),
            })
    }

    /// The failure of a frame whose first bytes are `held`.
    #[cold]
    fn failure(&self, error: DecodeError, held: &[u8]) -> Failure {
        let read = [held, &self.input].concat();
        Failure {
            error,
            receipt: receipt_of(&read, self.version, &self.limits),
        }
    }

    fn consume(&mut self, read: usize) {
        if read == self.input.len() {
            // An empty view would keep the whole piece alive.
            self.input = Bytes::new();
        } else {
            self.input.advance(read);
        }
    }
}

/// An error, and the receipt that its frame asks for, as far as its header could be read.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: DecodeError,
    pub(crate) receipt: Option<ByteString>,
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        let receipt = None;
        Self { error, receipt }
    }
}

/// Shows counts only: a CONNECT frame contains a passcode.
impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("limits", &self.limits)
            .field("version", &self.version)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

/// The beginning of an incomplete frame. Boxed: most sessions have none most of the time.
struct Partial {
    bytes: Vec<u8>,
    scan: Scan,
}

#[cfg(test)]
mod tests;
