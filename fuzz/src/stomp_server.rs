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
//! Held to be true, with small limits and room for three subscriptions:
//!
//! - Nothing makes it panic.
//! - `Connect` is the first event and nothing follows it unanswered; after `Failed`, after `Disconnect` and after an
//!   `error` of the caller there is none.
//! - Each transmit is one heart-beat or one frame that a decoder reads; ERROR comes once at most, as the last of all,
//!   and exactly if the session has failed.
//! - Receipts go out in order, with the text that came in, unless the ERROR has gone out before.
//! - Subscriptions are counted right, bounded, forgotten with the session; their slots are never used twice; the head
//!   of their messages names them.
//! - Once polled, what it holds stays within what its limits allow.
//! - After `handle_timeout` nothing is due.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use tramline_stomp::{
    ByteString, Bytes, Command, ErrorReply, Headers, HeartBeat, Limits, ServerConfig,
    ServerConnection, ServerEvent, encode_message_tail,
};

use crate::{
    script,
    stomp_decoder::{bound, one_frame},
};

const MAX_SUBSCRIPTIONS: usize = 3;

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
    /// Ids by slot, of subscriptions that live.
    live: Vec<(u32, ByteString)>,
    next_slot: u32,
    owed: VecDeque<ByteString>,
    /// Receipts that were given and not transmitted; `None` for those of any text.
    given: VecDeque<Option<ByteString>>,
    connected: bool,
    error: bool,
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
                let position = self.live.iter().position(|(live, _)| *live == slot);
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
        self.live.clear();
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
            self.live.clear();
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
                self.owed.extend(send.receipt);
            }
            ServerEvent::Subscribe(subscribe) => {
                assert!(subscribe.slot >= self.next_slot, "a slot used twice");
                self.next_slot = subscribe.slot + 1;
                self.live.push((subscribe.slot, subscribe.id));
                self.owed.extend(subscribe.receipt);
            }
            ServerEvent::Unsubscribe(unsubscribe) => {
                let position = self
                    .live
                    .iter()
                    .position(|(slot, id)| (*slot, id) == (unsubscribe.slot, &unsubscribe.id));
                self.live
                    .remove(position.expect("only a live subscription ends"));
                self.owed.extend(unsubscribe.receipt);
            }
            ServerEvent::Disconnect(disconnect) => {
                self.owed.extend(disconnect.receipt);
                self.silence();
            }
            ServerEvent::Failed(_) => {
                assert!(self.server.is_failed());
                self.silence();
            }
            other => panic!("unknown: {other:?}"),
        }
        true
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
        for (slot, id) in &self.live {
            let head = self
                .server
                .message_head(*slot)
                .expect("the head of a live subscription");
            let mut message = head.to_vec();
            let version = self.server.version();
            encode_message_tail(version, "m", "/d", &Headers::new(), b"hi", &mut message);
            let message = one_frame(&Bytes::from(message), version);
            assert_eq!(message.headers.get("subscription"), Some(&**id));
        }
        if self.silent {
            assert_eq!(self.server.next_timeout(), None);
            assert_eq!(self.server.buffered(), 0);
            for slot in 0..self.next_slot {
                assert_eq!(self.server.message_head(slot), None);
            }
        }
    }

    fn check_end(&self) {
        assert_eq!(self.server.queued(), 0);
        assert_eq!(self.server.is_failed(), self.error);
        assert_eq!(self.connected, self.phase == Phase::Open);
        assert!(self.given.is_empty(), "a receipt was not transmitted");
    }
}
