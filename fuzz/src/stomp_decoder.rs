//! The STOMP decoder on arbitrary bytes.
//!
//! First line: the version (`0`, `1` or `2` for 1.0 to 1.2), then the lengths of the pieces. The rest is the stream.
//!
//! Held to be true, with small limits and with the default ones:
//!
//! - No input makes it panic.
//! - Frames and the error do not depend on where the stream is cut, nor on whether it is polled between the pieces.
//!   (Heart-beats may: line ends behind a frame are padding if they arrive with it.)
//! - What it holds stays within what its limits allow.
//! - An error is the last it says, and it holds nothing afterwards.
//! - A decoded frame keeps the limits; encoded in the same version it decodes to itself, and encodes to the same bytes
//!   again. So do all of them in one stream with line ends between them.

use tramline_stomp::{Bytes, DecodeError, Decoded, Decoder, Frame, Limits, Version};

use crate::script;

/// Tries one input.
pub fn run(data: &[u8]) {
    let (mut head, stream) = script::head(data);
    let version = Version::ALL[usize::from(head.option(3))];
    let lengths = head.pieces();
    let pieces = lengths.cut(stream);
    let small = Limits::default()
        .with_body(40)
        .with_header_line(24)
        .with_header_count(3);
    for limits in [small, Limits::default()] {
        let whole = Reading::new(version, limits, &[stream], true);
        let polled = Reading::new(version, limits, &pieces, true);
        let queued = Reading::new(version, limits, &pieces, false);
        assert_eq!(whole, polled, "the cuts matter");
        assert_eq!(whole, queued, "the moment of polling matters");
        for frame in &whole.frames {
            assert!(frame.body.len() <= limits.body);
            assert!(frame.headers.len() <= limits.header_count);
            survives(frame, version);
        }
        let mut wire = Vec::new();
        for frame in &whole.frames {
            wire.extend_from_slice(b"\r\n\n");
            frame.encode(version, &mut wire);
        }
        let again = Reading::new(version, generous(), &lengths.cut(&wire), true);
        assert_eq!(again.error, None, "{wire:?}");
        let frames = whole.frames.iter().map(without_length);
        assert!(frames.eq(again.frames.iter().map(without_length)));
    }
}

/// The most that a decoder may hold once it was polled until `None`.
///
/// A head has a command line and whole header lines, and either one header line that is not over yet, or the blank
/// line and the body: what is too much is known with its first byte at the latest.
pub(crate) fn bound(limits: &Limits) -> usize {
    const COMMAND_LINE: usize = 34;
    let lines = limits.header_count * (limits.header_line + 2);
    let rest = (limits.header_line + 2).max(limits.body + 2);
    COMMAND_LINE + lines + rest
}

#[derive(PartialEq, Debug)]
struct Reading {
    frames: Vec<Frame>,
    error: Option<DecodeError>,
}

impl Reading {
    fn new(version: Version, limits: Limits, pieces: &[&[u8]], poll_each: bool) -> Self {
        let mut decoder = Decoder::new(limits);
        decoder.set_version(version);
        let mut reading = Self {
            frames: Vec::new(),
            error: None,
        };
        for piece in pieces {
            decoder.feed(Bytes::copy_from_slice(piece));
            if poll_each {
                reading.drain(&mut decoder);
                assert!(decoder.buffered() <= bound(&limits), "{decoder:?}");
            }
        }
        reading.drain(&mut decoder);
        assert!(decoder.buffered() <= bound(&limits), "{decoder:?}");
        if reading.error.is_some() {
            decoder.feed(Bytes::from_static(b"SEND\n\n\0"));
            assert_eq!(decoder.next(), Ok(None));
            assert_eq!(decoder.buffered(), 0);
        }
        reading
    }

    fn drain(&mut self, decoder: &mut Decoder) {
        loop {
            match decoder.next() {
                Ok(None) => return,
                Ok(Some(Decoded::HeartBeat)) => assert_eq!(self.error, None),
                Ok(Some(Decoded::Frame(frame))) => {
                    assert_eq!(self.error, None, "a frame after the error");
                    self.frames.push(frame);
                }
                Err(error) => {
                    assert_eq!(self.error, None, "a second error");
                    self.error = Some(error);
                }
            }
        }
    }
}

fn survives(frame: &Frame, version: Version) {
    let wire = frame.to_bytes(version);
    let again = one_frame(&wire, version);
    assert_eq!(without_length(frame), without_length(&again), "{wire:?}");
    assert_eq!(again.to_bytes(version), wire);
}

/// Encoding computes it anew.
fn without_length(frame: &Frame) -> Frame {
    let mut frame = frame.clone();
    frame.headers.remove("content-length");
    frame
}

/// The frame that `wire` is, with nothing before it and behind it.
pub(crate) fn one_frame(wire: &Bytes, version: Version) -> Frame {
    let mut decoder = Decoder::new(generous());
    decoder.set_version(version);
    decoder.feed(wire.clone());
    let decoded = decoder.next();
    let Ok(Some(Decoded::Frame(frame))) = decoded else {
        panic!("{decoded:?} in {wire:?}, version {version}")
    };
    assert_eq!(decoder.buffered(), 0, "more than a frame in {wire:?}");
    frame
}

/// Room for whatever an input of any size can make us write.
fn generous() -> Limits {
    Limits::default()
        .with_body(1 << 20)
        .with_header_line(1 << 20)
        .with_header_count(1 << 20)
}
