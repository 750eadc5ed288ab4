//! Properties of the codec that hold for every frame and every way to cut a stream.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use tramline_stomp::{Command, DecodeError, Decoded, Decoder, Frame, Limits, Version};

const COMMANDS: [Command; 15] = [
    Command::Connect,
    Command::Stomp,
    Command::Connected,
    Command::Send,
    Command::Subscribe,
    Command::Unsubscribe,
    Command::Ack,
    Command::Nack,
    Command::Begin,
    Command::Commit,
    Command::Abort,
    Command::Disconnect,
    Command::Message,
    Command::Receipt,
    Command::Error,
];

/// Generates frames that `version` can express.
fn frames(version: Version) -> impl Strategy<Value = Frame> {
    select(COMMANDS.to_vec()).prop_flat_map(move |command| {
        let handshake = matches!(
            command,
            Command::Connect | Command::Stomp | Command::Connected
        );
        let (name, value) = match version {
            _ if handshake => ("[a-c\\\\ä]{1,4}", "[a-c:\\\\ ä]{0,6}"),
            // Without blanks at its ends, which 1.0 removes.
            Version::V1_0 => (
                "[a-c\\\\ä]{1,4}",
                "([a-c:\\\\ä]([a-c:\\\\ ä]{0,4}[a-c:\\\\ä])?)?",
            ),
            Version::V1_1 => ("[a-c:\\\\\nä]{1,4}", "[a-c:\\\\\n ä]{0,6}"),
            Version::V1_2 => ("[a-c:\\\\\n\rä]{1,4}", "[a-c:\\\\\n\r ä]{0,6}"),
        };
        let longest = if command.may_have_body() { 40 } else { 0 };
        (vec((name, value), 0..6), vec(any::<u8>(), 0..=longest)).prop_map(
            move |(headers, body)| Frame {
                command,
                headers: headers.into_iter().collect(),
                body: body.into(),
            },
        )
    })
}

/// The style in which a peer may write a frame.
#[derive(Clone, Copy, Debug)]
struct Style {
    crlf: bool,
    /// Only if the body has no NUL.
    without_length: bool,
    line_ends_after: &'static str,
}

fn styles() -> impl Strategy<Value = Style> {
    let line_ends = select(vec!["", "", "\n", "\r\n", "\n\r\n\n"]);
    (any::<bool>(), any::<bool>(), line_ends).prop_map(|(crlf, without_length, line_ends_after)| {
        Style {
            crlf,
            without_length,
            line_ends_after,
        }
    })
}

/// Returns the frame written in this style, and as a decoder must read it.
fn styled(frame: &Frame, version: Version, style: Style) -> (Vec<u8>, Frame) {
    let mut expected = frame.clone();
    let mut wire = frame.to_bytes(version).to_vec();
    let blank = wire.windows(2).position(|two| two == b"\n\n").unwrap();
    let rest = wire.split_off(blank);
    // Escaped heads and values contain no raw LF: each one ends a line.
    let head = String::from_utf8(wire).unwrap();
    let length = format!("\ncontent-length:{}", frame.body.len());
    let may_go = style.without_length && !frame.body.contains(&0);
    let (head, has_length) = match head.strip_suffix(&length) {
        Some(bare) if may_go => (bare.to_owned(), false),
        _ => (head, frame.command.may_have_body()),
    };
    if has_length {
        let length = frame.body.len().to_string();
        expected.headers.push("content-length", length);
    }
    let mut wire = format!("{head}\n\n");
    if style.crlf {
        wire = wire.replace('\n', "\r\n");
    }
    let end = style.line_ends_after.as_bytes();
    ([wire.as_bytes(), &rest[2..], end].concat(), expected)
}

fn versions() -> impl Strategy<Value = Version> {
    select(Version::ALL.to_vec())
}

/// Returns the frames of a stream, cut after each of the `cuts`, and its error.
fn decode(version: Version, wire: &[u8], cuts: &[usize]) -> (Vec<Frame>, Option<DecodeError>) {
    let mut decoder = Decoder::new(Limits::default().with_body(60).with_header_line(30));
    decoder.set_version(version);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (wire.len() + 1)).collect();
    cuts.push(wire.len());
    cuts.sort_unstable();
    let mut frames = Vec::new();
    let mut start = 0;
    for end in cuts {
        decoder.feed(Bytes::copy_from_slice(&wire[start..end]));
        start = end;
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(Decoded::Frame(frame))) => frames.push(frame),
                Ok(Some(_)) => {}
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(
        (version, frame) in versions().prop_flat_map(|v| (Just(v), frames(v))),
        cuts in vec(any::<usize>(), 0..5),
    ) {
        let wire = frame.to_bytes(version);
        let (frames, error) = decode(version, &wire, &cuts);
        prop_assert_eq!(error, None);
        prop_assert_eq!(frames.len(), 1);
        let mut decoded = frames.into_iter().next().unwrap();
        if frame.command.may_have_body() {
            let length = frame.body.len().to_string();
            prop_assert_eq!(decoded.headers.get("content-length"), Some(&*length));
            decoded.headers.remove("content-length");
        }
        prop_assert_eq!(decoded, frame);
    }

    #[test]
    fn well_formed_frames_arrive_whatever_their_style_and_their_pieces(
        (version, frames) in versions()
            .prop_flat_map(|v| (Just(v), vec((frames(v), styles()), 0..6))),
        cuts in vec(any::<usize>(), 0..20),
        every_byte in any::<bool>(),
    ) {
        let mut wire = Vec::new();
        let mut expected = Vec::new();
        for (frame, style) in frames {
            let (bytes, frame) = styled(&frame, version, style);
            wire.extend(bytes);
            expected.push(frame);
        }
        let cuts = if every_byte { (0..wire.len()).collect() } else { cuts };
        prop_assert_eq!(decode(version, &wire, &cuts), (expected, None));
    }

    #[test]
    fn encoding_appends_the_same_whatever_the_buffer_holds(
        (version, frame) in versions().prop_flat_map(|v| (Just(v), frames(v))),
        held in vec(any::<u8>(), 0..100),
        room in 0usize..300,
    ) {
        let alone = frame.to_bytes(version);
        let mut out = Vec::with_capacity(held.len() + room);
        out.extend_from_slice(&held);
        frame.encode(version, &mut out);
        prop_assert_eq!(&out[..held.len()], &held[..]);
        prop_assert_eq!(&out[held.len()..], &alone[..]);
    }

    #[test]
    fn any_headers_make_exactly_one_frame(
        version in versions(),
        command in select(COMMANDS.to_vec()),
        headers in vec((any::<String>(), any::<String>()), 0..4),
    ) {
        let frame = Frame { command, headers: headers.into_iter().collect(), body: Bytes::new() };
        let mut decoder = Decoder::new(Limits::default());
        decoder.set_version(version);
        decoder.feed(frame.to_bytes(version));
        let decoded = decoder.next();
        prop_assert!(matches!(decoded, Ok(Some(Decoded::Frame(_)))), "{:?}", decoded);
        prop_assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn frames_do_not_depend_on_chunking(
        version in versions(),
        pieces in vec(prop_oneof![
            frames(Version::V1_2).prop_map(|frame| frame.to_bytes(Version::V1_2).to_vec()),
            Just(b"\r\n\n".to_vec()),
            Just(b"SEND\r\ncontent-length:3\r\n\r\n\0\r\n\0".to_vec()),
            Just(b"MESSAGE\na:\\n\n\nwithout length\0".to_vec()),
            vec(select(b"SEND\n\r\0:\\ac\xFF1".to_vec()), 0..6),
        ], 0..8),
        cuts in vec(any::<usize>(), 0..12),
    ) {
        let wire = pieces.concat();
        prop_assert_eq!(decode(version, &wire, &cuts), decode(version, &wire, &[]));
    }
}
