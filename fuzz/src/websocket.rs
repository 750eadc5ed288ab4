//! WebSocket connections, in both roles.
//!
//! First line: the role (`0` server, `1` client; `2` and `3` with permessage-deflate, `4` and `5` with contexts taken
//! over), then the lengths of the pieces. The rest is a stream that the peer sends; and, in the second half of the test,
//! payloads that one end sends to the other.
//!
//! Held to be true, with small limits and with the default ones:
//!
//! - No input makes it panic.
//! - Events are those that a plain reading of RFC 6455 finds, and an error comes exactly where it finds one; a compressed
//!   message is inflated by another library, whole, so its error may come earlier: before the pings inside it, too.
//! - Events and the error do not depend on where the stream is cut, nor on when the machine's own frames are taken.
//! - What it holds stays within its limits, and is nothing after a Close and after an error.
//! - After a Close and after an error nothing more comes, and what was sent back is well-formed: a peer reads it, and
//!   the Close that it ends with has the error's code, or the peer's own.
//! - Messages and pings arrive at the other end as they were sent, also those with a compressed tail that many share, and
//!   the closing handshake ends both.

use tramline_websocket::{
    CloseCode, Config, Connection, Deflate, Error, Event, OpCode, Role, deflate_tail,
    write_deflated_head,
};

use crate::script::{self, Pieces};

mod reference;

/// Tries one input.
pub fn run(data: &[u8]) {
    let (mut head, stream) = script::head(data);
    let mode = Mode::ALL[usize::from(head.option(6))];
    let pieces = head.pieces();
    let small = Config::default()
        .with_max_message(64)
        .with_max_frame(48)
        .with_max_fragments(4);
    for config in [small, Config::default()] {
        let cut = pieces.cut(stream);
        let whole = Reading::new(mode, config, &[stream], true);
        let expected = reference::read(mode, config, stream);
        match expected.end {
            End::Quiet => assert!(whole.error.is_none(), "{whole:?}"),
            End::Broken => assert!(whole.error.is_some(), "{whole:?}"),
            End::InsideCompressed | End::Unclear => {}
        }
        let (told, all) = (whole.events.as_slice(), expected.events.as_slice());
        let told = match expected.end {
            End::Unclear => &told[..told.len().min(all.len())],
            _ => told,
        };
        let due = match whole.error {
            Some(_) => told.len().clamp(expected.sure, all.len()),
            None => all.len(),
        };
        assert_eq!(told, &all[..due]);
        assert_eq!(whole, Reading::new(mode, config, &cut, true));
        assert_eq!(whole, Reading::new(mode, config, &cut, false));
    }
    for role in [Role::Client, Role::Server] {
        round_trip(Mode { role, ..mode }, &pieces, stream);
    }
}

/// How a machine is set up.
#[derive(Clone, Copy)]
struct Mode {
    role: Role,
    deflate: Option<Deflated>,
}

#[derive(Clone, Copy)]
struct Deflated {
    takeover: bool,
}

impl Mode {
    const ALL: [Self; 6] = {
        const fn mode(role: Role, deflate: Option<Deflated>) -> Mode {
            Mode { role, deflate }
        }
        let fresh = Some(Deflated { takeover: false });
        let taken_over = Some(Deflated { takeover: true });
        [
            mode(Role::Server, None),
            mode(Role::Client, None),
            mode(Role::Server, fresh),
            mode(Role::Client, fresh),
            mode(Role::Server, taken_over),
            mode(Role::Client, taken_over),
        ]
    };

    fn other_end(self) -> Self {
        let role = match self.role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        Self { role, ..self }
    }

    fn machine(self, config: Config) -> Connection {
        let machine = match self.role {
            Role::Server => Connection::new(self.role, config),
            Role::Client => Connection::new_client(config, 7),
        };
        let Some(Deflated { takeover }) = self.deflate else {
            return machine;
        };
        let deflate = Deflate::default()
            .with_above(8)
            .with_takeover(takeover, takeover);
        let offer = deflate.offer();
        let agreement = deflate.accept([offer.as_str()]);
        machine.with_deflate(agreement.expect("both want the same"))
    }
}

/// How a stream ends.
enum End {
    Quiet,
    /// By breaking a rule or a limit.
    Broken,
    /// In a compressed message of which the rest is missing: it may be broken already.
    InsideCompressed,
    /// In a message that broke off, with a context that the next one is to go on with: libraries differ in how soon they
    /// see it.
    Unclear,
}

#[derive(PartialEq, Debug)]
struct Reading {
    events: Vec<Event>,
    error: Option<Error>,
}

impl Reading {
    fn new(mode: Mode, config: Config, pieces: &[&[u8]], answer_each: bool) -> Self {
        let mut machine = mode.machine(config);
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
        heard(mode, answers, code);
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
fn heard(mode: Mode, mut answers: Vec<u8>, code: Option<Option<CloseCode>>) {
    let mut peer = mode.other_end().machine(Config::default());
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

/// Sends each piece of `stream` as a message, or as a ping where it is short and the third; as a server that compresses
/// and keeps nothing, some with a tail that might be shared.
fn round_trip(from: Mode, pieces: &Pieces, stream: &[u8]) {
    let mut sender = from.machine(Config::default());
    let mut receiver = from.other_end().machine(Config::default());
    let shares = from.role == Role::Server && from.deflate.is_some_and(|deflate| !deflate.takeover);
    let (mut wire, mut sent) = (Vec::new(), Vec::new());
    for (number, payload) in pieces.cut(stream).into_iter().enumerate() {
        if number % 3 == 2 && payload.len() <= 125 {
            sender.ping(payload, &mut wire);
            sent.push(Event::Ping(payload.to_vec().into()));
        } else if shares && number % 3 == 1 {
            let (head, tail) = payload.split_at(payload.len() / 4);
            // Once more the same, so that there is something to compress.
            let tail = [tail, tail].concat();
            let Some(deflated) = deflate_tail(&tail, 3) else {
                continue;
            };
            write_deflated_head(&mut wire, OpCode::Binary, head, deflated.len());
            wire.extend_from_slice(&deflated);
            sent.push(Event::Binary([head, &tail].concat().into()));
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
