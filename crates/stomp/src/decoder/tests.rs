use super::*;
use crate::Command;

fn decode(wire: &[u8]) -> Result<Vec<Decoded>, DecodeError> {
    decode_with(Limits::default(), Version::V1_2, &[wire])
}

fn decode_with(
    limits: Limits,
    version: Version,
    pieces: &[&[u8]],
) -> Result<Vec<Decoded>, DecodeError> {
    let mut decoder = Decoder::new(limits);
    decoder.set_version(version);
    let mut found = Vec::new();
    for piece in pieces {
        decoder.feed(Bytes::copy_from_slice(piece));
        while let Some(decoded) = decoder.next()? {
            found.push(decoded);
        }
    }
    Ok(found)
}

/// Decodes the single frame of an input; decoding it byte by byte must give the same.
fn frame(wire: &[u8]) -> Frame {
    let bytewise: Vec<&[u8]> = wire.chunks(1).collect();
    let split = decode_with(Limits::default(), Version::V1_2, &bytewise).unwrap();
    match (decode(wire).unwrap().as_slice(), split.first()) {
        ([Decoded::Frame(frame)], Some(Decoded::Frame(split))) => {
            assert_eq!(frame, split);
            frame.clone()
        }
        other => panic!("one frame expected: {other:?}"),
    }
}

/// Returns the error of an input, which must not depend on how it is cut.
fn error(limits: Limits, version: Version, wire: &[u8]) -> DecodeError {
    let bytewise: Vec<&[u8]> = wire.chunks(1).collect();
    let error = decode_with(limits, version, &[wire]).unwrap_err();
    assert_eq!(decode_with(limits, version, &bytewise).unwrap_err(), error);
    error
}

fn default_error(wire: &[u8]) -> DecodeError {
    error(Limits::default(), Version::V1_2, wire)
}

#[test]
fn line_ends_are_lf_or_crlf() {
    let expected = Frame::new(Command::Send).header("a", "1").body("x");
    assert_eq!(frame(b"SEND\na:1\n\nx\0"), expected);
    assert_eq!(frame(b"SEND\r\na:1\r\n\r\nx\0"), expected);
    assert_eq!(frame(b"SEND\na:1\r\n\nx\0"), expected);
}

#[test]
fn a_frame_may_have_no_headers_and_no_body() {
    assert_eq!(frame(b"DISCONNECT\n\n\0"), Frame::new(Command::Disconnect));
}

#[test]
fn values_are_kept_as_they_are() {
    let decoded = frame(b"SEND\na: x \nb:\nc:d:e\na:2\n\n\0");
    let headers: Vec<_> = decoded.headers.iter().collect();
    assert_eq!(headers, [("a", " x "), ("b", ""), ("c", "d:e"), ("a", "2")]);
}

#[test]
fn the_first_content_length_decides_where_the_body_ends() {
    assert_eq!(frame(b"SEND\ncontent-length:3\n\na\0b\0").body, "a\0b");
    assert_eq!(
        frame(b"SEND\ncontent-length: 1 \ncontent-length:x\n\na\0").body,
        "a"
    );
    assert_eq!(frame(b"SEND\ncontent-length:0\n\n\0").body, "");
    assert_eq!(frame(b"RECEIPT\ncontent-length:0\n\n\0").body, "");
    assert_eq!(frame(b"SEND\n\nabc\0").body, "abc");
}

#[test]
fn escapes_follow_the_version() {
    let wire: &[u8] = b"SEND\na\\cb:c\\n\\\\\n\n\0";
    for (version, name, value) in [
        (Version::V1_0, "a\\cb", "c\\n\\\\"),
        (Version::V1_1, "a:b", "c\n\\"),
        (Version::V1_2, "a:b", "c\n\\"),
    ] {
        let found = decode_with(Limits::default(), version, &[wire]).unwrap();
        let expected = Frame::new(Command::Send).header(name, value);
        assert_eq!(found, [Decoded::Frame(expected)], "{version}");
    }
    assert_eq!(frame(b"SEND\na:\\r\n\n\0").headers.get("a"), Some("\r"));
}

#[test]
fn the_handshake_is_not_escaped() {
    for command in ["CONNECT", "STOMP", "CONNECTED"] {
        let decoded = frame(format!("{command}\nlogin:DOM\\ann\\x\n\n\0").as_bytes());
        assert_eq!(decoded.headers.get("login"), Some("DOM\\ann\\x"));
    }
}

#[test]
fn a_version_set_between_frames_counts_for_the_next() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.feed(Bytes::from_static(b"CONNECT\n\n\0SEND\na:\\c\n\n\0"));
    assert!(matches!(decoder.next(), Ok(Some(Decoded::Frame(_)))));
    decoder.set_version(Version::V1_0);
    let expected = Frame::new(Command::Send).header("a", "\\c");
    assert_eq!(decoder.next(), Ok(Some(Decoded::Frame(expected))));
}

#[test]
fn line_ends_between_frames_are_heart_beats() {
    use Decoded::HeartBeat;
    assert_eq!(decode(b"\n").unwrap(), [HeartBeat]);
    assert_eq!(decode(b"\r\n\n\r\n").unwrap(), [HeartBeat]);
    let send = Decoded::Frame(Frame::new(Command::Abort));
    assert_eq!(decode(b"\nABORT\n\n\0").unwrap(), [HeartBeat, send.clone()]);
    assert_eq!(
        decode(b"ABORT\n\n\0\n\nABORT\n\n\0\r\n").unwrap(),
        [send.clone(), send.clone()]
    );

    let pieces: [&[u8]; 4] = [b"ABORT\n\n\0", b"\r", b"\n", b"\n"];
    let found = decode_with(Limits::default(), Version::V1_2, &pieces).unwrap();
    assert_eq!(found, [send, HeartBeat, HeartBeat]);
}

#[test]
fn every_incomplete_input_waits() {
    let whole = b"SEND\r\na:1\r\ncontent-length:2\r\n\r\nxy\0";
    for end in 0..whole.len() {
        let mut decoder = Decoder::new(Limits::default());
        decoder.feed(Bytes::from_static(&whole[..end]));
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.buffered(), end);
    }
}

#[test]
fn several_feeds_may_come_before_a_read() {
    let mut decoder = Decoder::new(Limits::default());
    for piece in ["\nSE", "ND\n\n", "", "x\0\n", "\nABORT\n\n\0"] {
        decoder.feed(Bytes::from(piece));
    }
    assert_eq!(decoder.buffered(), 19);
    let mut found = Vec::new();
    while let Some(decoded) = decoder.next().unwrap() {
        found.push(decoded);
    }
    let send = Decoded::Frame(Frame::new(Command::Send).body("x"));
    let abort = Decoded::Frame(Frame::new(Command::Abort));
    assert_eq!(found, [Decoded::HeartBeat, send, Decoded::HeartBeat, abort]);
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn a_frame_in_one_piece_is_not_copied() {
    let piece = Bytes::from(b"ABORT\n\n\0SEND\na:1\n\nbody\0".to_vec());
    let range = piece.as_ptr_range();
    let mut decoder = Decoder::new(Limits::default());
    decoder.feed(piece);
    decoder.next().unwrap();
    let Ok(Some(Decoded::Frame(frame))) = decoder.next() else {
        panic!("a second frame")
    };
    assert!(range.contains(&frame.body.as_ptr()));
    assert!(range.contains(&frame.headers.get("a").unwrap().as_ptr()));
}

#[test]
fn between_frames_nothing_is_held() {
    let piece = Bytes::from(b"SEND\n\nbody\0\n\n".to_vec());
    let mut decoder = Decoder::new(Limits::default());
    decoder.feed(piece.clone());
    while decoder.next().unwrap().is_some() {}
    assert!(piece.is_unique(), "the decoder keeps the piece alive");
    for piece in ["\n", "SEND\n", "\n", "x", "\0"] {
        decoder.feed(Bytes::from(piece));
        while decoder.next().unwrap().is_some() {}
    }
    assert_eq!(
        (decoder.queue.capacity(), decoder.partial.is_none()),
        (0, true)
    );
}

#[test]
fn an_unknown_command_fails_early_and_is_quoted() {
    assert_eq!(
        default_error(b"GET / HTTP/1.1\r\n")
            .to_string()
            .split(';')
            .next(),
        Some("`GET / HTTP/1.1` is not a STOMP command")
    );
    let unknown = |line: &str| DecodeError::UnknownCommand { line: line.into() };
    assert_eq!(default_error(b"send\n"), unknown("send"));
    assert_eq!(default_error(b"SEND \n"), unknown("SEND "));
    assert_eq!(default_error(b"\xFF\xFE\n"), unknown("\u{FFFD}\u{FFFD}"));
    assert_eq!(
        default_error(&[b'x'; 34]),
        unknown(&format!("{}…", "x".repeat(32)))
    );
    assert_eq!(
        default_error(&[b'x'; 100_000]),
        unknown(&format!("{}…", "x".repeat(32)))
    );
}

#[test]
fn a_nul_in_the_wrong_place_gets_a_hint() {
    let text = |wire: &[u8]| default_error(wire).to_string();
    let advice = "; end each frame with one NUL only, and announce a body that has NULs with \
                  content-length";
    for stray in [&b"\0"[..], b"SEND\n\nx\0\0", b"SEND\n\nx\0\r\n\0"] {
        let found = "a NUL stands where a frame should begin";
        assert_eq!(text(stray), format!("{found}{advice}"));
    }
    assert_eq!(
        text(b"SEND\n\nx\0tail\0"),
        format!("a NUL follows `tail`, which is no STOMP command{advice}")
    );
}

#[test]
fn a_nul_that_is_missing_gets_a_hint() {
    for (wire, found, advice) in [
        (
            &b"SUBSCRIBE\nid:1\nSEND\n"[..],
            "the header line `SEND` has no colon",
            "end the frame before it with a blank line and NUL",
        ),
        (
            b"SEND\ncontent-length:1\n\nxSEND\n",
            "no NUL follows the 1 bytes",
            "end the frame with NUL",
        ),
    ] {
        let text = default_error(wire).to_string();
        assert!(text.starts_with(found) && text.contains(advice), "{text}");
    }
}

#[test]
fn a_bare_carriage_return_is_an_error_in_every_version() {
    for wire in [
        &b"SE\rND\n"[..],
        b"SEND\na\rb:1\n",
        b"SEND\na:1\r2\n",
        b"\rSEND\n",
        b"\r\r\n",
    ] {
        for version in Version::ALL {
            let error = error(Limits::default(), version, wire);
            assert_eq!(error, DecodeError::BareCarriageReturn);
        }
    }
}

#[test]
fn malformed_heads() {
    let missing = DecodeError::MissingColon { line: "abc".into() };
    assert_eq!(default_error(b"SEND\nabc\n"), missing);
    let empty = DecodeError::EmptyHeaderName {
        line: ":abc".into(),
    };
    assert_eq!(default_error(b"SEND\n:abc\n"), empty);
    assert_eq!(default_error(b"SEND\0"), DecodeError::HeadNotTerminated);
    assert_eq!(
        default_error(b"DISCONNECT\n\0"),
        DecodeError::HeadNotTerminated
    );
    assert_eq!(
        default_error(b"SEND\na:b\0"),
        DecodeError::HeadNotTerminated
    );
    let not_utf8 = DecodeError::HeadersNotUtf8 {
        command: Command::Send,
    };
    assert_eq!(default_error(b"SEND\na:\xFF\n\n\0"), not_utf8);
}

#[test]
fn undefined_escapes_name_themselves_and_their_line() {
    for (version, wire, escape) in [
        (Version::V1_2, &b"SEND\na:\\t\n\n\0"[..], "\\t"),
        (Version::V1_2, b"SEND\na:x\\\n\n\0", "\\"),
        (Version::V1_2, b"SEND\na\\x:\n\n\0", "\\x"),
        (Version::V1_1, b"SEND\na:\\r\n\n\0", "\\r"),
    ] {
        let DecodeError::UndefinedEscape {
            escape: found,
            line,
        } = error(Limits::default(), version, wire)
        else {
            panic!("{wire:?}")
        };
        assert_eq!(found, escape);
        assert!(line.starts_with('a'), "{line}");
    }
}

#[test]
fn a_content_length_is_a_number() {
    for bad in ["-1", "+1", "x", "", "1.5", "1 2"] {
        let wire = format!("SEND\ncontent-length:{bad}\n");
        let expected = DecodeError::InvalidContentLength { value: bad.into() };
        assert_eq!(default_error(wire.as_bytes()), expected);
    }
}

#[test]
fn a_body_ends_where_it_should() {
    let expected = DecodeError::BodyNotTerminated { content_length: 1 };
    assert_eq!(default_error(b"SEND\ncontent-length:1\n\nab\0"), expected);
    let wire = b"SUBSCRIBE\ncontent-length:1\n\nab\0";
    assert_eq!(default_error(wire), expected);
}

/// Clients exist that write a line end there.
#[test]
fn a_body_where_there_is_none_is_dropped() {
    for body in ["\n", "\r\n", "x", "SEND\n"] {
        for command in ["CONNECT", "SUBSCRIBE", "DISCONNECT"] {
            let wire = format!("{command}\nid:1\n\n{body}\0");
            let expected =
                Frame::new(Command::parse(command.as_bytes()).unwrap()).header("id", "1");
            assert_eq!(frame(wire.as_bytes()), expected);
            let announced = format!("{command}\ncontent-length:{}\n\n{body}\0", body.len());
            assert_eq!(frame(announced.as_bytes()).body, "");
        }
    }
    let limits = Limits::default().with_body(4);
    let too_large = DecodeError::BodyTooLarge { limit: 4 };
    assert_eq!(
        error(limits, Version::V1_2, b"DISCONNECT\n\n12345\0"),
        too_large
    );

    let mut decoder = Decoder::new(Limits::default());
    let wire = Bytes::from([b"SUBSCRIBE\nid:1\n\n".to_vec(), vec![b'x'; 10_000], vec![0]].concat());
    decoder.feed(wire.clone());
    let subscribe = decoder.next().unwrap();
    assert!(matches!(subscribe, Some(Decoded::Frame(_))));
    assert!(wire.is_unique(), "its headers keep the body alive");
}

#[test]
fn blanks_around_values_are_removed_in_1_0_only() {
    for (version, expected) in [
        (Version::V1_0, [("login ", "a b"), ("x", ""), ("y", "c:d")]),
        (
            Version::V1_1,
            [("login ", " a b "), ("x", "  "), ("y", "\tc:d")],
        ),
        (
            Version::V1_2,
            [("login ", " a b "), ("x", "  "), ("y", "\tc:d")],
        ),
    ] {
        let wire = b"SEND\nlogin : a b \nx:  \ny:\tc:d\n\n x \0";
        let wire: &[u8] = match version {
            Version::V1_0 => wire,
            // Colons are escaped there.
            _ => b"SEND\nlogin : a b \nx:  \ny:\tc\\cd\n\n x \0",
        };
        let decoded = decode_with(Limits::default(), version, &[wire]).unwrap();
        let [Decoded::Frame(frame)] = &decoded[..] else {
            panic!("{decoded:?}")
        };
        assert_eq!(frame.headers.iter().collect::<Vec<_>>(), expected);
        assert_eq!(frame.body, " x ");
    }
}

#[test]
fn a_malformed_frame_asks_for_its_receipt() {
    for (version, wire, receipt) in [
        (Version::V1_2, &b"SEND\nreceipt:7\nbad\n\n\0"[..], Some("7")),
        (
            Version::V1_2,
            b"SEND\r\nbad\r\nreceipt:a\\cb\r\n\r\n\0",
            Some("a:b"),
        ),
        (Version::V1_2, b"SEND\nreceipt:7\n:x\n", Some("7")),
        (Version::V1_2, b"SEND\nreceipt:7\nx:\\t\n\n\0", Some("7")),
        (Version::V1_2, b"SEND\nreceipt:7\nx:\xff\n\n\0", Some("7")),
        (Version::V1_2, b"SEND\nreceipt:7\nx:a\rb\n\n\0", Some("7")),
        (
            Version::V1_2,
            b"SEND\nreceipt:7\ncontent-length:x\n\n\0",
            Some("7"),
        ),
        (
            Version::V1_2,
            b"SEND\nreceipt:7\ncontent-length:1\n\nab\0",
            Some("7"),
        ),
        (
            Version::V1_2,
            b"SEND\nreceipt:7\ncontent-length:99999999\n\n\0",
            Some("7"),
        ),
        (Version::V1_2, b"SEND\nreceipt:7\0", Some("7")),
        (
            Version::V1_2,
            b"SENT\nreceipt:7\nreceipt:8\n\n\0",
            Some("7"),
        ),
        (Version::V1_0, b"SEND\nreceipt: 7 \nbad\n\n\0", Some("7")),
        (Version::V1_1, b"SEND\nreceipt: 7\nbad\n\n\0", Some(" 7")),
        // Lines that cannot be read, and lines that are not a header.
        (Version::V1_1, b"SEND\nreceipt:\\r\n\n\0", None),
        (Version::V1_2, b"SEND\nreceipt:\xff\n\n\0", None),
        (Version::V1_2, b"SEND\nbad\nreceipt:7", None),
        (
            Version::V1_2,
            b"SEND\ncontent-length:1\n\nreceipt:7\n\0",
            None,
        ),
        (Version::V1_2, b"\0", None),
        (Version::V1_2, b"SENT\0\nreceipt:7\n\n\0", None),
    ] {
        let mut decoder = Decoder::new(Limits::default());
        decoder.set_version(version);
        decoder.feed(Bytes::copy_from_slice(wire));
        let failure = decoder.next_or_failure().unwrap_err();
        let shown = wire.escape_ascii();
        assert_eq!(failure.receipt.as_deref(), receipt, "{shown}");
        // In front of the error, where bytes come one by one.
        let mut decoder = Decoder::new(Limits::default());
        decoder.set_version(version);
        let bytewise = wire.chunks(1).find_map(|byte| {
            decoder.feed(Bytes::copy_from_slice(byte));
            decoder.next_or_failure().err()
        });
        let bytewise = bytewise.unwrap();
        assert_eq!(bytewise.error, failure.error, "{shown}");
        assert!(bytewise.receipt.is_none() || bytewise.receipt == failure.receipt);
    }
}

#[test]
fn a_body_over_the_limit_fails_at_its_announcement() {
    let limits = Limits::default().with_body(4);
    let error_of = |wire: &[u8]| error(limits, Version::V1_2, wire);
    let too_large = |length: &str| DecodeError::ContentLengthTooLarge {
        length: length.to_owned(),
        limit: 4,
    };
    assert_eq!(error_of(b"SEND\ncontent-length:5\n"), too_large("5"));
    let huge = b"SEND\ncontent-length:99999999999999999999999\n";
    assert_eq!(error_of(huge), too_large("99999999999999999999999"));
    let endless = format!("SEND\ncontent-length:{}\n", "7".repeat(100));
    let shown = format!("{}…", "7".repeat(64));
    assert_eq!(error_of(endless.as_bytes()), too_large(&shown));
    assert_eq!(
        error_of(b"SEND\n\n12345"),
        DecodeError::BodyTooLarge { limit: 4 }
    );

    let fits = |wire: &[u8]| decode_with(limits, Version::V1_2, &[wire]).unwrap().len();
    assert_eq!(fits(b"SEND\n\n1234\0"), 1);
    assert_eq!(fits(b"SEND\ncontent-length:4\n\n1234\0"), 1);

    assert_eq!(
        default_error(b"SEND\ncontent-length:70000\n").to_string(),
        "frame body of 70000 bytes exceeds the limit of 65536 bytes; send less or raise \
         `Limits::body`"
    );
}

#[test]
fn a_header_line_over_the_limit_fails_without_its_end() {
    let limits = Limits::default().with_header_line(4);
    let error_of = |wire: &[u8]| error(limits, Version::V1_2, wire);
    let too_long = DecodeError::HeaderLineTooLong { limit: 4 };
    assert_eq!(error_of(b"SEND\na:345\n"), too_long);
    assert_eq!(error_of(b"SEND\na:3456"), too_long);
    let found = decode_with(limits, Version::V1_2, &[b"SEND\na:34\r\n\r\n\0"]).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn headers_are_counted() {
    let limits = Limits::default().with_header_count(2);
    let expected = DecodeError::TooManyHeaders { limit: 2 };
    assert_eq!(
        error(limits, Version::V1_2, b"SEND\na:1\na:1\na:1\n"),
        expected
    );
    let found = decode_with(limits, Version::V1_2, &[b"SEND\na:1\na:1\n\n\0"]).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn limits_without_end_do_not_overflow() {
    let limits = Limits {
        body: usize::MAX,
        header_line: usize::MAX,
        header_count: usize::MAX,
    };
    let wire = format!("SEND\na:b\ncontent-length:{}\n\nx", usize::MAX);
    assert_eq!(
        decode_with(limits, Version::V1_2, &[wire.as_bytes()]),
        Ok(vec![])
    );
    assert_eq!(
        decode_with(limits, Version::V1_2, &[b"SEND\n\nx\0"])
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn after_an_error_nothing_is_kept() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.feed(Bytes::from_static(b"FOO\n\n\0ABORT\n\n\0"));
    assert!(decoder.next().is_err());
    decoder.feed(Bytes::from_static(b"ABORT\n\n\0"));
    assert_eq!(decoder.next(), Ok(None));
    assert_eq!(decoder.buffered(), 0);
}
