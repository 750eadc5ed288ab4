//! A client and a server on a simulated line with a simulated clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tramline_stomp::{
    AckMode, ClientConfig, ClientConnection, ClientError, ClientEvent, DeliveryId, ErrorReply,
    Headers, HeartBeat, Message, NotAcknowledgeable, ServerConfig, ServerConnection, ServerError,
    ServerEvent, Version, encode_message_tail,
};

struct Pair {
    client: ClientConnection,
    server: ServerConnection,
    start: Instant,
    now: Instant,
    /// Each write is cut into pieces of this many bytes.
    piece: usize,
    /// While the line is cut, all writes are lost.
    line_cut: bool,
    to_client: Vec<ClientEvent>,
    to_server: Vec<ServerEvent>,
    /// Line feeds that came from the client and from the server.
    heart_beats: (usize, usize),
}

impl Pair {
    fn new(client: HeartBeat, server: HeartBeat) -> Self {
        Self::with(ClientConfig::new("h").with_heart_beat(client), server)
    }

    fn with(client: ClientConfig, server: HeartBeat) -> Self {
        let now = Instant::now();
        let config = ServerConfig::default()
            .with_heart_beat(server)
            .with_min_silence(Duration::ZERO);
        Self {
            client: ClientConnection::new(client, now),
            server: ServerConnection::new(Arc::new(config), now),
            start: now,
            now,
            piece: 7,
            line_cut: false,
            to_client: Vec::new(),
            to_server: Vec::new(),
            heart_beats: (0, 0),
        }
    }

    fn connected(client: HeartBeat, server: HeartBeat) -> Self {
        Self::new(client, server).connect()
    }

    /// A session of this version, without heart-beats.
    fn of(version: Version) -> Self {
        let client = ClientConfig::new("h")
            .with_heart_beat(HeartBeat::NONE)
            .with_versions(vec![version]);
        Self::with(client, HeartBeat::NONE).connect()
    }

    fn connect(mut self) -> Self {
        let pair = &mut self;
        pair.drive();
        assert!(matches!(pair.to_server[..], [ServerEvent::Connect(_)]));
        pair.server.accept(Some("ann"), Some("s"), pair.now);
        pair.drive();
        assert!(matches!(pair.to_client[..], [ClientEvent::Connected(_)]));
        pair.to_client.clear();
        pair.to_server.clear();
        self
    }

    /// Returns the server's events since the last call.
    fn seen(&mut self) -> Vec<ServerEvent> {
        self.drive();
        std::mem::take(&mut self.to_server)
    }

    /// The server delivers a message; returns it as the client received it.
    fn message(&mut self, slot: u32, tag: u32, redeliveries: u32) -> Message {
        let mut wire = Vec::new();
        assert!(self.server.tagged_head(slot, tag, redeliveries, &mut wire));
        let id = format!("m:{tag}");
        // Message headers cannot override those of the head.
        let forged = Headers::from_iter([("ack", "9-9"), ("redelivered", "true")]);
        let version = self.server.version();
        encode_message_tail(version, &id, "/queue/a", &forged, b"job", &mut wire);
        self.deliver(&wire);
        self.drive();
        match self.to_client.pop() {
            Some(ClientEvent::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    /// Moves bytes and events until both sides are idle.
    fn drive(&mut self) {
        loop {
            let mut idle = true;
            while let Some(bytes) = self.client.poll_transmit() {
                idle = false;
                self.client.wrote(self.now);
                self.heart_beats.0 += usize::from(&*bytes == b"\n");
                if !self.line_cut {
                    for piece in bytes.chunks(self.piece) {
                        self.server.receive(Bytes::copy_from_slice(piece), self.now);
                    }
                }
            }
            while let Some(bytes) = self.server.poll_transmit() {
                idle = false;
                self.server.wrote(self.now);
                self.heart_beats.1 += usize::from(&*bytes == b"\n");
                self.deliver(&bytes);
            }
            while let Some(event) = self.server.poll_event() {
                idle = false;
                self.to_server.push(event);
            }
            while let Some(event) = self.client.poll_event() {
                idle = false;
                self.to_client.push(event);
            }
            if idle {
                return;
            }
        }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        if !self.line_cut {
            for piece in bytes.chunks(self.piece) {
                self.client.receive(Bytes::copy_from_slice(piece), self.now);
            }
        }
    }

    /// Lets the clock run from timeout to timeout.
    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let client = self.client.next_timeout();
            let Some(next) = client.into_iter().chain(self.server.next_timeout()).min() else {
                break;
            };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            self.drive();
        }
        self.now = end;
    }
}

fn beat(send: u32, receive: u32) -> HeartBeat {
    HeartBeat { send, receive }
}

#[test]
fn a_whole_session() {
    for piece in [1, 2, 1000] {
        let mut pair = Pair::connected(HeartBeat::NONE, HeartBeat::NONE);
        pair.piece = piece;
        let id = pair
            .client
            .subscribe("/topic/a", AckMode::Auto, Headers::new(), Some("r-1"));
        pair.drive();
        let [ServerEvent::Subscribe(subscribe)] = &pair.to_server[..] else {
            panic!("{:?}", pair.to_server)
        };
        let (slot, receipt) = (subscribe.slot, subscribe.receipt.clone().unwrap());
        assert_eq!(subscribe.id, id);
        pair.server.receipt(&receipt);

        let mut message = pair.server.message_head(slot).unwrap().to_vec();
        let headers = Headers::from_iter([("note", "a:b\r\n")]);
        encode_message_tail(
            Version::V1_2,
            "m",
            "/topic/a",
            &headers,
            b"\0\n",
            &mut message,
        );
        pair.drive();
        pair.deliver(&message);
        pair.drive();
        let [ClientEvent::Receipt(receipt), ClientEvent::Message(message)] = &pair.to_client[..]
        else {
            panic!("{:?}", pair.to_client)
        };
        assert_eq!(receipt, "r-1");
        assert_eq!(message.subscription, id);
        assert_eq!(message.headers.get("note"), Some("a:b\r\n"));
        assert_eq!(message.body, b"\0\n"[..]);

        pair.to_server.clear();
        pair.client.unsubscribe(&id, None);
        pair.client.disconnect(Some("bye"));
        pair.drive();
        assert!(matches!(
            pair.to_server[..],
            [ServerEvent::Unsubscribe(_), ServerEvent::Disconnect(_)]
        ));
        pair.server.receipt("bye");
        pair.drive();
        assert_eq!(
            pair.to_client.last(),
            Some(&ClientEvent::Receipt("bye".into()))
        );
    }
}

/// The id of the delivery by `Pair::message` in a session of this version.
fn named(version: Version, slot: u32, tag: u32) -> DeliveryId {
    let message_id = format!("m:{tag}").into();
    match version {
        Version::V1_0 => DeliveryId::Message {
            slot: None,
            message_id,
        },
        Version::V1_1 => DeliveryId::Message {
            slot: Some(slot),
            message_id,
        },
        Version::V1_2 => DeliveryId::Tag { slot, tag },
    }
}

#[test]
fn acknowledgements_name_their_delivery_in_every_version() {
    for version in Version::ALL {
        for mode in [AckMode::Client, AckMode::ClientIndividual] {
            let mut pair = Pair::of(version);
            let subscribe = |pair: &mut Pair, mode| {
                pair.client
                    .subscribe("/queue/a", mode, Headers::new(), None)
            };
            subscribe(&mut pair, AckMode::Auto);
            subscribe(&mut pair, mode);
            let [_, ServerEvent::Subscribe(subscribe)] = &pair.seen()[..] else {
                panic!()
            };
            let slot = subscribe.slot;
            assert_eq!(subscribe.ack, mode);

            let first = pair.message(slot, 7, 0);
            assert!(!first.redelivered());
            assert_eq!(first.ack.is_some(), version == Version::V1_2);
            let again = pair.message(slot, u32::MAX, 2);
            assert!(again.redelivered());
            assert_eq!(again.delivery_count(), Some(2));

            let headers = Headers::from_iter([("why", "a:b")]);
            pair.client.ack(&first, headers, Some("r")).unwrap();
            let [ServerEvent::Ack(ack)] = &pair.seen()[..] else {
                panic!()
            };
            assert_eq!(ack.delivery, named(version, slot, 7));
            assert_eq!(ack.headers.get("why"), Some("a:b"));
            assert_eq!(ack.receipt.as_deref(), Some("r"));
            assert_eq!(ack.transaction, None);

            let nack = pair.client.nack(&again, Headers::new(), None);
            if version == Version::V1_0 {
                assert_eq!(nack, Err(NotAcknowledgeable::NackIn1_0));
                assert_eq!(pair.seen(), []);
            } else {
                assert_eq!(nack, Ok(()));
                let [ServerEvent::Nack(nack)] = &pair.seen()[..] else {
                    panic!()
                };
                assert_eq!(nack.delivery, named(version, slot, u32::MAX));
            }
        }
    }
}

#[test]
fn an_auto_subscription_has_nothing_to_acknowledge() {
    let subscribed = |version| {
        let mut pair = Pair::of(version);
        pair.client
            .subscribe("/topic/a", AckMode::Auto, Headers::new(), None);
        pair.seen();
        let message = pair.message(0, 1, 0);
        (pair, message)
    };
    let (mut pair, message) = subscribed(Version::V1_2);
    let ack = pair.client.ack(&message, Headers::new(), None);
    assert_eq!(ack, Err(NotAcknowledgeable::NoAckHeader));
    assert_eq!(pair.seen(), []);

    // A 1.1 client cannot tell from the message.
    let (mut pair, message) = subscribed(Version::V1_1);
    pair.client.ack(&message, Headers::new(), None).unwrap();
    assert!(matches!(pair.seen()[..], [ServerEvent::Failed(_)]));
    let [ClientEvent::Error(error)] = &pair.to_client[..] else {
        panic!("{:?}", pair.to_client)
    };
    let text = error.headers.get("message").unwrap();
    assert!(text.contains("ack:client-individual"), "{text}");
}

#[test]
fn transactions_hold_sends_and_acknowledgements_in_every_version() {
    for version in Version::ALL {
        let mut pair = Pair::of(version);
        pair.client
            .subscribe("/queue/a", AckMode::Client, Headers::new(), None);
        pair.seen();
        let message = pair.message(0, 1, 0);

        let kept = pair.client.begin(Some("r-1"));
        let lost = pair.client.begin(None);
        pair.client
            .send_in(&kept, "/queue/b", Headers::new(), "x", Some("r-2"));
        let ack = pair.client.ack_in(&kept, &message, Headers::new(), None);
        assert_eq!(ack, Ok(()));
        let nack = pair.client.nack_in(&lost, &message, Headers::new(), None);
        assert_eq!(nack.is_ok(), version > Version::V1_0);
        pair.client.abort(&lost, None);
        pair.client.commit(&kept, Some("r-3"));

        let shown = |event| match event {
            ServerEvent::Begin(begin) => ("begin", Some(begin.id), begin.receipt),
            ServerEvent::Send(send) => ("send", send.transaction, send.receipt),
            ServerEvent::Ack(ack) => ("ack", ack.transaction, ack.receipt),
            ServerEvent::Nack(nack) => ("nack", nack.transaction, nack.receipt),
            ServerEvent::Commit(commit) => ("commit", Some(commit.id), commit.receipt),
            ServerEvent::Abort(abort) => ("abort", Some(abort.id), abort.receipt),
            other => panic!("{other:?}"),
        };
        let seen: Vec<_> = pair.seen().into_iter().map(shown).collect();
        let mut expected = vec![
            ("begin", Some(kept.clone()), Some("r-1".into())),
            ("begin", Some(lost.clone()), None),
            ("send", Some(kept.clone()), Some("r-2".into())),
            ("ack", Some(kept.clone()), None),
            ("nack", Some(lost.clone()), None),
            ("abort", Some(lost), None),
            ("commit", Some(kept), Some("r-3".into())),
        ];
        expected.retain(|(command, ..)| *command != "nack" || version > Version::V1_0);
        assert_eq!(seen, expected);
        assert_eq!(pair.server.transaction_count(), 0);
        assert_eq!(pair.to_client, []);
    }
}

#[test]
fn a_refusal_reaches_the_client() {
    let mut pair = Pair::new(HeartBeat::NONE, HeartBeat::NONE);
    pair.drive();
    pair.server.refuse(ErrorReply::new("bad login: try again"));
    pair.drive();
    let [ClientEvent::Error(frame)] = &pair.to_client[..] else {
        panic!("{:?}", pair.to_client)
    };
    assert_eq!(frame.headers.get("message"), Some("bad login: try again"));
}

#[test]
fn heart_beats_keep_an_idle_session_alive() {
    let mut pair = Pair::connected(beat(10_000, 4_000), beat(5_000, 20_000));
    pair.run_for(Duration::from_secs(100));
    assert_eq!((&pair.to_client, &pair.to_server), (&vec![], &vec![]));
    // The client after 90 % of max(10, 20) seconds, the server after that of max(5, 4).
    assert_eq!(pair.heart_beats, (5, 22));
}

#[test]
fn no_heart_beats_unless_both_sides_agree() {
    let mut pair = Pair::connected(beat(0, 0), beat(10_000, 10_000));
    pair.run_for(Duration::from_secs(1_000));
    assert_eq!(pair.heart_beats, (0, 0));
    assert_eq!(pair.server.next_timeout(), None);
}

#[test]
fn a_dead_line_is_noticed_after_three_intervals() {
    let mut pair = Pair::connected(beat(10_000, 10_000), beat(10_000, 10_000));
    pair.line_cut = true;
    pair.run_for(Duration::from_millis(29_999));
    assert_eq!((&pair.to_client, &pair.to_server), (&vec![], &vec![]));
    pair.run_for(Duration::from_millis(1));
    let silent_for = Duration::from_secs(30);
    assert_eq!(pair.now - pair.start, silent_for);
    let gone = ServerError::HeartBeatTimeout { silent_for };
    assert_eq!(pair.to_server, [ServerEvent::Failed(gone)]);
    let gone = ClientError::HeartBeatTimeout { silent_for };
    assert_eq!(pair.to_client, [ClientEvent::Failed(gone)]);
}

#[test]
fn traffic_replaces_heart_beats() {
    let mut pair = Pair::connected(beat(10_000, 0), beat(0, 10_000));
    for _ in 0..20 {
        pair.run_for(Duration::from_secs(8));
        pair.client.send("/app/a", Headers::new(), "x", None);
        pair.drive();
    }
    assert_eq!(pair.heart_beats, (0, 0));
    assert_eq!(pair.to_server.len(), 20);
}
