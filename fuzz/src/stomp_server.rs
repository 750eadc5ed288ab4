//! The server's side of a STOMP session, whatever its client and its caller do.
//!
//! Lines (the first is one, too):
//!
//! | | |
//! |---|---|
//! | `f` text | receive a frame: the text and a NUL |
//! | `r` bytes | receive bytes |
//! | `o`, `q`, `.` | poll one event, one transmit, everything |
//! | `a` name, `x` text, `e` text | accept, refuse, error |
//! | `R`, `Q` text | receipt: the oldest that is owed, or of any text |
//! | `d` number | drop a subscription by its slot |
//! | `t` milliseconds | time passes, and `handle_timeout` is called |
//! | `w`, `p`, `P` | wrote; pause reading, resume it |
//!
//! Held to be true, with small limits and room for three subscriptions and two transactions:
//!
//! - Nothing makes it panic.
//! - `Connect` is the first event and nothing follows it unanswered; after `Failed`, after `Disconnect` and after an
//!   `error` of the caller there is none.
//! - Each transmit is one heart-beat or one frame that a decoder reads; ERROR comes once at most, as the last of all,
//!   and exactly if the session has failed.
//! - Receipts go out in order, with the text that came in, unless the ERROR has gone out before.
//! - Subscriptions are counted right, bounded, forgotten with the session; their slots are never used twice; the head
//!   of their messages names them, and says what to acknowledge where their mode and the version want it.
//! - Transactions are open from BEGIN to their end, counted right, bounded, forgotten with the session. What is sent
//!   or acknowledged in one is in an open one.
//! - An acknowledgement is for a live subscription that takes them, named as the version names it.
//! - A client that is refused for a subscription or a transaction gave cause: a model knows which there are.
//! - Once polled, what it holds stays within what its limits allow.
//! - After `handle_timeout` nothing is due.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use tramline_stomp::{
    AckMode, Acknowledge, ByteString, Bytes, Command, DeliveryId, ErrorReply, Headers, HeartBeat,
    Limits, PeerViolation, ServerConfig, ServerConnection, ServerError, ServerEvent, Version,
    encode_message_tail,
};

use crate::{
    script,
    stomp_decoder::{bound, one_frame},
};

const MAX_SUBSCRIPTIONS: usize = 3;
const MAX_TRANSACTIONS: usize = 2;

/// Tries one input.
pub fn run(data: &[u8]) {
    let mut driver = Driver::new();
    for (letter, argument) in script::lines(data) {
        driver.apply(letter, argument);
        driver.check();
    }
    driver.poll_all();
    driver.check();
    driver.check_end();
}

struct Driver {
    server: ServerConnection,
    limits: Limits,
    now: Instant,
    phase: Phase,
    /// No event may come any more.
    silent: bool,
    live: Vec<Subscription>,
    next_slot: u32,
    /// The ids of the open transactions.
    open: Vec<ByteString>,
    owed: VecDeque<ByteString>,
    /// Receipts that were given and not transmitted; `None` for those of any text.
    given: VecDeque<Option<ByteString>>,
    connected: bool,
    error: bool,
}

struct Subscription {
    slot: u32,
    id: ByteString,
    ack: AckMode,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    Opening,
    Connecting,
    Open,
}

impl Driver {
    fn new() -> Self {
        let limits = Limits::default()
            .with_body(64)
            .with_header_line(48)
            .with_header_count(6);
        let config = ServerConfig::default()
            .with_limits(limits)
            .with_max_subscriptions(MAX_SUBSCRIPTIONS)
            .with_max_transactions(MAX_TRANSACTIONS)
            .with_heart_beat(HeartBeat {
                send: 1000,
                receive: 2000,
            })
            .with_server("fuzzed");
        let now = Instant::now();
        Self {
            server: ServerConnection::new(Arc::new(config), now),
            limits,
            now,
            phase: Phase::Opening,
            silent: false,
            live: Vec::new(),
            next_slot: 0,
            open: Vec::new(),
            owed: VecDeque::new(),
            given: VecDeque::new(),
            connected: false,
            error: false,
        }
    }

    fn apply(&mut self, letter: u8, argument: &[u8]) {
        match letter {
            b'f' => {
                let mut frame = script::bytes(argument);
                frame.push(0);
                self.server.receive(frame.into(), self.now);
            }
            b'r' => self
                .server
                .receive(script::bytes(argument).into(), self.now),
            b'o' => {
                self.poll_event();
            }
            b'q' => {
                self.poll_transmit();
            }
            b'.' => self.poll_all(),
            b'a' => self.accept(&script::text(argument)),
            b'x' => {
                self.end();
                self.server.refuse(ErrorReply::new(script::text(argument)));
            }
            b'e' => {
                self.end();
                let text = script::text(argument);
                let reply = ErrorReply::new(text.clone())
                    .detail(text.clone())
                    .receipt(self.owed.pop_front())
                    .header(text.clone(), text);
                self.server.error(reply);
            }
            b'R' => {
                if let Some(receipt) = self.owed.pop_front() {
                    self.receipt(Some(receipt.clone()), &receipt);
                }
            }
            // Before CONNECT nobody could have asked for one.
            b'Q' if self.phase != Phase::Opening => self.receipt(None, &script::text(argument)),
            b'd' => {
                let slot = script::number(argument).0 as u32;
                let position = self.live.iter().position(|live| live.slot == slot);
                assert_eq!(self.server.drop_subscription(slot), position.is_some());
                position.map(|position| self.live.remove(position));
            }
            b't' => self.pass(argument),
            b'w' => self.server.wrote(self.now),
            b'p' => self.server.pause_reading(true, self.now),
            b'P' => self.server.pause_reading(false, self.now),
            _ => {}
        }
    }

    fn accept(&mut self, name: &str) {
        let waited = self.phase == Phase::Connecting && !self.server.is_failed();
        let before = self.server.is_connected();
        let name = (!name.is_empty()).then_some(name);
        self.server.accept(name, name, self.now);
        if waited {
            self.phase = Phase::Open;
        }
        assert_eq!(self.server.is_connected(), before || waited);
    }

    fn receipt(&mut self, expected: Option<ByteString>, text: &str) {
        // After a failure it still goes in front of the ERROR.
        if !self.error {
            self.given.push_back(expected);
        }
        self.server.receipt(text);
    }

    /// The caller is about to end the session.
    fn end(&mut self) {
        if !self.server.is_failed() {
            self.silence();
        }
    }

    fn silence(&mut self) {
        self.silent = true;
        self.forget();
    }

    fn forget(&mut self) {
        self.live.clear();
        self.open.clear();
    }

    fn pass(&mut self, argument: &[u8]) {
        self.now += script::millis(argument);
        let due = self.server.next_timeout().is_some_and(|at| at <= self.now);
        let before = self.server.is_failed();
        self.server.handle_timeout(self.now);
        assert!(
            due || self.server.is_failed() == before,
            "failed without a cause"
        );
        if self.server.is_failed() {
            self.forget();
        }
        assert!(self.server.next_timeout().is_none_or(|at| at > self.now));
    }

    fn poll_all(&mut self) {
        while self.poll_event() {}
        while self.poll_transmit() {}
    }

    fn poll_event(&mut self) -> bool {
        let Some(event) = self.server.poll_event() else {
            if matches!(self.phase, Phase::Opening | Phase::Open) {
                assert!(self.server.buffered() <= bound(&self.limits));
            }
            return false;
        };
        assert!(!self.silent, "{event:?} after the end");
        let first = matches!(event, ServerEvent::Connect(_) | ServerEvent::Failed(_));
        match self.phase {
            Phase::Opening => assert!(first, "{event:?} before CONNECT"),
            Phase::Connecting => assert!(matches!(event, ServerEvent::Failed(_)), "{event:?}"),
            Phase::Open => assert!(!matches!(event, ServerEvent::Connect(_)), "{event:?}"),
        }
        match event {
            ServerEvent::Connect(connect) => {
                assert_eq!(connect.headers.get("passcode"), None);
                self.phase = Phase::Connecting;
            }
            ServerEvent::Send(send) => {
                assert!(!send.destination.is_empty());
                assert!(send.transaction.is_none_or(|id| self.open.contains(&id)));
                self.owed.extend(send.receipt);
            }
            ServerEvent::Subscribe(subscribe) => {
                assert!(subscribe.slot >= self.next_slot, "a slot used twice");
                self.next_slot = subscribe.slot + 1;
                assert!(!self.live.iter().any(|live| live.id == subscribe.id));
                self.live.push(Subscription {
                    slot: subscribe.slot,
                    id: subscribe.id,
                    ack: subscribe.ack,
                });
                self.owed.extend(subscribe.receipt);
            }
            ServerEvent::Unsubscribe(unsubscribe) => {
                let position = self
                    .live
                    .iter()
                    .position(|live| live.slot == unsubscribe.slot && live.id == unsubscribe.id);
                self.live
                    .remove(position.expect("only a live subscription ends"));
                self.owed.extend(unsubscribe.receipt);
            }
            ServerEvent::Ack(ack) => self.acknowledged(ack),
            ServerEvent::Nack(nack) => {
                assert_ne!(self.server.version(), Version::V1_0, "it has no NACK");
                self.acknowledged(nack);
            }
            ServerEvent::Begin(begin) => {
                assert!(!self.open.contains(&begin.id), "opened twice");
                self.open.push(begin.id);
                self.owed.extend(begin.receipt);
            }
            ServerEvent::Commit(end) | ServerEvent::Abort(end) => {
                let position = self.open.iter().position(|id| *id == end.id);
                self.open
                    .remove(position.expect("only an open transaction ends"));
                self.owed.extend(end.receipt);
            }
            ServerEvent::Disconnect(disconnect) => {
                self.owed.extend(disconnect.receipt);
                self.silence();
            }
            ServerEvent::Failed(error) => {
                assert!(self.server.is_failed());
                if let ServerError::PeerViolation(violation) = error {
                    self.check_cause(&violation);
                }
                self.silence();
            }
            other => panic!("unknown: {other:?}"),
        }
        true
    }

    fn acknowledged(&mut self, acknowledge: Acknowledge) {
        let version = self.server.version();
        let slot = match acknowledge.delivery {
            DeliveryId::Tag { slot, tag } => {
                assert_eq!(version, Version::V1_2);
                let id = acknowledge.headers.get("id");
                assert!(is_token(id, slot, tag), "{id:?}");
                Some(slot)
            }
            DeliveryId::Message { slot, message_id } => {
                assert_ne!(version, Version::V1_2);
                assert!(slot.is_some() || version == Version::V1_0);
                assert_eq!(acknowledge.headers.get("message-id"), Some(&*message_id));
                slot
            }
        };
        if let Some(slot) = slot {
            let live = self.live.iter().find(|live| live.slot == slot);
            let live = live.expect("only a live subscription is acknowledged");
            assert_ne!(live.ack, AckMode::Auto);
            if version != Version::V1_2 {
                assert_eq!(acknowledge.headers.get("subscription"), Some(&*live.id));
            }
        }
        assert!(
            acknowledge
                .transaction
                .is_none_or(|id| self.open.contains(&id))
        );
        self.owed.extend(acknowledge.receipt);
    }

    /// Header lines are shorter than excerpts, so what is quoted is the whole.
    fn check_cause(&self, violation: &PeerViolation) {
        let known = |id: &String| self.live.iter().any(|live| *live.id == **id);
        let open = |id: &String| self.open.iter().any(|open| **open == **id);
        match violation {
            PeerViolation::DuplicateSubscription { id } => assert!(known(id)),
            PeerViolation::UnknownSubscription { id } => assert!(!known(id)),
            PeerViolation::TooManySubscriptions { limit } => {
                assert_eq!(self.live.len(), *limit);
            }
            PeerViolation::AckWithoutSubscription { id } => {
                let slot = script::number(id.as_bytes()).0;
                assert!(!self.live.iter().any(|live| u64::from(live.slot) == slot));
            }
            PeerViolation::AckOfAuto { .. } => {
                assert!(self.live.iter().any(|live| live.ack == AckMode::Auto));
            }
            PeerViolation::NackIn1_0 => assert_eq!(self.server.version(), Version::V1_0),
            PeerViolation::DuplicateTransaction { id } => assert!(open(id)),
            PeerViolation::UnknownTransaction { id } => assert!(!open(id)),
            PeerViolation::TooManyTransactions { limit } => assert_eq!(self.open.len(), *limit),
            _ => {}
        }
    }

    fn poll_transmit(&mut self) -> bool {
        let Some(bytes) = self.server.poll_transmit() else {
            return false;
        };
        assert!(!self.error, "{bytes:?} after ERROR");
        if *bytes == b"\n"[..] {
            assert!(self.connected, "a heart-beat before CONNECTED");
            return true;
        }
        let frame = one_frame(&bytes, self.server.version());
        match frame.command {
            Command::Connected => {
                assert!(!self.connected, "CONNECTED twice");
                self.connected = true;
            }
            Command::Receipt => {
                let expected = self.given.pop_front().expect("a receipt that was given");
                let id = frame.headers.get("receipt-id").expect("its id");
                assert!(expected.is_none_or(|expected| *expected == *id));
            }
            Command::Error => self.error = true,
            command => panic!("{command} is not for here"),
        }
        true
    }

    fn check(&self) {
        let count = self.server.subscription_count();
        assert_eq!(count, self.live.len(), "{:?}", self.server);
        assert!(count <= MAX_SUBSCRIPTIONS);
        assert!(!(self.server.is_connected() && self.server.is_failed()));
        let open = self.server.transaction_count();
        assert_eq!(open, self.open.len(), "{:?}", self.server);
        assert!(open <= MAX_TRANSACTIONS);
        for live in &self.live {
            self.check_heads(live);
        }
        if self.silent {
            assert_eq!(self.server.next_timeout(), None);
            assert_eq!(self.server.buffered(), 0);
            for slot in 0..self.next_slot {
                assert_eq!(self.server.message_head(slot), None);
                assert_eq!(self.server.ack_mode(slot), None);
                assert!(!self.server.tagged_head(slot, 1, 1, &mut Vec::new()));
            }
        }
    }

    fn check_heads(&self, live: &Subscription) {
        let Subscription { slot, id, ack } = live;
        assert_eq!(self.server.ack_mode(*slot), Some(*ack));
        let version = self.server.version();
        let read = |mut head: Vec<u8>| {
            encode_message_tail(version, "m", "/d", &Headers::new(), b"hi", &mut head);
            one_frame(&Bytes::from(head), version).headers
        };
        let plain = self.server.message_head(*slot);
        let plain = read(plain.expect("the head of a live subscription").to_vec());
        assert_eq!(plain.get("subscription"), Some(&**id));
        assert_eq!(plain.get("ack"), None);

        let tag = u32::MAX - slot;
        for redeliveries in [0, 3] {
            let mut head = Vec::new();
            assert!(self.server.tagged_head(*slot, tag, redeliveries, &mut head));
            let tagged = read(head);
            assert_eq!(tagged.get("subscription"), Some(&**id));
            let tagged_so = version == Version::V1_2 && *ack != AckMode::Auto;
            let ack = tagged.get("ack");
            assert_eq!(ack.is_some(), tagged_so);
            assert!(!tagged_so || is_token(ack, *slot, tag), "{ack:?}");
            let again = redeliveries > 0;
            assert_eq!(tagged.get("redelivered"), again.then_some("true"));
            assert_eq!(tagged.get("delivery-count"), again.then_some("3"));
        }
    }

    fn check_end(&self) {
        assert_eq!(self.server.queued(), 0);
        assert_eq!(self.server.is_failed(), self.error);
        assert_eq!(self.connected, self.phase == Phase::Open);
        assert!(self.given.is_empty(), "a receipt was not transmitted");
    }
}

/// Returns true if `id` names this delivery, whatever the session's key behind it is.
fn is_token(id: Option<&str>, slot: u32, tag: u32) -> bool {
    let key = id.and_then(|id| id.strip_prefix(&format!("{slot}-{tag}")));
    key.is_some_and(|key| key.is_empty() || key.starts_with('-'))
}
