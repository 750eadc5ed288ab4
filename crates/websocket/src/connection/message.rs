//! Reassembly of messages that do not arrive whole and uncompressed in one input.

use bytes::Bytes;

use super::Event;
use crate::deflate::Inflater;
use crate::error::Error;
use crate::frame::Kind;
use crate::text::Text;

/// The message so far.
pub(super) struct Message {
    body: Body,
    /// Frames started.
    pub(super) frames: u32,
    compressed: Option<Compressed>,
}

enum Body {
    Text(Text),
    Binary {
        bytes: Vec<u8>,
        /// Bytes returned already.
        taken: usize,
    },
}

struct Compressed {
    inflater: Inflater,
    /// Bytes received, before they are inflated.
    len: usize,
    /// Maximum bytes of the body.
    max: usize,
}

impl Message {
    /// Starts the message of a first frame of `kind`.
    pub(super) fn new(kind: Kind) -> Self {
        let body = if kind == Kind::Text {
            Body::Text(Text::default())
        } else {
            Body::Binary {
                bytes: Vec::new(),
                taken: 0,
            }
        };
        Self {
            body,
            frames: 1,
            compressed: None,
        }
    }

    /// Starts a message whose pieces go through `inflater`, to at most `max` bytes.
    pub(super) fn compressed(kind: Kind, inflater: Inflater, max: usize) -> Self {
        Self {
            compressed: Some(Compressed {
                inflater,
                len: 0,
                max,
            }),
            ..Self::new(kind)
        }
    }

    /// Bytes received, before inflating.
    pub(super) fn received(&self) -> usize {
        self.compressed
            .as_ref()
            .map_or(self.body.len(), |compressed| compressed.len)
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.compressed.is_some()
    }

    /// Bytes of the message that were not returned yet.
    pub(super) fn held(&self) -> usize {
        self.body.held()
    }

    /// Returns the part of the message received since the last call; text is cut between characters.
    pub(super) fn take(&mut self) -> Option<Event> {
        match &mut self.body {
            Body::Text(text) => Some(text.take())
                .filter(|text| !text.is_empty())
                .map(|text| Event::Text(text.into())),
            Body::Binary { bytes, taken } => {
                *taken += bytes.len();
                Some(std::mem::take(bytes))
                    .filter(|bytes| !bytes.is_empty())
                    .map(|bytes| Event::Binary(bytes.into()))
            }
        }
    }

    /// Appends a piece of a frame of which `left` bytes, including the piece, were still to come; `last` if the message
    /// ends with that frame.
    pub(super) fn push(&mut self, piece: &[u8], left: usize, last: bool) -> Result<(), Error> {
        let Some(compressed) = &mut self.compressed else {
            return self.body.push(piece, left, last);
        };
        compressed.len += piece.len();
        let (body, max) = (&mut self.body, compressed.max);
        let last = last && piece.len() == left;
        compressed.inflater.piece(piece, |chunk, used_up| {
            body.push_inflated(chunk, max, last && used_up)
        })
    }

    /// Returns the message without another copy, and its inflater.
    pub(super) fn finish(mut self) -> Result<(Event, Option<Inflater>), Error> {
        // Some send an empty message as no bytes, where the RFC sends one byte (RFC 7692 §7.2.3.6).
        if let Some(compressed) = self
            .compressed
            .as_mut()
            .filter(|compressed| compressed.len > 0)
        {
            let (body, max) = (&mut self.body, compressed.max);
            compressed
                .inflater
                .finish(|chunk, used_up| body.push_inflated(chunk, max, used_up))?;
        }
        let event = match self.body {
            Body::Text(text) => match text.finish() {
                Ok(text) => Event::Text(text.into()),
                Err(at) => return Err(Error::InvalidUtf8 { at }),
            },
            Body::Binary { bytes, .. } => Event::Binary(Bytes::from(bytes)),
        };
        Ok((event, self.compressed.map(|compressed| compressed.inflater)))
    }
}

impl Body {
    /// Bytes in total.
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary { bytes, taken } => taken + bytes.len(),
        }
    }

    /// Bytes that were not returned yet.
    fn held(&self) -> usize {
        match self {
            Self::Text(text) => text.held(),
            Self::Binary { bytes, .. } => bytes.len(),
        }
    }

    /// Appends inflated bytes, at most `max` in total.
    fn push_inflated(&mut self, chunk: &[u8], max: usize, last: bool) -> Result<(), Error> {
        let room = max - self.len();
        if chunk.len() > room {
            // The part that fits may be invalid too, and whether that is found must not depend on the cut.
            self.push(&chunk[..room], room, true)?;
            return Err(Error::InflatedTooBig { max });
        }
        // Exactly, because rounding up would exceed the limit.
        self.push(chunk, if last { chunk.len() } else { room }, true)
    }

    /// Appends bytes, with room for `left` bytes, including these; `exact` if no more follow.
    fn push(&mut self, piece: &[u8], left: usize, exact: bool) -> Result<(), Error> {
        let held = self.held();
        match self {
            Self::Text(text) => {
                if text.spare() < piece.len() {
                    text.reserve(growth(held, piece.len(), left), exact);
                }
                text.push(piece).map_err(|at| Error::InvalidUtf8 { at })
            }
            Self::Binary { bytes, .. } => {
                if bytes.capacity() - bytes.len() < piece.len() {
                    let growth = growth(held, piece.len(), left);
                    if exact {
                        bytes.reserve_exact(growth);
                    } else {
                        bytes.reserve(growth);
                    }
                }
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }
}

/// Returns the bytes to reserve: enough that copies stay few, at most what the frame announces, and never much more
/// than the peer has sent, since announcing costs it nothing.
fn growth(held: usize, piece: usize, left: usize) -> usize {
    left.min(held.max(2 * piece).max(MIN_GROWTH))
}

/// One page: the most that a single byte from a peer makes us allocate.
const MIN_GROWTH: usize = 4096;
