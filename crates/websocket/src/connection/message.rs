//! A message that does not lie whole in one input: put together piece by piece.

use bytes::Bytes;

use super::Event;
use crate::error::Error;
use crate::frame::Kind;
use crate::text::Text;

/// The message so far.
pub(super) struct Message {
    body: Body,
    /// Frames begun.
    pub(super) frames: u32,
}

enum Body {
    Text(Text),
    Binary(Vec<u8>),
}

impl Message {
    /// Begins the message of a first frame of `kind`.
    pub(super) fn new(kind: Kind) -> Self {
        let body = if kind == Kind::Text {
            Body::Text(Text::default())
        } else {
            Body::Binary(Vec::new())
        };
        Self { body, frames: 1 }
    }

    /// Bytes received.
    pub(super) fn len(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.len(),
            Body::Binary(bytes) => bytes.len(),
        }
    }

    /// Appends a piece of a frame of which `left` bytes, those of the piece included, were still to come; `last` if
    /// the message ends with that frame.
    pub(super) fn push(&mut self, piece: &[u8], left: usize, last: bool) -> Result<(), Error> {
        let held = self.len();
        match &mut self.body {
            Body::Text(text) => {
                if text.spare() < piece.len() {
                    text.reserve(growth(held, piece.len(), left), last);
                }
                text.push(piece).map_err(|at| Error::InvalidUtf8 { at })
            }
            Body::Binary(bytes) => {
                if bytes.capacity() - bytes.len() < piece.len() {
                    let growth = growth(held, piece.len(), left);
                    if last {
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

    /// Hands the message out without another copy.
    pub(super) fn finish(self) -> Result<Event, Error> {
        match self.body {
            Body::Text(text) => match text.finish() {
                Ok(text) => Ok(Event::Text(text.into())),
                Err(at) => Err(Error::InvalidUtf8 { at }),
            },
            Body::Binary(bytes) => Ok(Event::Binary(Bytes::from(bytes))),
        }
    }
}

/// Bytes to make room for: enough that copies stay few, at most what the frame announces, and never much more than the
/// peer has sent, since announcing costs it nothing.
fn growth(held: usize, piece: usize, left: usize) -> usize {
    left.min(held.max(2 * piece).max(MIN_GROWTH))
}

/// One page: what a peer can make us allocate with a single byte.
const MIN_GROWTH: usize = 4096;
