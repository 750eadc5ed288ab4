//! Invalid input: each rule by name, its error and its close code.

use tramline_websocket::{Config, Connection, ConnectionState, Error, Event, Role};

use crate::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, client, masked, plain, receive, server,
};

/// Lends `bytes` whole, then byte by byte to a second machine: both must fail alike and send the same Close.
#[track_caller]
fn fails(config: Config, role: Role, bytes: &[u8], expected: &Error) {
    let machine = || match role {
        Role::Server => Connection::new(Role::Server, config),
        Role::Client => Connection::new_client(config, 1),
    };

    let mut whole = machine();
    assert_eq!(receive(&mut whole, bytes).as_ref(), Err(expected));
    assert_eq!(whole.buffered(), 0, "nothing is kept");
    assert_eq!(whole.state(), ConnectionState::PeerClosing);
    let again = receive(&mut whole, &masked(FIN | PING, b"more")).unwrap();
    assert_eq!(again, [], "further input is ignored");

    let mut out = Vec::new();
    assert!(whole.poll_transmit(&mut out));
    assert!(whole.is_closed());
    let mut peer = match role {
        Role::Server => client(),
        Role::Client => server(),
    };
    let told = receive(&mut peer, &out).unwrap();
    let [Event::Close(Some(close))] = told.as_slice() else {
        panic!("one Close, not {told:?}")
    };
    assert_eq!(close.code, expected.close_code());
    let text = expected.to_string();
    assert!(
        text.starts_with(&*close.reason) && close.reason.len() >= text.len().min(120),
        "{text}"
    );

    let mut bytewise = machine();
    let outcome = bytes
        .iter()
        .try_for_each(|byte| receive(&mut bytewise, &[*byte]).map(drop));
    assert_eq!(outcome.as_ref(), Err(expected), "byte by byte");
}

#[track_caller]
fn server_fails(bytes: &[u8], expected: &Error) {
    fails(Config::default(), Role::Server, bytes, expected);
}

#[test]
fn reserved_bits() {
    for bits in 1..=7 {
        server_fails(
            &masked(FIN | bits << 4 | TEXT, b"x"),
            &Error::ReservedBits { bits },
        );
    }
    server_fails(
        &masked(FIN | 0x40 | PING, b""),
        &Error::ReservedBits { bits: 0b100 },
    );
}

#[test]
fn reserved_opcodes() {
    for opcode in (3..=7).chain(11..=15) {
        server_fails(
            &masked(FIN | opcode, b""),
            &Error::ReservedOpCode { opcode },
        );
        // Also without FIN, and before its meaning could matter.
        server_fails(&[opcode], &Error::ReservedOpCode { opcode });
    }
}

#[test]
fn client_without_mask() {
    for kind in [TEXT, BINARY, CLOSE, PING, PONG] {
        server_fails(&plain(FIN | kind, b""), &Error::UnmaskedByClient);
    }
    server_fails(
        &[masked(TEXT, b"a"), plain(FIN | CONTINUATION, b"b")].concat(),
        &Error::UnmaskedByClient,
    );
}

#[test]
fn server_with_mask() {
    for kind in [TEXT, BINARY, CLOSE, PING, PONG] {
        fails(
            Config::default(),
            Role::Client,
            &masked(FIN | kind, b""),
            &Error::MaskedByServer,
        );
    }
}

#[test]
fn fragmented_control_frames() {
    for opcode in [CLOSE, PING, PONG] {
        server_fails(&masked(opcode, b""), &Error::FragmentedControl { opcode });
    }
}

#[test]
fn control_frames_above_125_bytes() {
    for opcode in [CLOSE, PING, PONG] {
        server_fails(
            &masked(FIN | opcode, &[b'x'; 126]),
            &Error::ControlTooLong { opcode },
        );
        server_fails(
            &masked(FIN | opcode, &[b'x'; 65_536]),
            &Error::ControlTooLong { opcode },
        );
    }
}

#[test]
fn lengths_longer_than_needed() {
    for len in [0, 1, 125] {
        server_fails(
            &[FIN | BINARY, 0x80 | 126, 0, len],
            &Error::LengthNotMinimal { len: len.into() },
        );
    }
    for len in [0, 125, 126, 65_535_u64] {
        let frame = [&[FIN | BINARY, 0x80 | 127][..], &len.to_be_bytes()].concat();
        server_fails(&frame, &Error::LengthNotMinimal { len });
    }
}

#[test]
fn lengths_with_the_highest_bit() {
    for len in [1 << 63, u64::MAX] {
        let frame = [&[FIN | BINARY, 0x80 | 127][..], &len.to_be_bytes()].concat();
        server_fails(&frame, &Error::LengthOutOfRange);
    }
}

#[test]
fn continuation_of_nothing() {
    server_fails(&masked(CONTINUATION, b"x"), &Error::NothingToContinue);
    server_fails(&masked(FIN | CONTINUATION, b""), &Error::NothingToContinue);
    server_fails(
        &[masked(FIN | TEXT, b"x"), masked(FIN | CONTINUATION, b"x")].concat(),
        &Error::NothingToContinue,
    );
}

#[test]
fn message_inside_a_message() {
    for (begun, opcode) in [
        (TEXT, TEXT),
        (TEXT, BINARY),
        (BINARY, TEXT),
        (BINARY, BINARY),
    ] {
        for fin in [0, FIN] {
            let bytes = [masked(begun, b""), masked(fin | opcode, b"x")].concat();
            server_fails(&bytes, &Error::UnfinishedMessage { opcode });
        }
    }
}

#[test]
fn text_that_is_not_utf8() {
    server_fails(
        &masked(FIN | TEXT, b"ab\xff"),
        &Error::InvalidUtf8 { at: 2 },
    );
    server_fails(
        &masked(FIN | TEXT, b"ab\xe2\x82"),
        &Error::InvalidUtf8 { at: 2 },
    );
    server_fails(
        &[masked(TEXT, b"ab\xe2"), masked(FIN | CONTINUATION, b"")].concat(),
        &Error::InvalidUtf8 { at: 2 },
    );
    server_fails(
        &[masked(TEXT, b"ab\xe2"), masked(CONTINUATION, b"x")].concat(),
        &Error::InvalidUtf8 { at: 2 },
    );
}

#[test]
fn text_fails_at_its_first_impossible_byte_not_at_its_end() {
    let mut server = server();
    let frame = masked(TEXT, b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80 and much more");
    let impossible = 6 + 7;
    assert_eq!(receive(&mut server, &frame[..impossible - 1]), Ok(vec![]));
    let error = receive(&mut server, &frame[impossible - 1..impossible]).unwrap_err();
    assert_eq!(error, Error::InvalidUtf8 { at: 5 });
}

#[test]
fn binary_may_be_anything() {
    assert_eq!(
        receive(&mut server(), &masked(FIN | BINARY, b"\xff")),
        Ok(vec![Event::Binary(b"\xff"[..].into())])
    );
}

#[test]
fn half_a_close_code() {
    server_fails(&masked(FIN | CLOSE, b"\x03"), &Error::CloseTooShort);
}

#[test]
fn close_reason_that_is_not_utf8() {
    server_fails(
        &masked(FIN | CLOSE, b"\x03\xe8\xff"),
        &Error::InvalidCloseReason,
    );
    server_fails(
        &masked(FIN | CLOSE, b"\x03\xe8\xe2\x82"),
        &Error::InvalidCloseReason,
    );
}

#[test]
fn frame_above_the_limit() {
    let config = Config::default().with_max_frame(10);
    let fine = receive(
        &mut Connection::new(Role::Server, config),
        &masked(FIN | TEXT, b"0123456789"),
    );
    assert_eq!(fine, Ok(vec![Event::Text("0123456789".into())]));
    // The head alone is enough.
    let head = &masked(FIN | TEXT, b"0123456789+")[..6];
    fails(
        config,
        Role::Server,
        head,
        &Error::FrameTooBig { len: 11, max: 10 },
    );
    let control = receive(
        &mut Connection::new(Role::Server, config),
        &masked(FIN | PING, b"0123456789+"),
    );
    assert!(control.is_ok(), "control frames have the RFC's limit");
}

#[test]
fn message_above_the_limit() {
    let config = Config::default().with_max_message(10);
    let fine = [masked(TEXT, b"01234"), masked(FIN | CONTINUATION, b"56789")].concat();
    let fine = receive(&mut Connection::new(Role::Server, config), &fine);
    assert_eq!(fine, Ok(vec![Event::Text("0123456789".into())]));
    let second_head = &masked(FIN | CONTINUATION, b"56789+")[..6];
    let bytes = [&masked(TEXT, b"01234"), second_head].concat();
    fails(
        config,
        Role::Server,
        &bytes,
        &Error::MessageTooBig { len: 11, max: 10 },
    );
    let head = &masked(FIN | BINARY, b"0123456789+")[..6];
    fails(
        config,
        Role::Server,
        head,
        &Error::MessageTooBig { len: 11, max: 10 },
    );
}

#[test]
fn length_that_would_overflow_a_sum() {
    let config = Config::default()
        .with_max_frame(usize::MAX)
        .with_max_message(100);
    let len = u64::MAX >> 1;
    let head = [
        &[FIN | CONTINUATION, 0x80 | 127][..],
        &len.to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    let bytes = [masked(BINARY, b"12345"), head].concat();
    fails(
        config,
        Role::Server,
        &bytes,
        &Error::MessageTooBig {
            len: len + 5,
            max: 100,
        },
    );
}

#[test]
fn more_fragments_than_the_limit() {
    let config = Config::default().with_max_fragments(3);
    let message = |frames: usize| {
        let mut bytes = masked(TEXT, b"");
        for _ in 2..frames {
            bytes.extend(masked(CONTINUATION, b""));
        }
        bytes.extend(masked(FIN | CONTINUATION, b"x"));
        bytes
    };
    let mut server = Connection::new(Role::Server, config);
    for _ in 0..2 {
        assert_eq!(
            receive(&mut server, &message(3)),
            Ok(vec![Event::Text("x".into())])
        );
    }
    fails(
        config,
        Role::Server,
        &message(4),
        &Error::TooManyFragments { max: 3 },
    );
}

#[test]
fn events_before_a_violation_are_delivered() {
    let mut server = server();
    let mut bytes = [masked(FIN | TEXT, b"fine"), plain(FIN | TEXT, b"not")].concat();
    let mut input = bytes.as_mut_slice();
    assert_eq!(
        server.receive(&mut input),
        Ok(Some(Event::Text("fine".into())))
    );
    assert_eq!(server.receive(&mut input), Err(Error::UnmaskedByClient));
    assert!(input.is_empty());
    assert_eq!(server.receive(&mut input), Ok(None));
}
