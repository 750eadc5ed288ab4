//! The closing handshake, from either side and from both concurrently.

use tramline_websocket::{CloseCode, CloseFrame, ConnectionState, Error, Event, OpCode};

use crate::{CLOSE, FIN, PING, PONG, TEXT, client, masked, plain, receive, server, transmit};

#[test]
fn every_code_is_accepted_or_refused_as_the_rfc_says() {
    for code in 0..=u16::MAX {
        let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let mut server = server();
        let outcome = receive(&mut server, &masked(FIN | CLOSE, &code.to_be_bytes()));
        let answer = transmit(&mut server);
        if valid {
            let close = CloseFrame {
                code: CloseCode::new(code).unwrap(),
                reason: "".into(),
            };
            assert_eq!(outcome, Ok(vec![Event::Close(Some(close))]), "{code}");
            assert_eq!(
                answer,
                plain(FIN | CLOSE, &code.to_be_bytes()),
                "{code} is echoed"
            );
        } else {
            assert_eq!(CloseCode::new(code), None, "{code}");
            assert_eq!(outcome, Err(Error::InvalidCloseCode { code }));
            assert_eq!(answer[2..4], 1002_u16.to_be_bytes(), "{code}");
        }
        assert!(server.is_closed());
    }
}

#[test]
fn the_named_codes_may_be_sent() {
    for code in [
        CloseCode::NORMAL,
        CloseCode::GOING_AWAY,
        CloseCode::PROTOCOL_ERROR,
        CloseCode::UNSUPPORTED_DATA,
        CloseCode::INVALID_PAYLOAD,
        CloseCode::POLICY_VIOLATION,
        CloseCode::TOO_BIG,
        CloseCode::INTERNAL_ERROR,
        CloseCode::SERVICE_RESTART,
        CloseCode::TRY_AGAIN_LATER,
    ] {
        assert_eq!(CloseCode::new(u16::from(code)), Some(code));
    }
}

#[test]
fn an_empty_close_is_answered_by_an_empty_one() {
    let mut server = server();
    assert_eq!(
        receive(&mut server, &masked(FIN | CLOSE, b"")),
        Ok(vec![Event::Close(None)])
    );
    assert_eq!(server.state(), ConnectionState::PeerClosing);
    assert!(!server.is_closed(), "the answer is still here");
    assert_eq!(transmit(&mut server), b"\x88\x00");
    assert_eq!(server.state(), ConnectionState::Closed);
}

#[test]
fn the_reason_is_heard_and_not_repeated() {
    let mut server = server();
    let events = receive(&mut server, &masked(FIN | CLOSE, b"\x0f\xa0gr\xc3\xbcezi")).unwrap();
    assert_eq!(
        events,
        [Event::Close(Some(CloseFrame {
            code: CloseCode::new(4000).unwrap(),
            reason: "grüezi".into()
        }))]
    );
    assert_eq!(transmit(&mut server), b"\x88\x02\x0f\xa0");
}

#[test]
fn nothing_is_heard_after_the_peers_close() {
    let mut server = server();
    let bytes = [
        masked(FIN | CLOSE, b""),
        masked(FIN | TEXT, b"late"),
        plain(0x7f, b"nonsense"),
    ]
    .concat();
    assert_eq!(receive(&mut server, &bytes), Ok(vec![Event::Close(None)]));
    assert_eq!(server.buffered(), 0);
}

#[test]
fn nothing_is_sent_after_a_close_was_queued_or_received() {
    let mut closing = server();
    closing.close(CloseCode::NORMAL, "");
    let mut closed_by_peer = server();
    receive(&mut closed_by_peer, &masked(FIN | CLOSE, b"")).unwrap();
    for mut server in [closing, closed_by_peer] {
        for _ in 0..2 {
            let mut out = Vec::new();
            server.send(OpCode::Text, b"late", &mut out);
            server.ping(b"late", &mut out);
            assert_eq!(out, b"");
            server.poll_transmit(&mut out);
        }
    }
}

#[test]
fn messages_arrive_until_the_peer_closes_too() {
    let mut server = server();
    server.close(CloseCode::GOING_AWAY, "bye");
    assert_eq!(transmit(&mut server), b"\x88\x05\x03\xe9bye");
    assert_eq!(
        receive(&mut server, &masked(FIN | TEXT, b"last")),
        Ok(vec![Event::Text("last".into())])
    );
    assert_eq!(
        receive(&mut server, &masked(FIN | PING, b"?")),
        Ok(vec![Event::Ping("?".into())])
    );
    assert!(!server.has_transmit(), "after our Close not even a pong");
    assert_eq!(server.state(), ConnectionState::Closing);
    receive(&mut server, &masked(FIN | CLOSE, b"\x03\xe9")).unwrap();
    assert_eq!(server.state(), ConnectionState::Closed);
    assert!(!server.has_transmit(), "one Close is enough");
}

#[test]
fn a_pong_owed_goes_before_the_close() {
    let mut server = server();
    let bytes = [masked(FIN | PING, b"?"), masked(FIN | CLOSE, b"\x03\xe8")].concat();
    receive(&mut server, &bytes).unwrap();
    assert_eq!(
        transmit(&mut server),
        [plain(FIN | PONG, b"?"), plain(FIN | CLOSE, b"\x03\xe8")].concat()
    );
}

#[test]
fn closes_that_cross_end_the_connection() {
    let (mut server, mut client) = (server(), client());
    server.close(CloseCode::GOING_AWAY, "");
    client.close(CloseCode::NORMAL, "");
    let (from_server, from_client) = (transmit(&mut server), transmit(&mut client));
    receive(&mut server, &from_client).unwrap();
    receive(&mut client, &from_server).unwrap();
    assert!(server.is_closed() && client.is_closed());
    assert!(!server.has_transmit() && !client.has_transmit());
}

#[test]
fn a_close_that_waits_answers_the_peers() {
    let mut server = server();
    server.close(CloseCode::GOING_AWAY, "");
    receive(&mut server, &masked(FIN | CLOSE, b"\x03\xe8")).unwrap();
    assert_eq!(server.state(), ConnectionState::PeerClosing);
    assert_eq!(transmit(&mut server), b"\x88\x02\x03\xe9");
    assert!(server.is_closed());
}

#[test]
fn an_application_may_word_the_answer() {
    let mut server = server();
    receive(&mut server, &masked(FIN | CLOSE, b"\x03\xe8")).unwrap();
    server.close(CloseCode::new(4001).unwrap(), "own");
    assert_eq!(transmit(&mut server), b"\x88\x05\x0f\xa1own");
    server.close(CloseCode::NORMAL, "again");
    assert!(!server.has_transmit());
}

#[test]
fn the_first_close_stands() {
    let mut server = server();
    server.close(CloseCode::GOING_AWAY, "first");
    server.close(CloseCode::NORMAL, "second");
    assert_eq!(transmit(&mut server), b"\x88\x07\x03\xe9first");
}

#[test]
fn a_violation_after_our_close_ends_the_connection_without_another() {
    let mut server = server();
    server.close(CloseCode::NORMAL, "");
    transmit(&mut server);
    assert_eq!(
        receive(&mut server, &plain(FIN | TEXT, b"")),
        Err(Error::UnmaskedByClient)
    );
    assert!(server.is_closed() && !server.has_transmit());
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    for (reason, kept) in [
        ("x".repeat(123), 123),
        ("x".repeat(124), 123),
        ("é".repeat(62), 122),
        ("🚋".repeat(31), 120),
    ] {
        let mut server = server();
        server.close(CloseCode::NORMAL, &reason);
        let events = receive(&mut client(), &transmit(&mut server)).unwrap();
        let [Event::Close(Some(close))] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(close.reason, reason[..kept]);
    }
}
