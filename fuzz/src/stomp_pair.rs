//! A STOMP client and a server with a line between them that loses nothing and delivers when it likes.
//!
//! First line: the versions that the client offers (`0` to `7`: 1 for 1.0, 2 for 1.1, 4 for 1.2, added up), then four
//! heart-beat intervals (`0` none, `1` one second, `2` three seconds: the client's two, the server's two), then the
//! lengths of the pieces that are delivered. Then lines:
//!
//! | | |
//! |---|---|
//! | `s` text, `i` text, `k` text | the client subscribes, with ack auto, client-individual, client |
//! | `u` number | it ends one of its subscriptions |
//! | `y` number, `n` number | it acknowledges one of the messages that it holds, positively or not |
//! | `m` text, `d` | it sends, it disconnects |
//! | `B`, `C` number, `D` number | it begins a transaction, commits one, aborts one |
//! | `I`, `O` | what it sends and acknowledges from now on is in its newest transaction, is in none |
//! | `b` text | the server sends a message to each subscription |
//! | `r` text | the same, delivered twice before |
//! | `c`, `v`, `.` | a piece goes to the server, to the client, everything goes both ways |
//! | `t` milliseconds | time passes, and nothing is delivered |
//! | `T` milliseconds | time passes, and everything is delivered at once |
//! | `p`, `P` | the server stops reading, and reads on |
//!
//! Held to be true:
//!
//! - The version is the best that the client offers.
//! - Every message arrives as it was sent, in order, except for what its version cannot express.
//! - Every acknowledgement names the delivery that the client meant, in each version's own way; every transaction is
//!   the one that it meant.
//! - Every receipt asked for is answered, in order.
//! - A session fails when a peer was silent for longer than three times what was agreed, and for no other reason.
//!   While both sides are driven, it never fails.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use tramline_stomp::{
    AckMode, Acknowledge, ByteString, Bytes, ClientConfig, ClientConnection, ClientError,
    ClientEvent, Delivery, DeliveryId, Headers, HeartBeat, Limits, Message, NotAcknowledgeable,
    READ_TOLERANCE, ServerConfig, ServerConnection, ServerError, ServerEvent, Version,
    encode_message_tail,
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
    published: VecDeque<Published>,
    /// What the client may acknowledge.
    held: Vec<Held>,
    next_tag: u32,
    /// The open transactions, and whether the newest is in use.
    open: Vec<ByteString>,
    inside: bool,
    receipts: VecDeque<String>,
    asked: usize,
    ids: Vec<ByteString>,
    /// What the server knows: slots and ids.
    slots: Vec<(u32, ByteString, AckMode)>,
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
    Message(String, Option<ByteString>),
    Subscribe(ByteString, String, AckMode),
    Unsubscribe(ByteString),
    Ack(DeliveryId, Option<ByteString>),
    Nack(DeliveryId, Option<ByteString>),
    Begin(ByteString),
    Commit(ByteString),
    Abort(ByteString),
    Disconnect,
}

/// A message on its way to a subscription.
#[derive(Debug)]
struct Published {
    subscription: ByteString,
    slot: u32,
    ack: AckMode,
    tag: u32,
    redeliveries: u32,
    text: String,
}

/// A message that came, and what the server is to hear if it is acknowledged.
struct Held {
    subscription: ByteString,
    delivery: Delivery,
    id: DeliveryId,
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
            // The times of a pair are the agreed ones.
            .with_min_silence(Duration::ZERO)
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
            held: Vec::new(),
            next_tag: u32::MAX - 3,
            open: Vec::new(),
            inside: false,
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
            b's' | b'i' | b'k' | b'u' | b'y' | b'n' | b'm' | b'd' | b'B' | b'C' | b'D'
                if self.disconnected || self.failed => {}
            b's' | b'i' | b'k' => {
                let ack = match letter {
                    b's' => AckMode::Auto,
                    b'i' => AckMode::ClientIndividual,
                    _ => AckMode::Client,
                };
                let destination = format!("/{}", script::text(argument));
                let receipt = self.ask();
                let headers = Headers::from_iter([("note", destination.clone())]);
                let id = self
                    .client
                    .subscribe(&destination, ack, headers, Some(&receipt));
                self.ids.push(id.clone());
                let destination = self.expressed(&destination);
                self.sent.push_back(Sent::Subscribe(id, destination, ack));
            }
            b'u' if !self.ids.is_empty() => {
                let (number, _) = script::number(argument);
                let id = self.ids.remove(number as usize % self.ids.len());
                self.held.retain(|held| held.subscription != id);
                let receipt = self.ask();
                self.client.unsubscribe(&id, Some(&receipt));
                self.sent.push_back(Sent::Unsubscribe(id));
            }
            b'm' => {
                let text = script::text(argument);
                let receipt = self.ask();
                let headers = Headers::from_iter([("note", text.clone())]);
                let destination = format!("/{text}");
                let (body, receipt) = (text.clone(), Some(&*receipt));
                let transaction = self.transaction();
                match &transaction {
                    None => self.client.send(&destination, headers, body, receipt),
                    Some(within) => {
                        self.client
                            .send_in(within, &destination, headers, body, receipt);
                    }
                }
                self.sent.push_back(Sent::Message(text, transaction));
            }
            b'y' | b'n' if !self.held.is_empty() => {
                let number = script::number(argument).0 as usize % self.held.len();
                self.acknowledge(letter == b'y', number);
            }
            // As many as the server lets a session have.
            b'B' if self.open.len() < 16 => {
                let receipt = self.ask();
                let id = self.client.begin(Some(&receipt));
                self.open.push(id.clone());
                self.sent.push_back(Sent::Begin(id));
            }
            b'C' | b'D' if !self.open.is_empty() => {
                let number = script::number(argument).0 as usize % self.open.len();
                let id = self.open.remove(number);
                let receipt = self.ask();
                self.sent.push_back(if letter == b'C' {
                    self.client.commit(&id, Some(&receipt));
                    Sent::Commit(id)
                } else {
                    self.client.abort(&id, Some(&receipt));
                    Sent::Abort(id)
                });
            }
            b'I' | b'O' => self.inside = letter == b'I',
            b'd' => {
                let receipt = self.ask();
                self.client.disconnect(Some(&receipt));
                self.sent.push_back(Sent::Disconnect);
                self.disconnected = true;
            }
            b'b' => self.publish(&script::text(argument), 0),
            b'r' => self.publish(&script::text(argument), 2),
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

    fn transaction(&self) -> Option<ByteString> {
        self.open.last().filter(|_| self.inside).cloned()
    }

    fn acknowledge(&mut self, positively: bool, number: usize) {
        let Held { delivery, id, .. } = self.held.swap_remove(number);
        let transaction = self.transaction();
        let receipt = self.ask();
        let (client, none, receipt) = (&mut self.client, Headers::new(), Some(&*receipt));
        let answer = match (&transaction, positively) {
            (None, true) => client.ack(&delivery, none, receipt),
            (None, false) => client.nack(&delivery, none, receipt),
            (Some(within), true) => client.ack_in(within, &delivery, none, receipt),
            (Some(within), false) => client.nack_in(within, &delivery, none, receipt),
        };
        if !positively && self.version == Version::V1_0 {
            assert_eq!(answer, Err(NotAcknowledgeable::NackIn1_0));
            self.receipts.pop_back();
            return;
        }
        assert_eq!(answer, Ok(()));
        self.sent.push_back(if positively {
            Sent::Ack(id, transaction)
        } else {
            Sent::Nack(id, transaction)
        });
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
        let expressed = text.replace(lost, " ");
        match self.version {
            // It removes the blanks around a value.
            Version::V1_0 => expressed.trim_matches([' ', '\t']).to_owned(),
            _ => expressed,
        }
    }

    fn publish(&mut self, text: &str, redeliveries: u32) {
        self.transmit();
        for (slot, id, ack) in &self.slots {
            let tag = self.next_tag;
            self.next_tag = tag.wrapping_add(1);
            let mut message = Vec::new();
            let live = self
                .server
                .tagged_head(*slot, tag, redeliveries, &mut message);
            assert!(live, "subscription {slot} has no head");
            let headers = Headers::from_iter([("note", text)]);
            let version = self.server.version();
            let (name, body) = (message_id(tag), text.as_bytes());
            encode_message_tail(version, &name, "/d", &headers, body, &mut message);
            self.to_client.bytes.extend(message);
            self.server.wrote(self.now);
            self.published.push_back(Published {
                subscription: id.clone(),
                slot: *slot,
                ack: *ack,
                tag,
                redeliveries,
                text: text.to_owned(),
            });
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
                    let destination = self.expressed(&format!("/{text}"));
                    assert_eq!(*send.destination, destination);
                    (Sent::Message(text, send.transaction), send.receipt)
                }
                ServerEvent::Subscribe(subscribe) => {
                    let ack = subscribe.ack;
                    self.slots.push((subscribe.slot, subscribe.id.clone(), ack));
                    let destination = subscribe.destination.to_string();
                    assert_eq!(subscribe.headers.get("note"), Some(&*destination));
                    (
                        Sent::Subscribe(subscribe.id, destination, ack),
                        subscribe.receipt,
                    )
                }
                ServerEvent::Unsubscribe(unsubscribe) => {
                    self.slots.retain(|(slot, ..)| *slot != unsubscribe.slot);
                    (Sent::Unsubscribe(unsubscribe.id), unsubscribe.receipt)
                }
                ServerEvent::Ack(ack) => acknowledged(ack, Sent::Ack),
                ServerEvent::Nack(nack) => acknowledged(nack, Sent::Nack),
                ServerEvent::Begin(begin) => (Sent::Begin(begin.id), begin.receipt),
                ServerEvent::Commit(commit) => (Sent::Commit(commit.id), commit.receipt),
                ServerEvent::Abort(abort) => (Sent::Abort(abort.id), abort.receipt),
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
                    let published = self.published.pop_front().expect("it was published");
                    assert_eq!(message.subscription, published.subscription);
                    assert_eq!(*message.message_id, message_id(published.tag));
                    assert_eq!(message.body, published.text.as_bytes());
                    let note = self.expressed(&published.text);
                    assert_eq!(message.headers.get("note"), Some(&*note));
                    let again = published.redeliveries;
                    assert_eq!(message.redelivered(), again > 0);
                    assert_eq!(message.delivery_count(), (again > 0).then_some(again));
                    if published.ack != AckMode::Auto {
                        self.hold(&message, &published);
                    } else if self.version == Version::V1_2 {
                        let refused = self.client.ack(&message, Headers::new(), None);
                        assert_eq!(refused, Err(NotAcknowledgeable::NoAckHeader));
                    }
                }
                ClientEvent::Error(frame) => {
                    assert!(self.server.is_failed(), "{frame:?}");
                    self.client_hears.open = false;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn hold(&mut self, message: &Message, published: &Published) {
        if !self.ids.contains(&message.subscription) {
            // It was on its way when the client unsubscribed.
            return;
        }
        let Published { slot, tag, .. } = *published;
        let named = |slot| DeliveryId::Message {
            slot,
            message_id: message_id(tag).into(),
        };
        self.held.push(Held {
            subscription: message.subscription.clone(),
            delivery: message.delivery(),
            id: match self.version {
                Version::V1_0 => named(None),
                Version::V1_1 => named(Some(slot)),
                Version::V1_2 => DeliveryId::Tag { slot, tag },
            },
        });
    }
}

fn acknowledged(
    acknowledge: Acknowledge,
    sent: fn(DeliveryId, Option<ByteString>) -> Sent,
) -> (Sent, Option<ByteString>) {
    let Acknowledge {
        delivery,
        transaction,
        receipt,
        ..
    } = acknowledge;
    (sent(delivery, transaction), receipt)
}

/// With characters that the version must treat well.
fn message_id(tag: u32) -> String {
    format!("m:{tag}\\é")
}
