//! permessage-deflate (RFC 7692): valid and invalid compressed messages.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use tramline_websocket::{
    CloseCode, Config, Connection, Deflate, Error, Event, OpCode, Role, deflate_tail,
    write_deflated_head,
};

use crate::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, masked, plain, receive, transmit};

/// RSV1: the message is compressed.
pub(crate) const DEFLATED: u8 = 0x40;

/// Both ends of a connection with the same settings.
pub(crate) fn pair(deflate: Deflate) -> (Connection, Connection) {
    pair_with(deflate, Config::default())
}

fn pair_with(deflate: Deflate, config: Config) -> (Connection, Connection) {
    let accepted = deflate.accept([deflate.offer().as_str()]).unwrap();
    let response = accepted.response();
    let confirmed = deflate.confirm([response.as_str()]).unwrap().unwrap();
    (
        Connection::new(Role::Server, config).with_deflate(accepted),
        Connection::new_client(config, 1).with_deflate(confirmed),
    )
}

fn always() -> Deflate {
    Deflate::default().with_above(0)
}

/// Compresses a message as another compressor does.
pub(crate) fn deflated(payload: &[u8], level: u32) -> Vec<u8> {
    let mut compress = Compress::new(Compression::new(level), false);
    let mut out = Vec::with_capacity(payload.len() * 2 + 64);
    compress
        .compress_vec(payload, &mut out, FlushCompress::Sync)
        .unwrap();
    assert_eq!(compress.total_in(), payload.len() as u64);
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn the_rfc_s_own_examples_are_read() {
    let hello = || Ok(vec![Event::Text("Hello".into())]);
    for (section, frames) in [
        ("7.2.3.1", &b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"[..]),
        (
            "7.2.3.1 in two frames",
            b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00",
        ),
        (
            "7.2.3.3, stored",
            b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        ),
        (
            "7.2.3.4, a stream that ends",
            b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        ),
        (
            "7.2.3.5, two blocks",
            b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        ),
    ] {
        let (_, mut client) = pair(always());
        assert_eq!(receive(&mut client, frames), hello(), "{section}");
    }
    let (_, mut client) = pair(always().with_takeover(true, true));
    assert_eq!(
        receive(&mut client, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"),
        hello()
    );
    assert_eq!(
        receive(&mut client, b"\xc1\x05\xf2\x00\x11\x00\x00"),
        hello(),
        "7.2.3.2: refers to the message before"
    );
    assert_eq!(
        receive(&mut client, b"\xc1\x01\x00"),
        Ok(vec![Event::Text("".into())])
    );
    // Not the RFC's way, but unambiguous.
    assert_eq!(
        receive(&mut client, b"\xc1\x00"),
        Ok(vec![Event::Text("".into())])
    );
    assert_eq!(
        receive(&mut client, b"\xc1\x05\xf2\x00\x11\x00\x00"),
        hello()
    );
}

#[test]
fn without_takeover_nothing_may_refer_to_the_message_before() {
    let (_, mut client) = pair(always());
    receive(&mut client, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00").unwrap();
    assert_eq!(
        receive(&mut client, b"\xc1\x05\xf2\x00\x11\x00\x00"),
        Err(Error::InvalidDeflate)
    );
}

#[test]
fn reserved_bits_mean_what_was_agreed_and_no_more() {
    let payload = deflated(b"Hello", 6);
    let frame = masked(FIN | DEFLATED | TEXT, &payload);
    let mut ignorant = crate::server();
    assert_eq!(
        receive(&mut ignorant, &frame),
        Err(Error::ReservedBits { bits: 0b100 })
    );

    for rsv in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
        let (mut server, _) = pair(always());
        let error = receive(&mut server, &masked(FIN | rsv | TEXT, &payload));
        assert_eq!(error, Err(Error::ReservedBits { bits: rsv >> 4 }));
    }
    for opcode in [CLOSE, PING, PONG] {
        let (mut server, _) = pair(always());
        let error = receive(&mut server, &masked(FIN | DEFLATED | opcode, b""));
        assert_eq!(error, Err(Error::MisplacedCompression { opcode }));
    }
    let (mut server, _) = pair(always());
    receive(&mut server, &masked(DEFLATED | TEXT, &payload[..2])).unwrap();
    let error = receive(
        &mut server,
        &masked(FIN | DEFLATED | CONTINUATION, &payload[2..]),
    );
    assert_eq!(error, Err(Error::MisplacedCompression { opcode: 0 }));
    assert_eq!(
        transmit(&mut server)[2..4],
        CloseCode::PROTOCOL_ERROR.as_u16().to_be_bytes()
    );
}

#[test]
fn plain_messages_are_read_among_compressed_ones() {
    let (mut server, _) = pair(always().with_takeover(true, true));
    let events = receive(
        &mut server,
        &[
            masked(FIN | DEFLATED | TEXT, &deflated(b"Hello", 6)),
            masked(FIN | TEXT, b"plain"),
            masked(BINARY, b"pl"),
            masked(FIN | CONTINUATION, b"ain"),
            // The context contains compressed messages only.
            masked(FIN | DEFLATED | TEXT, b"\xf2\x00\x11\x00\x00"),
        ]
        .concat(),
    );
    assert_eq!(
        events,
        Ok(vec![
            Event::Text("Hello".into()),
            Event::Text("plain".into()),
            Event::Binary("plain".into()),
            Event::Text("Hello".into()),
        ])
    );
}

#[test]
fn control_frames_come_between_the_fragments() {
    let text = "Grüezi 🚋 ".repeat(50);
    let payload = deflated(text.as_bytes(), 6);
    let (first, rest) = payload.split_at(7);
    let (second, third) = rest.split_at(1);
    let (mut server, _) = pair(always());
    let events = receive(
        &mut server,
        &[
            masked(DEFLATED | TEXT, first),
            masked(FIN | PING, b"still there?"),
            masked(CONTINUATION, second),
            masked(CONTINUATION, b""),
            masked(FIN | PONG, b""),
            masked(CONTINUATION, third),
            masked(FIN | CONTINUATION, b""),
        ]
        .concat(),
    );
    assert_eq!(
        events,
        Ok(vec![
            Event::Ping("still there?".into()),
            Event::Pong("".into()),
            Event::Text(text.into()),
        ])
    );
    assert_eq!(transmit(&mut server), plain(FIN | PONG, b"still there?"));
}

#[test]
fn inflated_text_is_checked_as_it_arrives() {
    let good = "é".repeat(4000);
    let payload = deflated(&[good.as_bytes(), b"\xff", &noise(20_000)].concat(), 6);
    // Long before the end, and without FIN.
    let (mut server, _) = pair(always());
    let error = receive(&mut server, &masked(DEFLATED | TEXT, &payload[..2000]));
    assert_eq!(error, Err(Error::InvalidUtf8 { at: 8000 }));
    let (mut server, _) = pair(always());
    let error = receive(
        &mut server,
        &masked(FIN | DEFLATED | TEXT, &deflated(b"\xf0\x9f", 6)),
    );
    assert_eq!(error, Err(Error::InvalidUtf8 { at: 0 }));
}

#[test]
fn what_is_no_deflate_is_refused() {
    let whole = deflated(&noise(500), 6);
    let cut = &whole[..whole.len() / 2];
    let cut_in_a_code = &deflated("abcdefgh".repeat(30).as_bytes(), 6)[..5];
    // Block type 3; a length without its complement; a distance beyond the beginning.
    for bad in [
        &b"\x07"[..],
        b"\x00\x05\x00\x00\x00Hello",
        b"\xf2\x00\x11\x00\x00",
        cut,
        cut_in_a_code,
    ] {
        let (mut server, _) = pair(always());
        let error = receive(&mut server, &masked(FIN | DEFLATED | BINARY, bad)).unwrap_err();
        assert_eq!(error, Error::InvalidDeflate, "{bad:x?}");
        assert_eq!(error.close_code(), CloseCode::INVALID_PAYLOAD);
        assert_eq!(transmit(&mut server)[2..4], 1007_u16.to_be_bytes());
        assert!(server.is_closed());
    }
}

#[test]
fn of_two_mistakes_the_first_is_named() {
    let bad = [b"\x00\x01\x00\xfe\xff\xff".as_slice(), b"\x07"].concat();
    let frame = masked(FIN | DEFLATED | TEXT, &bad);
    let (mut at_once, _) = pair(always());
    let error = receive(&mut at_once, &frame);
    assert_eq!(error, Err(Error::InvalidUtf8 { at: 0 }));
    let (mut bytewise, _) = pair(always());
    let error = frame
        .iter()
        .find_map(|byte| receive(&mut bytewise, &[*byte]).err());
    assert_eq!(error, Some(Error::InvalidUtf8 { at: 0 }));

    let config = Config::default().with_max_message(10);
    for (text, error) in [
        (
            "x\u{ff}".repeat(20).into_bytes(),
            Error::InflatedTooBig { max: 10 },
        ),
        (
            [b"xxx\xff".as_slice(), &[b'x'; 20]].concat(),
            Error::InvalidUtf8 { at: 3 },
        ),
        (
            [[b'x'; 10].as_slice(), b"\xff"].concat(),
            Error::InflatedTooBig { max: 10 },
        ),
    ] {
        let (mut server, _) = pair_with(always(), config);
        let frame = masked(FIN | DEFLATED | TEXT, &deflated(&text, 6));
        assert_eq!(receive(&mut server, &frame), Err(error));
    }
}

#[test]
fn a_stream_may_end_and_another_begin_in_one_message() {
    let ended = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    let message = [&ended[..], ended, b"\xf2\x48\xcd\xc9\xc9\x07\x00"].concat();
    let (mut server, _) = pair(always());
    let events = receive(&mut server, &masked(FIN | DEFLATED | TEXT, &message));
    assert_eq!(events, Ok(vec![Event::Text("HelloHelloHello".into())]));
}

#[test]
fn a_compressed_message_may_be_taken_in_parts() {
    let config = Config::default().with_max_message(50_000);
    for (len, passes) in [(50_000, true), (50_001, false)] {
        let (mut server, _) = pair_with(always(), config);
        let message = noise(25).repeat(2001)[..len].to_vec();
        let mut frame = masked(FIN | DEFLATED | BINARY, &deflated(&message, 6));
        let (mut parts, mut taken, mut outcome) = (Vec::new(), 0, Ok(()));
        for mut piece in frame.chunks_mut(20) {
            match server.receive(&mut piece) {
                Ok(event) => {
                    let part = server.take_part();
                    taken += usize::from(part.is_some());
                    parts.extend(event);
                    parts.extend(part);
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        if passes {
            let parts = parts.into_iter().map(|part| match part {
                Event::Binary(part) => part,
                other => panic!("{other:?}"),
            });
            assert_eq!(parts.collect::<Vec<_>>().concat(), message);
            assert!(taken > 2);
            assert_eq!(outcome, Ok(()));
        } else {
            let error = Error::InflatedTooBig { max: 50_000 };
            assert_eq!(outcome, Err(error), "what was taken counts");
        }
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let config = Config::default().with_max_message(100_000);
    for (len, passes) in [(100_000, true), (100_001, false), (50_000_000, false)] {
        for fragments in [1, 3] {
            let (mut server, _) = pair_with(always(), config);
            let payload = deflated(&vec![b'x'; len], 9);
            let size = payload.len().div_ceil(fragments);
            let count = payload.chunks(size).count();
            let frames: Vec<u8> = payload
                .chunks(size)
                .enumerate()
                .flat_map(|(n, piece)| {
                    let first = if n == 0 {
                        DEFLATED | BINARY
                    } else {
                        CONTINUATION
                    };
                    masked(first | if n + 1 == count { FIN } else { 0 }, piece)
                })
                .collect();
            let result = receive(&mut server, &frames);
            if passes {
                assert_eq!(result, Ok(vec![Event::Binary(vec![b'x'; len].into())]));
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error, Error::InflatedTooBig { max: 100_000 });
            assert_eq!(error.close_code(), CloseCode::TOO_BIG);
            assert_eq!(server.buffered(), 0);
        }
    }
}

#[test]
fn what_does_not_shrink_passes_up_to_the_limit_all_the_same() {
    let config = Config::default()
        .with_max_message(100_000)
        .with_max_frame(100_000);
    let noise = noise(100_000);
    let payload = deflated(&noise, 0);
    assert!(payload.len() > 100_000);
    let (mut server, _) = pair_with(always(), config);
    let events = receive(&mut server, &masked(FIN | DEFLATED | BINARY, &payload));
    assert_eq!(events, Ok(vec![Event::Binary(noise.into())]));
}

#[test]
fn blocks_of_nothing_come_to_an_end() {
    let config = Config::default().with_max_message(10_000);
    let (mut server, _) = pair_with(always(), config);
    let nothing = masked(CONTINUATION, &[0, 0, 0, 0xff, 0xff].repeat(200));
    receive(&mut server, &masked(DEFLATED | BINARY, b"")).unwrap();
    let error = (0..100).find_map(|_| receive(&mut server, &nothing).err());
    assert_eq!(
        error,
        Some(Error::MessageTooBig {
            len: 13_000,
            max: 12_274
        })
    );
}

#[test]
fn a_frame_s_limit_is_that_of_its_payload() {
    let config = Config::default().with_max_frame(8000);
    let (mut server, _) = pair_with(always(), config);
    let error = receive(
        &mut server,
        &masked(FIN | DEFLATED | BINARY, &[0; 10_100])[..14],
    );
    assert_eq!(
        error,
        Err(Error::FrameTooBig {
            len: 10_100,
            max: 10_024
        })
    );
}

#[test]
fn messages_are_compressed_from_a_size_on_and_where_it_helps() {
    let (mut server, mut client) = pair(Deflate::default().with_above(100));
    for from in [&mut server, &mut client] {
        let is_deflated = |connection: &mut Connection, payload: &[u8]| {
            let mut out = Vec::new();
            connection.send(OpCode::Binary, payload, &mut out);
            assert_eq!(out[0] & !DEFLATED, FIN | BINARY);
            out[0] & DEFLATED != 0
        };
        assert!(!is_deflated(from, &[b'x'; 99]));
        assert!(is_deflated(from, &[b'x'; 100]));
        assert!(!is_deflated(from, &noise(1000)), "it would grow");
        assert!(!is_deflated(from, b""));
    }
    let (mut server, mut client) = pair(always().with_takeover(true, true));
    for _ in 0..2 {
        let mut wire = Vec::new();
        server.send(OpCode::Binary, &noise(1000), &mut wire);
        server.send(OpCode::Binary, b"", &mut wire);
        server.ping(b"ping", &mut wire);
        assert_eq!(
            wire[0],
            FIN | DEFLATED | BINARY,
            "the peer's window has to follow"
        );
        assert_eq!(
            receive(&mut client, &wire),
            Ok(vec![
                Event::Binary(noise(1000).into()),
                Event::Binary("".into()),
                Event::Ping("ping".into())
            ])
        );
    }
}

#[test]
fn a_context_makes_the_second_message_small() {
    let message = noise(2000);
    for (takeover, small) in [(true, true), (false, false)] {
        let (mut server, mut client) = pair(always().with_takeover(takeover, takeover));
        let mut first = Vec::new();
        server.send(OpCode::Binary, &message, &mut first);
        let mut second = Vec::new();
        server.send(OpCode::Binary, &message, &mut second);
        assert_eq!(second.len() < 100, small, "{} bytes", second.len());
        for wire in [first, second] {
            let event = Event::Binary(message.clone().into());
            assert_eq!(receive(&mut client, &wire), Ok(vec![event]));
        }
    }
}

#[test]
fn a_smaller_window_is_kept() {
    // The repetition after 600 bytes lies outside a window of 512.
    let message = noise(600).repeat(2);
    for (bits, sees_it) in [(15, true), (10, true), (9, false)] {
        for takeover in [false, true] {
            let deflate = always()
                .with_takeover(takeover, takeover)
                .with_window_bits(bits, bits);
            for mut from in <[Connection; 2]>::from(pair(deflate)) {
                let mut wire = Vec::new();
                from.send(OpCode::Binary, &message, &mut wire);
                assert_eq!(
                    wire.len() < 900,
                    sees_it,
                    "{bits} bits: {} bytes",
                    wire.len()
                );
            }
        }
    }
}

#[test]
fn a_window_of_eight_bits_is_kept_by_sending_plainly() {
    let agreement = always()
        .accept(["permessage-deflate; server_max_window_bits=8"])
        .unwrap();
    assert!(!agreement.shares_tails());
    let mut server = Connection::new(Role::Server, Config::default()).with_deflate(agreement);
    let mut wire = Vec::new();
    server.send(OpCode::Binary, &[7; 1000], &mut wire);
    assert_eq!(wire, plain(FIN | BINARY, &[7; 1000]));
    let compressed = masked(FIN | DEFLATED | BINARY, &deflated(&[7; 1000], 6));
    assert!(receive(&mut server, &compressed).is_ok());
}

#[test]
fn messages_come_in_after_our_own_close() {
    let (mut server, mut client) = pair(always().with_takeover(true, true));
    let mut wire = Vec::new();
    for _ in 0..2 {
        client.send(OpCode::Text, b"Hello, hello, hello", &mut wire);
    }
    server.close(CloseCode::GOING_AWAY, "");
    transmit(&mut server);
    let hello = Event::Text("Hello, hello, hello".into());
    assert_eq!(receive(&mut server, &wire), Ok(vec![hello.clone(), hello]));
}

#[test]
fn a_tail_serves_every_head() {
    let body = "the same for all of them; ".repeat(2000);
    let tail = deflate_tail(body.as_bytes(), 3).unwrap();
    for head_len in [0, 1, 125, 65_535, 65_536, 200_000] {
        let head = noise(head_len);
        let mut wire = Vec::new();
        write_deflated_head(&mut wire, OpCode::Binary, &head, tail.len());
        wire.extend_from_slice(&tail);
        assert!(wire.len() < head_len + 400, "{} bytes", wire.len());
        // Later messages are unaffected.
        wire.extend(plain(FIN | PING, b"next"));
        let (_, mut client) = pair(Deflate::default());
        let message = [&head, body.as_bytes()].concat();
        assert_eq!(
            receive(&mut client, &wire),
            Ok(vec![
                Event::Binary(message.into()),
                Event::Ping("next".into())
            ])
        );
    }
    assert_eq!(deflate_tail(&noise(1000), 9), None);
    assert_eq!(deflate_tail(b"", 3), None);
}

#[test]
fn tails_are_shared_where_the_receiver_can_read_them() {
    let shares = |offer: &str, deflate: Deflate| deflate.accept([offer]).unwrap().shares_tails();
    assert!(shares(
        "permessage-deflate; client_max_window_bits",
        always()
    ));
    assert!(shares(
        "permessage-deflate; server_max_window_bits=15",
        always()
    ));
    assert!(!shares(
        "permessage-deflate; server_max_window_bits=14",
        always()
    ));
    assert!(!shares(
        "permessage-deflate",
        always().with_takeover(true, false)
    ));
}

fn settings() -> impl Strategy<Value = Deflate> {
    (
        0..200_u32,
        0..12_u8,
        any::<[bool; 2]>(),
        (9..=15_u8, 9..=15_u8),
    )
        .prop_map(|(above, level, takeover, (server, client))| {
            Deflate::default()
                .with_above(above)
                .with_level(level)
                .with_takeover(takeover[0], takeover[1])
                .with_window_bits(server, client)
        })
}

/// Messages with much, little and nothing in common.
fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    const WORDS: [&[u8]; 4] = [b"destination:/topic/", b"12345", b"\xff\x00", b"x"];
    let words = proptest::collection::vec(prop::sample::select(&WORDS[..]), 0..2000);
    let message = prop_oneof![
        words.prop_map(|words| words.concat()),
        (0..70_000_usize).prop_map(noise),
        (0..70_000_usize).prop_map(|len| vec![b'x'; len]),
    ];
    proptest::collection::vec(message, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_arrive_as_they_were_sent(
        deflate in settings(),
        messages in messages(),
        step in 1..5000_usize,
    ) {
        let (mut server, mut client) = pair(deflate);
        for back in [false, true] {
            let (from, to) = if back { (&mut server, &mut client) } else { (&mut client, &mut server) };
            let mut wire = Vec::new();
            let mut sent = Vec::new();
            for message in &messages {
                from.send(OpCode::Binary, message, &mut wire);
                from.ping(b"between", &mut wire);
                sent.push(Event::Binary(message.clone().into()));
                sent.push(Event::Ping("between".into()));
            }
            let mut received = Vec::new();
            for mut piece in wire.chunks_mut(step) {
                while let Some(event) = to.receive(&mut piece).unwrap() {
                    received.push(event);
                }
            }
            prop_assert_eq!(received, sent);
            prop_assert_eq!(to.buffered(), 0);
        }
    }

    #[test]
    fn the_cut_changes_nothing_for_bad_data_either(
        mut payload in proptest::collection::vec(any::<u8>(), 0..60),
        good in any::<bool>(),
        step in 1..40_usize,
    ) {
        if good {
            payload = deflated(&payload.repeat(5), 6);
        }
        let mut frame = masked(FIN | DEFLATED | BINARY, &payload);
        let (mut at_once, _) = pair(always());
        let expected = receive(&mut at_once, &frame);
        prop_assert!(!good || expected.is_ok());
        let (mut server, _) = pair(always());
        let mut events = Vec::new();
        let mut outcome = Ok(());
        for mut piece in frame.chunks_mut(step) {
            while outcome.is_ok() {
                match server.receive(&mut piece) {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => outcome = Err(error),
                }
            }
        }
        prop_assert_eq!(outcome.map(|()| events), expected);
    }
}
