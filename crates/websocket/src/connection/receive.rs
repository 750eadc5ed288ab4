//! Decoding of bytes into events.

use std::mem;

use bytes::Bytes;
use bytestring::ByteString;

use super::message::Message;
use super::{Connection, ConnectionState, Event};
use crate::close::{CloseCode, CloseFrame};
use crate::error::Error;
use crate::frame::{Head, Kind, MAX_MASKED_HEAD};
use crate::mask::apply_mask;

impl Connection {
    /// Takes bytes from the front of `input` until one event is complete or the input is used up.
    ///
    /// `Ok(None)` means that all of `input` was consumed; until then call again. The bytes may be cut anywhere, with
    /// the same events. They are unmasked in place, so consumed bytes are of no use afterwards.
    ///
    /// After the peer's Close, and after an error, all input is consumed and ignored.
    ///
    /// # Errors
    ///
    /// If the peer violates RFC 6455 or exceeds the limits of [`Config`](crate::Config). The error is returned once;
    /// the Close for the peer is queued for [`poll_transmit`](Connection::poll_transmit), unless one was sent before.
    ///
    /// # Example: a message cut anywhere
    ///
    /// ```
    /// use tramline_websocket::{Config, Connection, Event, Role};
    ///
    /// let mut client = Connection::new(Role::Client, Config::default());
    /// let mut first = *b"\x01\x03Hel\x80";
    /// let mut second = *b"\x02lo";
    /// assert_eq!(client.receive(&mut first.as_mut_slice())?, None);
    /// assert_eq!(client.buffered(), 4);
    /// assert_eq!(client.receive(&mut second.as_mut_slice())?, Some(Event::Text("Hello".into())));
    /// # Ok::<(), tramline_websocket::Error>(())
    /// ```
    pub fn receive(&mut self, input: &mut &mut [u8]) -> Result<Option<Event>, Error> {
        if matches!(
            self.state,
            ConnectionState::PeerClosing | ConnectionState::Closed
        ) {
            *input = &mut [];
            return Ok(None);
        }
        let result = self.advance(input);
        if let Err(error) = &result {
            *input = &mut [];
            self.fail(error);
        }
        result
    }

    fn advance(&mut self, input: &mut &mut [u8]) -> Result<Option<Event>, Error> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.take_head(input)? {
                    Some(head) => self.admit(head)?,
                    None => return Ok(None),
                },
            };
            let piece = take_front(input, frame.left.min(input.len()));
            if frame.key != [0; 4] {
                apply_mask(piece, frame.key, 0);
            }
            let complete = piece.len() == frame.left;
            if !complete {
                self.frame = Some(frame.after(piece.len()));
            }

            let event = if frame.kind.is_control() {
                self.take_control(frame.kind, piece, complete)?
            } else if complete && frame.fin && !frame.compressed && self.message.is_none() {
                Some(whole(frame.kind, piece)?)
            } else {
                self.take_piece(frame, piece, complete)?
            };
            if event.is_some() || !complete {
                return Ok(event);
            }
        }
    }

    /// Takes a head from `input`, or all of `input` if it holds only the beginning of one.
    #[inline]
    fn take_head(&mut self, input: &mut &mut [u8]) -> Result<Option<Head>, Error> {
        let deflate = self.deflate.is_some();
        if self.head.len == 0 {
            return Ok(match Head::parse(input, self.role, deflate)? {
                Some((head, len)) => {
                    take_front(input, len);
                    Some(head)
                }
                None => {
                    self.head.store(input);
                    *input = &mut [];
                    None
                }
            });
        }
        while !input.is_empty() {
            self.head.store(take_front(input, 1));
            if let Some((head, _)) = Head::parse(self.head.bytes(), self.role, deflate)? {
                self.head = PartialHead::default();
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// Checks a head against the earlier frames and the limits, before reading its payload.
    #[inline]
    fn admit(&mut self, head: Head) -> Result<Frame, Error> {
        if !head.kind.is_control() {
            let (held, compressed) = match (&mut self.message, head.kind) {
                (Some(message), Kind::Continuation) => {
                    let max = self.config.max_fragments;
                    if message.frames >= max {
                        return Err(Error::TooManyFragments { max });
                    }
                    message.frames += 1;
                    (message.received(), message.is_compressed())
                }
                (None, Kind::Continuation) => return Err(Error::NothingToContinue),
                (Some(_), kind) => return Err(Error::UnfinishedMessage { opcode: kind as u8 }),
                (None, _) => (0, head.compressed),
            };
            let limit = |max| if compressed { deflated(max) } else { max };
            // The message first: smaller frames would not help if it is too large.
            let max = limit(self.config.max_message);
            let len = (held as u64).saturating_add(head.len);
            if len > max as u64 {
                return Err(Error::MessageTooBig { len, max });
            }
            let max = limit(self.config.max_frame);
            if head.len > max as u64 {
                return Err(Error::FrameTooBig { len: head.len, max });
            }
        }
        // Both limits and a control frame's 125 are usize, so the length fits too.
        Ok(Frame {
            left: head.len as usize,
            key: head.key,
            kind: head.kind,
            fin: head.fin,
            compressed: head.compressed,
        })
    }

    /// Adds a piece to the message in progress.
    fn take_piece(
        &mut self,
        frame: Frame,
        piece: &[u8],
        complete: bool,
    ) -> Result<Option<Event>, Error> {
        if piece.is_empty() && !complete {
            // Only the head is here; allocate only once a byte of payload arrives.
            return Ok(None);
        }
        let message = match &mut self.message {
            Some(message) => message,
            none => none.insert(Box::new(match &mut self.deflate {
                Some(deflate) if frame.compressed => {
                    Message::compressed(frame.kind, deflate.inflater(), self.config.max_message)
                }
                _ => Message::new(frame.kind),
            })),
        };
        message.push(piece, frame.left, frame.fin)?;
        let Some(message) = self.message.take_if(|_| complete && frame.fin) else {
            return Ok(None);
        };
        let (event, inflater) = message.finish()?;
        if let (Some(deflate), Some(inflater)) = (&mut self.deflate, inflater) {
            deflate.keep(inflater);
        }
        Ok(Some(event))
    }

    fn take_control(
        &mut self,
        kind: Kind,
        piece: &[u8],
        complete: bool,
    ) -> Result<Option<Event>, Error> {
        if complete && self.control.is_empty() {
            return self.control(kind, piece).map(Some);
        }
        self.control.extend_from_slice(piece);
        if !complete {
            return Ok(None);
        }
        let payload = mem::take(&mut self.control);
        self.control(kind, &payload).map(Some)
    }

    /// Handles a complete control frame (§5.5).
    fn control(&mut self, kind: Kind, payload: &[u8]) -> Result<Event, Error> {
        match kind {
            Kind::Close => {
                let frame = close_frame(payload)?;
                self.peer_closed(frame.as_ref());
                Ok(Event::Close(frame))
            }
            Kind::Ping => {
                if self.may_answer() {
                    self.owe().pongs.push(payload);
                }
                Ok(Event::Ping(Bytes::copy_from_slice(payload)))
            }
            Kind::Pong | Kind::Continuation | Kind::Text | Kind::Binary => {
                Ok(Event::Pong(Bytes::copy_from_slice(payload)))
            }
        }
    }

    /// Returns false after our Close was sent: not even pongs may follow it.
    fn may_answer(&self) -> bool {
        self.state == ConnectionState::Open || self.owed.is_some()
    }
}

/// A frame whose payload is arriving.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// Remaining payload bytes.
    left: usize,
    /// The mask, rotated so that its first byte belongs to the next payload byte.
    key: [u8; 4],
    kind: Kind,
    fin: bool,
    /// True for the first frame of a compressed message.
    compressed: bool,
}

impl Frame {
    /// Returns the frame after `taken` more bytes.
    fn after(mut self, taken: usize) -> Self {
        self.left -= taken;
        self.key.rotate_left(taken % 4);
        self
    }
}

/// The beginning of a head, stored without allocating.
#[derive(Default)]
pub(super) struct PartialHead {
    bytes: [u8; MAX_MASKED_HEAD],
    len: u8,
}

impl PartialHead {
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// Appends bytes that [`Head::parse`] found to be too few: never more than a head has.
    fn store(&mut self, bytes: &[u8]) {
        let len = self.len();
        self.bytes[len..len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }
}

/// The fast path: a message in one frame that is whole in the input, copied once into memory of its exact size.
#[inline]
fn whole(kind: Kind, payload: &[u8]) -> Result<Event, Error> {
    if kind == Kind::Text {
        let text = std::str::from_utf8(payload).map_err(|error| Error::InvalidUtf8 {
            at: error.valid_up_to(),
        })?;
        Ok(Event::Text(ByteString::from(text)))
    } else {
        Ok(Event::Binary(Bytes::copy_from_slice(payload)))
    }
}

/// Parses the payload of a Close (§5.5.1, §7.4).
fn close_frame(payload: &[u8]) -> Result<Option<CloseFrame>, Error> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Error::CloseTooShort),
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
    };
    let code = CloseCode::new(code).ok_or(Error::InvalidCloseCode { code })?;
    let reason = std::str::from_utf8(reason).map_err(|_| Error::InvalidCloseReason)?;
    Ok(Some(CloseFrame {
        code,
        reason: reason.into(),
    }))
}

/// Returns the maximum compressed size of `max` bytes: DEFLATE makes random data slightly larger, a poor compressor by
/// an eighth, and every flush takes a few bytes.
fn deflated(max: usize) -> usize {
    max.saturating_add(max / 8).saturating_add(1024)
}

fn take_front<'a>(input: &mut &'a mut [u8], len: usize) -> &'a mut [u8] {
    let (front, rest) = mem::take(input).split_at_mut(len);
    *input = rest;
    front
}
