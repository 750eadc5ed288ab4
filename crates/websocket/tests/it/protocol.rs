//! Valid input: the RFC's examples, lengths, fragments, pings.

use tramline_websocket::{Event, MAX_HEAD, OpCode, write_head};

use crate::{
    BINARY, CONTINUATION, FIN, PING, PONG, TEXT, client, masked, plain, receive, server, transmit,
};

#[test]
fn rfc_5_7_unmasked_text() {
    let events = receive(&mut client(), b"\x81\x05\x48\x65\x6c\x6c\x6f").unwrap();
    assert_eq!(events, [Event::Text("Hello".into())]);
}

#[test]
fn rfc_5_7_masked_text() {
    let events = receive(
        &mut server(),
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    )
    .unwrap();
    assert_eq!(events, [Event::Text("Hello".into())]);
}

#[test]
fn rfc_5_7_fragmented_text() {
    let events = receive(&mut client(), b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f").unwrap();
    assert_eq!(events, [Event::Text("Hello".into())]);
}

/// Autobahn 2.10 and 2.11.
#[test]
fn each_of_many_pings_is_answered_however_they_arrive() {
    let pings: Vec<Vec<u8>> = (0..10)
        .map(|n| format!("payload-{n}").into_bytes())
        .collect();
    let wire: Vec<u8> = pings
        .iter()
        .flat_map(|payload| masked(FIN | PING, payload))
        .collect();
    let answers: Vec<u8> = pings
        .iter()
        .flat_map(|payload| plain(FIN | PONG, payload))
        .collect();
    for piece in [1, 7, wire.len()] {
        let mut server = server();
        for bytes in wire.chunks(piece) {
            receive(&mut server, bytes).unwrap();
        }
        assert_eq!(transmit(&mut server), answers, "in pieces of {piece}");
        assert!(!server.has_transmit());
    }
}

#[test]
fn of_too_many_pings_the_latest_are_answered() {
    for (len, most) in [(0, 16_384_usize), (3, 4_096), (125, 130)] {
        let mut server = server();
        let sent = most + 1000;
        for n in 0..sent {
            let mut payload = vec![b'x'; len];
            let number = n.to_be_bytes();
            let written = len.min(2);
            payload[..written].copy_from_slice(&number[number.len() - written..]);
            receive(&mut server, &masked(FIN | PING, &payload)).unwrap();
        }
        let answers = transmit(&mut server);
        assert_eq!(answers.len(), most * (2 + len));
        let last = (sent - 1).to_be_bytes();
        let written = len.min(2);
        let payload = &answers[answers.len() - len..];
        assert_eq!(payload[..written], last[last.len() - written..]);
    }
}

#[test]
fn rfc_5_7_ping_and_masked_pong() {
    let mut client = client();
    let events = receive(&mut client, b"\x89\x05\x48\x65\x6c\x6c\x6f").unwrap();
    assert_eq!(events, [Event::Ping("Hello".into())]);
    let pong = transmit(&mut client);
    assert_eq!(pong[..2], [0x8a, 0x85]);
    assert_eq!(
        receive(&mut server(), &pong),
        Ok(vec![Event::Pong("Hello".into())])
    );
    let events = receive(
        &mut server(),
        b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    )
    .unwrap();
    assert_eq!(events, [Event::Pong("Hello".into())]);
}

#[test]
fn rfc_5_7_binary_with_16_and_64_bit_length() {
    for (len, head) in [
        (256, &b"\x82\x7e\x01\x00"[..]),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ] {
        let mut frame = head.to_vec();
        frame.resize(head.len() + len, 0xab);
        assert_eq!(
            receive(&mut client(), &frame),
            Ok(vec![Event::Binary(vec![0xab; len].into())])
        );
        let mut sent = Vec::new();
        server().send(OpCode::Binary, &vec![0xab; len], &mut sent);
        assert_eq!(sent, frame);
    }
}

#[test]
fn every_border_of_the_length_forms_is_sent_and_received() {
    for len in [0, 1, 124, 125, 126, 127, 65_535, 65_536, 65_537] {
        let payload = vec![b'x'; len];
        let mut from_server = Vec::new();
        server().send(OpCode::Binary, &payload, &mut from_server);
        assert_eq!(from_server, plain(FIN | BINARY, &payload), "{len}");
        let mut head = Vec::new();
        write_head(&mut head, OpCode::Binary, len);
        assert!(head.len() <= MAX_HEAD);
        assert_eq!(from_server[..head.len()], head, "{len}");
        assert_eq!(
            receive(&mut client(), &from_server).unwrap(),
            [Event::Binary(payload.clone().into())],
            "{len}"
        );

        let mut from_client = Vec::new();
        client().send(OpCode::Text, &payload, &mut from_client);
        assert_eq!(from_client.len(), from_server.len() + 4, "{len}");
        let text = String::from_utf8(payload).unwrap();
        assert_eq!(
            receive(&mut server(), &from_client).unwrap(),
            [Event::Text(text.into())],
            "{len}"
        );
    }
}

#[test]
fn the_longest_head_is_ten_bytes() {
    let mut head = Vec::new();
    write_head(&mut head, OpCode::Text, usize::MAX);
    assert_eq!(head.len(), MAX_HEAD);
}

#[test]
fn a_client_changes_its_mask_with_every_frame() {
    let mut client = client();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    client.send(OpCode::Text, b"same", &mut first);
    client.send(OpCode::Text, b"same", &mut second);
    assert_ne!(first[2..6], second[2..6]);
}

#[test]
fn clients_without_a_seed_of_their_own_differ() {
    use tramline_websocket::{Config, Connection, Role};
    let frame = || {
        let mut out = Vec::new();
        Connection::new(Role::Client, Config::default()).ping(b"", &mut out);
        out
    };
    assert_ne!(frame(), frame());
}

#[test]
fn control_frames_between_fragments_come_first() {
    let mut server = server();
    let bytes = [
        masked(TEXT, b"one "),
        masked(FIN | PING, b"now"),
        masked(CONTINUATION, b""),
        masked(FIN | PONG, b""),
        masked(FIN | CONTINUATION, b"two"),
    ]
    .concat();
    let events = receive(&mut server, &bytes).unwrap();
    assert_eq!(
        events,
        [
            Event::Ping("now".into()),
            Event::Pong("".into()),
            Event::Text("one two".into())
        ]
    );
    assert_eq!(transmit(&mut server), plain(FIN | PONG, b"now"));
}

#[test]
fn a_character_may_be_split_over_fragments_and_control_frames() {
    let bytes = [
        masked(TEXT, b"\xe2\x82"),
        masked(FIN | PING, b"\xff"),
        masked(FIN | CONTINUATION, b"\xac"),
    ]
    .concat();
    let events = receive(&mut server(), &bytes).unwrap();
    assert_eq!(events[1], Event::Text("\u{20ac}".into()));
}

#[test]
fn empty_messages_are_messages() {
    let bytes = [
        masked(FIN | TEXT, b""),
        masked(FIN | BINARY, b""),
        masked(BINARY, b""),
        masked(FIN | CONTINUATION, b""),
        masked(FIN | PING, b""),
    ]
    .concat();
    let events = receive(&mut server(), &bytes).unwrap();
    let empty = Event::Binary("".into());
    assert_eq!(
        events,
        [
            Event::Text("".into()),
            empty.clone(),
            empty,
            Event::Ping("".into())
        ]
    );
}

#[test]
fn a_ping_may_carry_125_bytes() {
    let mut out = Vec::new();
    server().ping(&[7; 125], &mut out);
    assert_eq!(
        receive(&mut client(), &out).unwrap(),
        [Event::Ping(vec![7; 125].into())]
    );
}

#[test]
#[should_panic(expected = "at most 125")]
fn a_longer_ping_is_a_mistake_in_the_program() {
    server().ping(&[7; 126], &mut Vec::new());
}

#[test]
fn debug_shows_no_payload_and_no_keys() {
    let mut server = server();
    receive(&mut server, &masked(TEXT, b"secret")).unwrap();
    let shown = format!("{server:?}");
    assert!(
        shown.contains("buffered: 6") && shown.contains("Open"),
        "{shown}"
    );
    assert!(
        !shown.contains("secret") && !shown.contains("keys"),
        "{shown}"
    );
}
