//! WebSocket connections, in both roles.
//!
//! First line: the role (`0` server, `1` client), then the lengths of the pieces. The rest is a stream that the peer
//! sends; and, in the second half of the test, payloads that one end sends to the other.
//!
//! Held to be true, with small limits and with the default ones:
//!
//! - No input makes it panic.
//! - Events are those that a plain reading of RFC 6455 finds, and an error comes exactly where it finds one.
//! - Events and the error do not depend on where the stream is cut, nor on when the machine's own frames are taken.
//! - What it holds stays within its limits, and is nothing after a Close and after an error.
//! - After a Close and after an error nothing more comes, and what was sent back is well-formed: a peer reads it, and
//!   the Close that it ends with has the error's code, or the peer's own.
//! - Messages and pings arrive at the other end as they were sent, and the closing handshake ends both.

use tramline_websocket::{CloseCode, Config, Connection, Error, Event, OpCode, Role};

use crate::script::{self, Pieces};

mod reference;

/// Tries one input.
pub fn run(data: &[u8]) {
    let (mut head, stream) = script::head(data);
    let role = [Role::Server, Role::Client][usize::from(head.option(2))];
    let pieces = head.pieces();
    let small = Config::default()
        .with_max_message(64)
        .with_max_frame(48)
        .with_max_fragments(4);
    for config in [small, Config::default()] {
        let cut = pieces.cut(stream);
        let whole = Reading::new(role, config, &[stream], true);
        let (events, broken) = reference::read(role, config, stream);
        assert_eq!(whole.events, events);
        assert_eq!(whole.error.is_some(), broken, "{whole:?}");
        assert_eq!(whole, Reading::new(role, config, &cut, true));
        assert_eq!(whole, Reading::new(role, config, &cut, false));
    }
    round_trip(Role::Client, &pieces, stream);
    round_trip(Role::Server, &pieces, stream);
}

#[derive(PartialEq, Debug)]
struct Reading {
    events: Vec<Event>,
    error: Option<Error>,
}

impl Reading {
    fn new(role: Role, config: Config, pieces: &[&[u8]], answer_each: bool) -> Self {
        let mut machine = new(role, config);
        let mut reading = Self {
            events: Vec::new(),
            error: None,
        };
        let mut answers = Vec::new();
        for piece in pieces {
            reading.take(&mut machine, piece);
            assert!(machine.buffered() <= bound(&config), "{machine:?}");
            if answer_each {
                machine.poll_transmit(&mut answers);
            }
        }
        machine.poll_transmit(&mut answers);
        let code = match (&reading.error, reading.events.last()) {
            (Some(error), _) => Some(Some(error.close_code())),
            (None, Some(Event::Close(close))) => Some(close.as_ref().map(|close| close.code)),
            _ => None,
        };
        assert_eq!(code.is_some(), machine.is_closed());
        if code.is_some() {
            assert_eq!(machine.buffered(), 0);
            assert!(!machine.has_transmit());
        }
        heard(role, answers, code);
        reading
    }

    fn take(&mut self, machine: &mut Connection, piece: &[u8]) {
        let mut copy = piece.to_vec();
        let mut input = copy.as_mut_slice();
        loop {
            let over = self.error.is_some() || matches!(self.events.last(), Some(Event::Close(_)));
            let result = machine.receive(&mut input);
            match result {
                Ok(None) => break,
                result if over => panic!("{result:?} after the end"),
                Ok(Some(event)) => self.events.push(event),
                Err(error) => self.error = Some(error),
            }
        }
        assert!(input.is_empty(), "some input was left");
    }
}

/// A message, a control frame inside it, and a head.
fn bound(config: &Config) -> usize {
    config.max_message + 125 + 14
}

/// What the other end makes of the answers.
fn heard(role: Role, mut answers: Vec<u8>, code: Option<Option<CloseCode>>) {
    let mut peer = new(opposite(role), Config::default());
    let mut input = answers.as_mut_slice();
    let mut closed = None;
    while let Some(event) = peer.receive(&mut input).expect("answers are well-formed") {
        assert_eq!(closed, None, "{event:?} after Close");
        match event {
            Event::Pong(_) => {}
            Event::Close(close) => closed = Some(close.map(|close| close.code)),
            event => panic!("answered with {event:?}"),
        }
    }
    assert_eq!(closed, code);
    assert_eq!(peer.buffered(), 0);
}

/// Sends each piece of `stream` as a message, or as a ping where it is short and the third.
fn round_trip(from: Role, pieces: &Pieces, stream: &[u8]) {
    let mut sender = new(from, Config::default());
    let mut receiver = new(opposite(from), Config::default());
    let (mut wire, mut sent) = (Vec::new(), Vec::new());
    for (number, payload) in pieces.cut(stream).into_iter().enumerate() {
        if number % 3 == 2 && payload.len() <= 125 {
            sender.ping(payload, &mut wire);
            sent.push(Event::Ping(payload.to_vec().into()));
        } else if let Ok(text) = std::str::from_utf8(payload) {
            sender.send(OpCode::Text, payload, &mut wire);
            sent.push(Event::Text(text.into()));
        } else {
            sender.send(OpCode::Binary, payload, &mut wire);
            sent.push(Event::Binary(payload.to_vec().into()));
        }
    }
    let reason = String::from_utf8_lossy(stream);
    sender.close(CloseCode::NORMAL, &reason);
    sender.poll_transmit(&mut wire);
    sender.send(OpCode::Text, b"too late", &mut wire);

    let mut received = Vec::new();
    // Not the lengths that the messages have.
    let mut cuts = pieces.clone();
    cuts.length();
    for piece in cuts.cut(&wire) {
        let mut copy = piece.to_vec();
        let mut input = copy.as_mut_slice();
        while let Some(event) = receiver
            .receive(&mut input)
            .expect("frames are well-formed")
        {
            received.push(event);
        }
    }
    let Some(Event::Close(Some(close))) = received.pop() else {
        panic!("no Close behind {received:?}")
    };
    assert_eq!(close.code, CloseCode::NORMAL);
    assert!(reason.starts_with(&*close.reason));
    assert_eq!(sent, received);

    let mut answer = Vec::new();
    receiver.poll_transmit(&mut answer);
    let mut input = answer.as_mut_slice();
    while sender
        .receive(&mut input)
        .expect("answers are well-formed")
        .is_some()
    {}
    assert!(sender.is_closed() && receiver.is_closed());
    assert_eq!((sender.buffered(), receiver.buffered()), (0, 0));
}

fn new(role: Role, config: Config) -> Connection {
    match role {
        Role::Server => Connection::new(role, config),
        Role::Client => Connection::new_client(config, 7),
    }
}

fn opposite(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}
