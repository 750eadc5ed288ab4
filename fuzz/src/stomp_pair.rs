//! A STOMP client and a server with a line between them that loses nothing and delivers when it likes.
//!
//! First line: the versions that the client offers (`0` to `7`: 1 for 1.0, 2 for 1.1, 4 for 1.2, added up), then four
//! heart-beat intervals (`0` none, `1` one second, `2` three seconds: the client's two, the server's two), then the
//! lengths of the pieces that are delivered. Then lines:
//!
//! | | |
//! |---|---|
//! | `s` text, `u` number | the client subscribes, and ends one of its subscriptions |
//! | `m` text, `d` | it sends, it disconnects |
//! | `b` text | the server sends a message to each subscription |
//! | `c`, `v`, `.` | a piece goes to the server, to the client, everything goes both ways |
//! | `t` milliseconds | time passes, and nothing is delivered |
//! | `T` milliseconds | time passes, and everything is delivered at once |
//! | `p`, `P` | the server stops reading, and reads on |
//!
//! Held to be true:
//!
//! - The version is the best that the client offers.
//! - Every message arrives as it was sent, in order, except for what its version cannot express.
//! - Every receipt asked for is answered, in order.
//! - A session fails when a peer was silent for longer than three times what was agreed, and for no other reason.
//!   While both sides are driven, it never fails.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use tramline_stomp::{
    ByteString, Bytes, ClientConfig, ClientConnection, ClientError, ClientEvent, Headers,
    HeartBeat, Limits, READ_TOLERANCE, ServerConfig, ServerConnection, ServerError, ServerEvent,
    Version, encode_message_tail,
};

use crate::script::{self, Pieces};

/// Tries one input.
pub fn run(data: &[u8]) {
    let (mut head, rest) = script::head(data);
    let versions = head.option(8);
    let offered = Version::ALL.into_iter().zip([1, 2, 4]);
    let offered: Vec<Version> = offered
        .filter(|(_, bit)| versions & bit > 0)
        .map(|(version, _)| version)
        .collect();
    let mut interval = || [0, 1000, 3000][usize::from(head.option(3))];
    let mut heart_beat = || HeartBeat {
        send: interval(),
        receive: interval(),
    };
    let (ours, theirs) = (heart_beat(), heart_beat());

    let mut pair = Pair::new(offered, ours, theirs, head.pieces());
    for (letter, argument) in script::lines(rest) {
        pair.apply(letter, argument);
    }
    pair.finish();
}

struct Pair {
    client: ClientConnection,
    server: ServerConnection,
    version: Version,
    now: Instant,
    to_server: Line,
    to_client: Line,
    client_hears: Hearing,
    server_hears: Hearing,
    /// What each side still has to see, in order.
    sent: VecDeque<Sent>,
    published: VecDeque<(ByteString, String)>,
    receipts: VecDeque<String>,
    asked: usize,
    ids: Vec<ByteString>,
    /// What the server knows: slots and ids.
    slots: Vec<(u32, ByteString)>,
    disconnected: bool,
    failed: bool,
}

/// What is on its way to one side.
struct Line {
    bytes: VecDeque<u8>,
    /// Its own: with common ones, one side could get all the pieces and the other those of no length.
    pieces: Pieces,
}

impl Line {
    fn new(pieces: Pieces) -> Self {
        Self {
            bytes: VecDeque::new(),
            pieces,
        }
    }

    fn next_piece(&mut self) -> Bytes {
        let length = self.pieces.length().min(self.bytes.len());
        self.bytes.drain(..length).collect()
    }
}

#[derive(PartialEq, Debug)]
enum Sent {
    Message(String),
    Subscribe(ByteString, String),
    Unsubscribe(ByteString),
    Disconnect,
}

/// What one side may take for too long a silence.
struct Hearing {
    tolerance: Option<Duration>,
    last: Instant,
    open: bool,
    paused: bool,
}

impl Hearing {
    fn new(wanted: u32, guaranteed: u32, now: Instant) -> Self {
        let agreed = wanted > 0 && guaranteed > 0;
        let millis = u64::from(wanted.max(guaranteed)) * u64::from(READ_TOLERANCE);
        Self {
            tolerance: agreed.then(|| Duration::from_millis(millis)),
            last: now,
            open: false,
            paused: false,
        }
    }

    /// How long the silence is, if it is too long.
    fn too_long(&self, now: Instant) -> Option<Duration> {
        let silent_for = now - self.last;
        let counts = self.open && !self.paused;
        self.tolerance
            .filter(|tolerance| counts && silent_for >= *tolerance)
            .map(|_| silent_for)
    }
}

impl Pair {
    fn new(offered: Vec<Version>, client: HeartBeat, server: HeartBeat, pieces: Pieces) -> Self {
        let now = Instant::now();
        let limits = Limits::default().with_header_line(1 << 16);
        let version = offered.iter().copied().max().unwrap_or(Version::V1_0);
        let client_config = ClientConfig::new("host")
            .with_versions(offered)
            .with_heart_beat(client)
            .with_limits(limits)
            .with_login("ann", "secret");
        let server_config = ServerConfig::default()
            .with_heart_beat(server)
            .with_limits(limits);
        Self {
            client: ClientConnection::new(client_config, now),
            server: ServerConnection::new(Arc::new(server_config), now),
            version,
            now,
            to_server: Line::new(pieces.clone()),
            to_client: Line::new(pieces),
            client_hears: Hearing::new(client.receive, server.send, now),
            server_hears: Hearing::new(server.receive, client.send, now),
            sent: VecDeque::new(),
            published: VecDeque::new(),
            receipts: VecDeque::new(),
            asked: 0,
            ids: Vec::new(),
            slots: Vec::new(),
            disconnected: false,
            failed: false,
        }
    }

    fn apply(&mut self, letter: u8, argument: &[u8]) {
        match letter {
            b's' | b'u' | b'm' | b'd' if self.disconnected || self.failed => {}
            b's' => {
                let destination = format!("/{}", script::text(argument));
                let receipt = self.ask();
                let headers = Headers::from_iter([("note", destination.clone())]);
                let id = self.client.subscribe(&destination, headers, Some(&receipt));
                self.ids.push(id.clone());
                let destination = self.expressed(&destination);
                self.sent.push_back(Sent::Subscribe(id, destination));
            }
            b'u' if !self.ids.is_empty() => {
                let (number, _) = script::number(argument);
                let id = self.ids.remove(number as usize % self.ids.len());
                let receipt = self.ask();
                self.client.unsubscribe(&id, Some(&receipt));
                self.sent.push_back(Sent::Unsubscribe(id));
            }
            b'm' => {
                let text = script::text(argument);
                let receipt = self.ask();
                let headers = Headers::from_iter([("note", text.clone())]);
                let destination = format!("/{text}");
                self.client
                    .send(&destination, headers, text.clone(), Some(&receipt));
                self.sent.push_back(Sent::Message(text));
            }
            b'd' => {
                let receipt = self.ask();
                self.client.disconnect(Some(&receipt));
                self.sent.push_back(Sent::Disconnect);
                self.disconnected = true;
            }
            b'b' => self.publish(&script::text(argument)),
            b'c' => self.move_to_server(),
            b'v' => self.move_to_client(),
            b'.' => self.drive(),
            b't' => {
                self.now += script::millis(argument);
                self.timeouts();
            }
            b'T' => self.run_for(script::millis(argument).min(Duration::from_secs(30))),
            b'p' | b'P' => {
                let paused = letter == b'p';
                self.server.pause_reading(paused, self.now);
                if self.server_hears.paused && !paused {
                    self.server_hears.last = self.now;
                }
                self.server_hears.paused = paused;
            }
            _ => {}
        }
    }

    fn finish(&mut self) {
        self.apply(b'P', b"");
        self.drive();
        if self.failed {
            return;
        }
        assert!(self.client.is_connected(), "the session never opened");
        assert!(self.receipts.is_empty(), "unanswered: {:?}", self.receipts);
        assert!(self.sent.is_empty(), "not received: {:?}", self.sent);
        assert!(self.published.is_empty(), "lost: {:?}", self.published);
    }

    /// Invents a receipt with characters that the version must treat well.
    fn ask(&mut self) -> String {
        self.asked += 1;
        let receipt = format!("{}:\\ü", self.asked);
        self.receipts.push_back(receipt.clone());
        receipt
    }

    /// What the version makes of a header's value.
    fn expressed(&self, text: &str) -> String {
        let lost: &[char] = match self.version {
            Version::V1_0 => &['\n', '\r', '\0'],
            Version::V1_1 => &['\r', '\0'],
            Version::V1_2 => &['\0'],
        };
        text.replace(lost, " ")
    }

    fn publish(&mut self, text: &str) {
        self.transmit();
        for (slot, id) in &self.slots {
            let Some(head) = self.server.message_head(*slot) else {
                panic!("subscription {slot} has no head")
            };
            let mut message = head.to_vec();
            let headers = Headers::from_iter([("note", text)]);
            let version = self.server.version();
            encode_message_tail(version, "m", "/d", &headers, text.as_bytes(), &mut message);
            self.to_client.bytes.extend(message);
            self.server.wrote(self.now);
            self.published.push_back((id.clone(), text.to_owned()));
        }
    }

    /// Both sides write what they have.
    fn transmit(&mut self) {
        while let Some(bytes) = self.client.poll_transmit() {
            self.to_server.bytes.extend(bytes);
            self.client.wrote(self.now);
        }
        while let Some(bytes) = self.server.poll_transmit() {
            self.to_client.bytes.extend(bytes);
            self.server.wrote(self.now);
        }
    }

    fn move_to_server(&mut self) {
        self.transmit();
        if self.server_hears.paused {
            return;
        }
        let piece = self.to_server.next_piece();
        if !piece.is_empty() {
            self.server.receive(piece, self.now);
            self.server_hears.last = self.now;
        }
        self.server_events();
    }

    fn move_to_client(&mut self) {
        self.transmit();
        let piece = self.to_client.next_piece();
        if !piece.is_empty() {
            self.client.receive(piece, self.now);
            self.client_hears.last = self.now;
        }
        self.client_events();
    }

    /// Delivers until there is nothing on its way.
    fn drive(&mut self) {
        loop {
            self.server_events();
            self.client_events();
            self.transmit();
            let unread = !self.to_server.bytes.is_empty() && !self.server_hears.paused;
            if self.to_client.bytes.is_empty() && !unread {
                return;
            }
            self.move_to_server();
            self.move_to_client();
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.drive();
        let driven = !self.failed && !self.disconnected && !self.server_hears.paused;
        loop {
            let client = self.client.next_timeout();
            let timeouts = client.into_iter().chain(self.server.next_timeout());
            let Some(next) = timeouts.min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.timeouts();
            self.drive();
        }
        self.now = end;
        assert!(!(driven && self.failed), "failed while both were driven");
    }

    fn timeouts(&mut self) {
        let gone = [
            self.client_hears.too_long(self.now),
            self.server_hears.too_long(self.now),
        ];
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        // Each fails at once, and says so with the next event.
        assert_eq!(
            gone[0].is_some(),
            self.client_hears.open && !self.client.is_connected()
        );
        assert_eq!(
            gone[1].is_some(),
            self.server_hears.open && self.server.is_failed()
        );
        if let [Some(silent_for), _] = gone {
            let expected = ClientError::HeartBeatTimeout { silent_for };
            assert_eq!(
                self.client.poll_event(),
                Some(ClientEvent::Failed(expected))
            );
            self.client_hears.open = false;
            self.failed = true;
        }
        if let [_, Some(silent_for)] = gone {
            let expected = ServerError::HeartBeatTimeout { silent_for };
            assert_eq!(
                self.server.poll_event(),
                Some(ServerEvent::Failed(expected))
            );
            self.server_hears.open = false;
            self.slots.clear();
            self.failed = true;
        }
    }

    fn server_events(&mut self) {
        while let Some(event) = self.server.poll_event() {
            let (seen, receipt) = match event {
                ServerEvent::Connect(connect) => {
                    assert_eq!(connect.passcode.as_deref(), Some("secret"));
                    assert_eq!(self.server.version(), self.version);
                    self.server.accept(Some("ann:é"), None, self.now);
                    self.server_hears.open = true;
                    self.server_hears.last = self.now;
                    continue;
                }
                ServerEvent::Send(send) => {
                    let Ok(text) = String::from_utf8(send.body.to_vec()) else {
                        panic!("the body changed: {send:?}")
                    };
                    let note = self.expressed(&text);
                    assert_eq!(send.headers.get("note"), Some(&*note));
                    assert_eq!(*send.destination, format!("/{note}"));
                    (Sent::Message(text), send.receipt)
                }
                ServerEvent::Subscribe(subscribe) => {
                    self.slots.push((subscribe.slot, subscribe.id.clone()));
                    let destination = subscribe.destination.to_string();
                    assert_eq!(subscribe.headers.get("note"), Some(&*destination));
                    (
                        Sent::Subscribe(subscribe.id, destination),
                        subscribe.receipt,
                    )
                }
                ServerEvent::Unsubscribe(unsubscribe) => {
                    self.slots.retain(|(slot, _)| *slot != unsubscribe.slot);
                    (Sent::Unsubscribe(unsubscribe.id), unsubscribe.receipt)
                }
                ServerEvent::Disconnect(disconnect) => {
                    self.slots.clear();
                    self.server_hears.open = false;
                    (Sent::Disconnect, disconnect.receipt)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(self.sent.pop_front(), Some(seen));
            self.server.receipt(&receipt.expect("all ask for one"));
        }
    }

    fn client_events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::Connected(connected) => {
                    assert_eq!(connected.version, self.version);
                    assert_eq!(connected.user_name.as_deref(), Some("ann:é"));
                    self.client_hears.open = true;
                }
                ClientEvent::Receipt(receipt) => {
                    assert_eq!(self.receipts.pop_front().as_deref(), Some(&*receipt));
                }
                ClientEvent::Message(message) => {
                    let (id, text) = self.published.pop_front().expect("it was published");
                    assert_eq!(message.subscription, id);
                    assert_eq!(message.body, text.as_bytes());
                    let note = self.expressed(&text);
                    assert_eq!(message.headers.get("note"), Some(&*note));
                }
                ClientEvent::Error(frame) => {
                    assert!(self.server.is_failed(), "{frame:?}");
                    self.client_hears.open = false;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
