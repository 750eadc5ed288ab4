use std::time::Duration;

use super::*;
use crate::{DecodeError, Limits};

mod acks;
mod transactions;

const CONNECT: &str = "CONNECT\naccept-version:1.2\n\n\0";

struct Server {
    connection: ServerConnection,
    now: Instant,
}

impl Server {
    fn new(config: ServerConfig) -> Self {
        let now = Instant::now();
        let connection = ServerConnection::new(Arc::new(config), now);
        Self { connection, now }
    }

    /// Returns a server whose client has connected with this frame.
    fn connected(connect: &str) -> Self {
        Self::connected_with(ServerConfig::default(), connect)
    }

    fn connected_with(config: ServerConfig, connect: &str) -> Self {
        let mut server = Self::new(config);
        let event = server.receive(connect);
        assert!(matches!(event, Some(ServerEvent::Connect(_))), "{event:?}");
        server.connection.accept(None, None, server.now);
        server.written();
        server
    }

    fn receive(&mut self, wire: &str) -> Option<ServerEvent> {
        let bytes = Bytes::copy_from_slice(wire.as_bytes());
        self.connection.receive(bytes, self.now);
        self.connection.poll_event()
    }

    /// Returns everything queued, as text; NUL is shown as `^@`.
    fn written(&mut self) -> String {
        let mut text = String::new();
        while let Some(frame) = self.connection.poll_transmit() {
            text += std::str::from_utf8(&frame).unwrap();
        }
        text.replace('\0', "^@")
    }

    /// Sends a frame that must fail the session; returns the error and the ERROR frame.
    #[track_caller]
    fn failure(&mut self, wire: &str) -> (ServerError, String) {
        let Some(ServerEvent::Failed(error)) = self.receive(wire) else {
            panic!("{wire:?} must fail")
        };
        let written = self.written();
        assert!(written.starts_with("ERROR\nmessage:"), "{written}");
        assert!(self.connection.is_failed());
        assert_eq!(self.receive("SEND\ndestination:/a\n\n\0"), None);
        self.connection.error(ErrorReply::new("a second one"));
        self.connection.receipt("1");
        assert_eq!(self.written(), "");
        (error, written)
    }

    fn subscribe(&mut self, headers: &str) -> Option<ServerEvent> {
        self.receive(&format!("SUBSCRIBE\n{headers}\n\n\0"))
    }
}

fn violation(error: ServerError) -> PeerViolation {
    match error {
        ServerError::PeerViolation(violation) => violation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn connected_has_its_headers_in_order() {
    for (accept, version) in [
        ("accept-version:1.0,1.1,1.2\n", "1.2"),
        ("accept-version:1.0, 1.1\n", "1.1"),
        ("", "1.0"),
    ] {
        for command in ["CONNECT", "STOMP"] {
            let mut server = Server::new(ServerConfig::default().with_server("tramline"));
            let event = server.receive(&format!("{command}\n{accept}\n\0"));
            assert!(matches!(event, Some(ServerEvent::Connect(_))));
            assert!(!server.connection.is_connected());
            server
                .connection
                .accept(Some("ann:b"), Some("s-1"), server.now);
            assert!(server.connection.is_connected());
            assert_eq!(
                server.written(),
                format!(
                    "CONNECTED\nversion:{version}\nheart-beat:10000,10000\nuser-name:ann:b\n\
                     session:s-1\nserver:tramline\n\n^@"
                )
            );
        }
    }
}

#[test]
fn the_passcode_is_in_one_place_and_never_shown() {
    let mut server = Server::new(ServerConfig::default());
    let wire = "CONNECT\nhost:h\nlogin:ann\npasscode:secret\n\n\0";
    let Some(ServerEvent::Connect(connect)) = server.receive(wire) else {
        panic!()
    };
    assert_eq!(connect.passcode.as_deref(), Some("secret"));
    assert_eq!(connect.host.as_deref(), Some("h"));
    assert_eq!(connect.headers.get("passcode"), None);
    assert!(!format!("{connect:?}").contains("secret"));

    let mut server = Server::new(ServerConfig::default());
    server.receive(&wire[..wire.len() - 1]);
    assert!(!format!("{:?}", server.connection).contains("secret"));
}

#[test]
fn no_common_version_names_the_supported_ones() {
    let mut server = Server::new(ServerConfig::default());
    let (error, written) = server.failure("CONNECT\naccept-version:2.0,3\n\n\0");
    let accept = "2.0,3".to_owned();
    assert_eq!(error, PeerIncompatible::NoCommonVersion { accept }.into());
    assert!(written.contains("\nversion:1.0,1.1,1.2\n"), "{written}");
    assert!(written.ends_with("\n\nSupported protocol versions are 1.0 1.1 1.2^@"));
}

#[test]
fn connect_comes_first_and_once() {
    let mut server = Server::new(ServerConfig::default());
    assert_eq!(server.receive("\n\r\n"), None);
    let (error, _) = server.failure("SEND\ndestination:/a\n\n\0");
    let command = Command::Send;
    assert_eq!(violation(error), PeerViolation::NotConnected { command });

    let (error, _) = Server::connected(CONNECT).failure(CONNECT);
    assert_eq!(violation(error), PeerViolation::AlreadyConnected);
}

/// As PyPI's stomper writes it. Where the version is 1.1 or later, blanks belong to the value.
#[test]
fn a_1_0_client_may_pad_its_values() {
    for (accept, login, version) in [
        ("", "guest", Version::V1_0),
        ("accept-version: 1.0\n", "guest", Version::V1_0),
        ("accept-version:1.0,1.1\n", " guest ", Version::V1_1),
        ("accept-version:1.2\n", " guest ", Version::V1_2),
    ] {
        let mut server = Server::new(ServerConfig::default());
        let event = server.receive(&format!(
            "CONNECT\n{accept}login: guest \npasscode: s\n\n\n\0"
        ));
        let Some(ServerEvent::Connect(connect)) = event else {
            panic!("{event:?}")
        };
        assert_eq!(connect.login.as_deref(), Some(login));
        let passcode = if version == Version::V1_0 { "s" } else { " s" };
        assert_eq!(connect.passcode.as_deref(), Some(passcode));
        server.connection.accept(None, None, server.now);
        assert_eq!(server.connection.version(), version);
        let event = server.receive("SEND\ndestination: /queue/a\nreceipt: 1\n\nx\0");
        let Some(ServerEvent::Send(send)) = event else {
            panic!("{event:?}")
        };
        let padded = if version == Version::V1_0 { "" } else { " " };
        assert_eq!(*send.destination, format!("{padded}/queue/a"));
        assert_eq!(send.receipt.as_deref(), Some(&*format!("{padded}1")));
    }
}

#[test]
fn the_error_for_a_malformed_frame_answers_its_receipt() {
    let mut server = Server::connected(CONNECT);
    let (_, written) = server.failure("SEND\ndestination:/a\nbad\nreceipt:7\n\n\0");
    assert!(written.contains("\nreceipt-id:7\n"), "{written}");
}

#[test]
fn a_malformed_heart_beat_is_named() {
    let mut server = Server::new(ServerConfig::default());
    let (error, written) = server.failure("CONNECT\nheart-beat:10s,10s\n\n\0");
    assert!(matches!(violation(error), PeerViolation::HeartBeat(_)));
    assert!(written.contains("`10s,10s`"), "{written}");
}

#[test]
fn frames_behind_connect_wait_for_the_answer() {
    let mut server = Server::new(ServerConfig::default());
    let event = server.receive("CONNECT\n\n\0SEND\ndestination:/a\n\n\0");
    assert!(matches!(event, Some(ServerEvent::Connect(_))));
    assert_eq!(server.connection.poll_event(), None);
    assert!(server.connection.buffered() > 0);
    server.connection.accept(None, None, server.now);
    assert!(matches!(
        server.connection.poll_event(),
        Some(ServerEvent::Send(_))
    ));
}

#[test]
fn a_refused_client_gets_an_error_and_nothing_else() {
    let mut server = Server::new(ServerConfig::default());
    server.receive(CONNECT);
    server
        .connection
        .refuse(ErrorReply::new("wrong: no").detail("log in"));
    server.connection.accept(None, None, server.now);
    assert_eq!(
        server.written(),
        "ERROR\nmessage:wrong\\c no\ncontent-type:text/plain\ncontent-length:6\n\nlog in^@"
    );
    assert!(server.connection.is_failed());
    assert_eq!(server.connection.poll_event(), None);
}

#[test]
fn send_carries_its_headers_body_and_receipt() {
    let mut server = Server::connected(CONNECT);
    let wire = "SEND\ndestination:/a\nreceipt:r\\c1\nx:y\n\nhello\0";
    let Some(ServerEvent::Send(send)) = server.receive(wire) else {
        panic!()
    };
    assert_eq!(send.destination, "/a");
    assert_eq!(send.headers.get("x"), Some("y"));
    assert_eq!(send.body, "hello");
    assert_eq!(send.receipt.as_deref(), Some("r:1"));
    server.connection.receipt("r:1");
    assert_eq!(server.written(), "RECEIPT\nreceipt-id:r\\c1\n\n^@");
}

#[test]
fn a_subscription_has_a_head_until_it_ends() {
    let mut server = Server::connected(CONNECT);
    let Some(ServerEvent::Subscribe(first)) = server.subscribe("id:a\\c0\ndestination:/t") else {
        panic!()
    };
    assert_eq!(
        (&*first.id, first.slot, &*first.destination),
        ("a:0", 0, "/t")
    );
    let head: &[u8] = b"MESSAGE\nsubscription:a\\c0\n";
    assert_eq!(server.connection.message_head(0), Some(head));

    let Some(ServerEvent::Unsubscribe(gone)) =
        server.receive("UNSUBSCRIBE\nid:a\\c0\nreceipt:2\n\n\0")
    else {
        panic!()
    };
    assert_eq!(
        (&*gone.id, gone.slot, gone.receipt.as_deref()),
        ("a:0", 0, Some("2"))
    );
    assert_eq!(server.connection.message_head(0), None);

    // The id is free at once; the slot is never reused.
    let Some(ServerEvent::Subscribe(second)) = server.subscribe("id:a\\c0\ndestination:/t") else {
        panic!()
    };
    assert_eq!(second.slot, 1);
    assert!(server.connection.drop_subscription(1));
    assert!(!server.connection.drop_subscription(1));
    assert_eq!(server.connection.subscription_count(), 0);
}

#[test]
fn a_1_0_client_may_subscribe_without_id() {
    let mut server = Server::connected("CONNECT\n\n\0");
    let Some(ServerEvent::Subscribe(subscribe)) = server.subscribe("destination:/t") else {
        panic!()
    };
    assert_eq!(subscribe.id, "/t");
    let event = server.receive("UNSUBSCRIBE\ndestination:/t\n\n\0");
    assert!(matches!(event, Some(ServerEvent::Unsubscribe(_))));
    let (error, _) = server.failure("UNSUBSCRIBE\n\n\0");
    let (command, header) = (Command::Unsubscribe, "id");
    assert_eq!(
        violation(error),
        PeerViolation::MissingHeader { command, header }
    );
}

#[test]
fn bad_frames_fail_the_session_and_say_what_to_do() {
    for (wire, text, advice) in [
        (
            "SEND\n\nx\0",
            "SEND lacks the header `destination`",
            "add it",
        ),
        (
            "SEND\ndestination:\n\nx\0",
            "SEND lacks the header `destination`",
            "add it",
        ),
        (
            "SUBSCRIBE\nid:1\n\n\0",
            "SUBSCRIBE lacks the header `destination`",
            "add it",
        ),
        (
            "SUBSCRIBE\ndestination:/t\n\n\0",
            "SUBSCRIBE lacks the header `id`",
            "add it",
        ),
        (
            "UNSUBSCRIBE\ndestination:/t\n\n\0",
            "UNSUBSCRIBE lacks the header `id`",
            "add it",
        ),
        (
            "UNSUBSCRIBE\nid:9\n\n\0",
            "no subscription has the id `9`",
            "was given to SUBSCRIBE",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:/t\nack:yes\n\n\0",
            "`yes` is not an ack mode",
            "auto",
        ),
        (
            "MESSAGE\n\n\0",
            "MESSAGE is a frame that only servers send",
            "",
        ),
        (
            "HELLO\n\n\0",
            "`HELLO` is not a STOMP command",
            "CONNECT or SEND",
        ),
    ] {
        let (_, written) = Server::connected(CONNECT).failure(wire);
        assert!(
            written.contains(text) && written.contains(advice),
            "{wire:?}: {written}"
        );
        assert!(!written.contains("receipt-id"), "{written}");
    }
}

#[test]
fn an_error_names_the_receipt_asked_for() {
    let mut server = Server::connected(CONNECT);
    let (_, written) = server.failure("UNSUBSCRIBE\nid:9\nreceipt:r-1\n\n\0");
    assert!(written.contains("\nreceipt-id:r-1\n"), "{written}");
}

#[test]
fn subscription_ids_are_unique_and_limited() {
    let config = ServerConfig::default().with_max_subscriptions(2);
    let mut server = Server::connected_with(config.clone(), CONNECT);
    server.subscribe("id:1\ndestination:/t");
    let (error, _) = server.failure("SUBSCRIBE\nid:1\ndestination:/u\n\n\0");
    let id = "1".to_owned();
    assert_eq!(
        violation(error),
        PeerViolation::DuplicateSubscription { id }
    );
    assert_eq!(server.connection.message_head(0), None);

    let mut server = Server::connected_with(config, CONNECT);
    server.subscribe("id:1\ndestination:/t");
    server.subscribe("id:2\ndestination:/t");
    let (error, _) = server.failure("SUBSCRIBE\nid:3\ndestination:/t\n\n\0");
    assert_eq!(
        violation(error),
        PeerViolation::TooManySubscriptions { limit: 2 }
    );
}

#[test]
fn limits_reach_the_decoder() {
    let limits = Limits::default().with_body(4);
    let config = ServerConfig::default().with_limits(limits);
    let mut server = Server::connected_with(config, CONNECT);
    let (error, _) = server.failure("SEND\ndestination:/a\ncontent-length:5\n");
    let too_large = DecodeError::ContentLengthTooLarge {
        length: "5".into(),
        limit: 4,
    };
    assert_eq!(error, too_large.into());
}

#[test]
fn little_is_held_before_connected() {
    let new = || Server::new(ServerConfig::default().with_max_connect_bytes(100));
    let too_large = PeerViolation::ConnectTooLarge { limit: 100 };

    let mut half = new();
    assert_eq!(half.receive(&format!("CONNECT\nx:{:090}", 0)), None);
    let (error, _) = half.failure("0");
    assert_eq!(violation(error), too_large);
    assert_eq!(half.connection.buffered(), 0);

    let (error, _) = new().failure(&format!("CONNECT\naccept-version:1.2\nx:{:0100}\n\n\0", 0));
    assert_eq!(violation(error), too_large);

    // What follows is taken if the answer comes at once, and not held if it does not.
    let both = format!("{CONNECT}SEND\ndestination:/a\n\n{:0100}\0", 0);
    for comes_at_once in [true, false] {
        let mut server = new();
        let event = server.receive(&both);
        assert!(matches!(event, Some(ServerEvent::Connect(_))), "{event:?}");
        if !comes_at_once {
            server.connection.limit_held();
            assert_eq!(server.connection.buffered(), 0);
        }
        server.connection.accept(None, None, server.now);
        match server.connection.poll_event() {
            Some(ServerEvent::Send(send)) if comes_at_once => assert_eq!(send.body.len(), 100),
            Some(ServerEvent::Failed(error)) if !comes_at_once => {
                assert_eq!(violation(error), too_large);
            }
            event => panic!("{event:?}"),
        }
    }

    let mut connected =
        Server::connected_with(ServerConfig::default().with_max_connect_bytes(100), CONNECT);
    assert_eq!(connected.receive(&format!("SEND\nx:{:0200}", 0)), None);
}

#[test]
fn nothing_counts_after_disconnect_but_its_receipt_is_sent() {
    let mut server = Server::connected(CONNECT);
    server.subscribe("id:1\ndestination:/t");
    let event = server.receive("DISCONNECT\nreceipt:77\n\n\0SEND\ndestination:/a\n\n\0");
    let receipt = Some("77".into());
    assert_eq!(event, Some(ServerEvent::Disconnect(Disconnect { receipt })));
    assert_eq!(server.connection.poll_event(), None);
    assert_eq!(server.receive("GARBAGE\n"), None);
    server.connection.receipt("77");
    assert_eq!(server.written(), "RECEIPT\nreceipt-id:77\n\n^@");
    assert!(!server.connection.is_connected() && !server.connection.is_failed());
    assert_eq!(server.connection.next_timeout(), None);
    assert_eq!(server.connection.message_head(0), None);
}

#[test]
fn heart_beats_follow_what_both_agreed_on() {
    let connect = "CONNECT\naccept-version:1.1\nheart-beat:20000, 5000\n\n\0";
    let config = ServerConfig::default().with_min_silence(Duration::ZERO);
    let mut server = Server::connected_with(config, connect);
    let start = server.now;
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(server.connection.next_timeout(), Some(at(9)));
    server.connection.handle_timeout(at(8));
    assert_eq!(server.written(), "");
    server.connection.handle_timeout(at(9));
    assert_eq!(server.written(), "\n");
    server.connection.wrote(at(15));
    assert_eq!(server.connection.next_timeout(), Some(at(24)));

    // The client guarantees a sign of life every 20 s: it is dead after 60.
    server.connection.wrote(at(55));
    assert_eq!(server.connection.next_timeout(), Some(at(60)));
    server.connection.handle_timeout(at(60));
    let silent_for = Duration::from_secs(60);
    let gone = ServerError::HeartBeatTimeout { silent_for };
    assert_eq!(
        server.connection.poll_event(),
        Some(ServerEvent::Failed(gone))
    );
    assert_eq!(server.connection.poll_event(), None);
    assert!(
        server
            .written()
            .starts_with("ERROR\nmessage:nothing was received for 60s")
    );
    assert_eq!(server.connection.next_timeout(), None);
}

#[test]
fn a_paused_client_does_not_time_out() {
    let mut server = Server::connected("CONNECT\nheart-beat:1000,0\n\n\0");
    let start = server.now;
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(server.connection.next_timeout(), Some(at(90)));
    server.connection.pause_reading(true, at(1));
    assert_eq!(server.connection.next_timeout(), None);
    server.connection.pause_reading(false, at(100));
    assert_eq!(server.connection.next_timeout(), Some(at(190)));
}

#[test]
fn an_idle_connection_is_small_and_holds_no_buffer() {
    let size = size_of::<ServerConnection>();
    assert!(size <= 248, "{size} bytes");

    let mut server = Server::connected(CONNECT);
    let piece = Bytes::from(b"SEND\ndestination:/a\n\nx\0\n".to_vec());
    server.connection.receive(piece.clone(), server.now);
    while server.connection.poll_event().is_some() {}
    assert!(piece.is_unique());
    assert_eq!(server.connection.buffered(), 0);
}
