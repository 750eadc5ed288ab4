//! tungstenite as the other end: each reads what the other writes.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use tramline_websocket::{CloseCode, Config, Connection, Event, OpCode, Role};
use tungstenite::protocol::Role as TheirRole;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode as TheirCode, Data, OpCode as TheirOpCode};
use tungstenite::protocol::{CloseFrame as TheirClose, WebSocket};
use tungstenite::{Error as TheirError, Message};

/// A wire in memory that is read in steps.
#[derive(Default)]
struct Wire {
    to_them: Vec<u8>,
    read: usize,
    step: usize,
    from_them: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.to_them[self.read..];
        let len = rest.len().min(self.step).min(buffer.len());
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..len].copy_from_slice(&rest[..len]);
        self.read += len;
        Ok(len)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from_them.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Our end in `role`, theirs in the other.
fn ends(role: Role, step: usize) -> (Connection, WebSocket<Wire>) {
    let (ours, their_role) = match role {
        Role::Server => (Connection::new(role, Config::default()), TheirRole::Client),
        Role::Client => (
            Connection::new_client(Config::default(), 3),
            TheirRole::Server,
        ),
    };
    let wire = Wire {
        step,
        ..Wire::default()
    };
    (ours, WebSocket::from_raw_socket(wire, their_role, None))
}

/// Returns everything that they read from `bytes`.
fn they_read(theirs: &mut WebSocket<Wire>, bytes: &[u8]) -> Result<Vec<Message>, TheirError> {
    theirs.get_mut().to_them.extend_from_slice(bytes);
    let mut messages = Vec::new();
    loop {
        match theirs.read() {
            Ok(message) => messages.push(message),
            Err(TheirError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(messages);
            }
            Err(TheirError::ConnectionClosed) => return Ok(messages),
            Err(error) => return Err(error),
        }
    }
}

/// Returns everything that we read of their output, in steps.
fn we_read(ours: &mut Connection, theirs: &mut WebSocket<Wire>, step: usize) -> Vec<Event> {
    let mut written = std::mem::take(&mut theirs.get_mut().from_them);
    let mut events = Vec::new();
    for mut piece in written.chunks_mut(step) {
        while let Some(event) = ours.receive(&mut piece).unwrap() {
            events.push(event);
        }
    }
    events
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        "\\PC{0,80}".prop_map(String::into_bytes),
        prop_oneof![Just(125_usize), Just(126), Just(65_535), Just(65_536)]
            .prop_map(|len| vec![b'x'; len]),
    ]
}

/// A message in fragments, each with an optional ping before it.
type Fragments = Vec<(usize, Option<u8>)>;

fn fragments() -> impl Strategy<Value = Fragments> {
    proptest::collection::vec((0..200_usize, prop::option::of(0..126_u8)), 0..6)
}

/// Codes that both ends know: tungstenite rejects 1014, which IANA's registry has.
fn code() -> impl Strategy<Value = CloseCode> {
    prop_oneof![1000..1004_u16, 1007..1014_u16, 3000..5000_u16]
        .prop_map(|code| CloseCode::new(code).unwrap())
}

fn opcode(payload: &[u8]) -> OpCode {
    match std::str::from_utf8(payload) {
        Ok(_) => OpCode::Text,
        Err(_) => OpCode::Binary,
    }
}

fn our_event(payload: &[u8]) -> Event {
    match std::str::from_utf8(payload) {
        Ok(text) => Event::Text(text.into()),
        Err(_) => Event::Binary(payload.to_vec().into()),
    }
}

fn their_message(payload: &[u8]) -> Message {
    match std::str::from_utf8(payload) {
        Ok(text) => Message::text(text),
        Err(_) => Message::binary(payload.to_vec()),
    }
}

proptest! {
    #[test]
    fn what_we_write_they_read(
        role in role(),
        payloads in proptest::collection::vec(payload(), 0..6),
        step in 1..2000_usize,
    ) {
        let (mut ours, mut theirs) = ends(role, step);
        let (mut wire, mut sent) = (Vec::new(), Vec::new());
        for payload in &payloads {
            ours.send(opcode(payload), payload, &mut wire);
            sent.push(their_message(payload));
            let ping = &payload[..payload.len().min(125)];
            ours.ping(ping, &mut wire);
            sent.push(Message::Ping(ping.to_vec().into()));
        }
        prop_assert_eq!(they_read(&mut theirs, &wire).unwrap(), sent);
        // They answer the last ping, or each of them.
        theirs.flush().unwrap();
        for event in we_read(&mut ours, &mut theirs, step) {
            prop_assert!(matches!(event, Event::Pong(_)), "{event:?}");
        }
    }

    #[test]
    fn what_they_write_we_read(
        role in role(),
        messages in proptest::collection::vec((payload(), fragments()), 0..5),
        step in 1..2000_usize,
    ) {
        let (mut ours, mut theirs) = ends(role, 4096);
        let mut sent = Vec::new();
        for (payload, fragments) in &messages {
            let mut kind = match opcode(payload) {
                OpCode::Text => Data::Text,
                OpCode::Binary => Data::Binary,
            };
            let mut rest = payload.as_slice();
            for (len, ping) in fragments {
                if let Some(len) = ping {
                    let ping = vec![b'p'; usize::from(*len)];
                    sent.push(Event::Ping(ping.clone().into()));
                    theirs.send(Message::Ping(ping.into())).unwrap();
                }
                let (piece, after) = rest.split_at((*len).min(rest.len()));
                rest = after;
                let frame = Frame::message(piece.to_vec(), TheirOpCode::Data(kind), false);
                theirs.send(Message::Frame(frame)).unwrap();
                kind = Data::Continue;
            }
            let frame = Frame::message(rest.to_vec(), TheirOpCode::Data(kind), true);
            theirs.send(Message::Frame(frame)).unwrap();
            sent.push(our_event(payload));
        }
        prop_assert_eq!(we_read(&mut ours, &mut theirs, step), sent.clone());
        prop_assert_eq!(ours.buffered(), 0);

        let pinged = sent.iter().filter_map(|event| match event {
            Event::Ping(payload) => Some(Message::Pong(payload.clone())),
            _ => None,
        });
        let mut answer = Vec::new();
        ours.poll_transmit(&mut answer);
        prop_assert_eq!(they_read(&mut theirs, &answer).unwrap(), Vec::from_iter(pinged));
    }

    #[test]
    fn we_close_and_they_agree(role in role(), code in code(), reason in "\\PC{0,30}") {
        let (mut ours, mut theirs) = ends(role, 4096);
        ours.close(code, &reason);
        let mut wire = Vec::new();
        ours.poll_transmit(&mut wire);
        let close = TheirClose { code: TheirCode::from(code.as_u16()), reason: reason.into() };
        let read = they_read(&mut theirs, &wire).unwrap();
        prop_assert_eq!(read, vec![Message::Close(Some(close))]);
        let answer = we_read(&mut ours, &mut theirs, 3);
        prop_assert!(matches!(answer.as_slice(), [Event::Close(Some(close))] if close.code == code));
        prop_assert!(ours.is_closed());
    }

    #[test]
    fn they_close_and_we_agree(role in role(), code in code(), reason in "\\PC{0,30}") {
        let (mut ours, mut theirs) = ends(role, 4096);
        let close = TheirClose { code: TheirCode::from(code.as_u16()), reason: reason.as_str().into() };
        theirs.close(Some(close)).unwrap();
        theirs.flush().unwrap();
        let events = we_read(&mut ours, &mut theirs, 3);
        let [Event::Close(Some(close))] = events.as_slice() else { panic!("{events:?}") };
        prop_assert_eq!((close.code, &*close.reason), (code, reason.as_str()));
        let mut answer = Vec::new();
        ours.poll_transmit(&mut answer);
        prop_assert!(ours.is_closed());
        let read = they_read(&mut theirs, &answer).unwrap();
        prop_assert!(matches!(read.as_slice(), [Message::Close(Some(close))] if u16::from(close.code) == code.as_u16()));
        prop_assert!(!theirs.can_read());
    }
}
