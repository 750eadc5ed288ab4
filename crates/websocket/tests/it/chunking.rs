//! Any sequence of frames gives the same events, however it is cut.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tramline_websocket::{
    CloseCode, Config, Connection, ConnectionState, Error, Event, OpCode, Role,
};

use crate::{BINARY, CONTINUATION, FIN, PING, PONG, TEXT, masked, plain};

/// Everything that happened to a machine.
#[derive(Debug, PartialEq)]
struct Story {
    events: Vec<Event>,
    error: Option<Error>,
    owed: Vec<u8>,
    state: ConnectionState,
}

/// Lends `bytes` in pieces; the rest after the last cut comes whole.
fn tell(mut connection: Connection, bytes: &[u8], cuts: &[usize]) -> Story {
    let mut bytes = bytes.to_vec();
    let mut rest = bytes.as_mut_slice();
    let (mut events, mut error) = (Vec::new(), None);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (mut piece, after) = rest.split_at_mut(cut.min(rest.len()));
        rest = after;
        loop {
            match connection.receive(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(found) => {
                    assert_eq!(error.replace(found), None, "reported once");
                    assert_eq!(connection.buffered(), 0);
                }
            }
        }
        assert!(piece.is_empty());
    }
    let mut owed = Vec::new();
    connection.poll_transmit(&mut owed);
    Story {
        events,
        error,
        owed,
        state: connection.state(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A message, cut into fragments, with an optional ping between them.
    Message {
        text: bool,
        payload: String,
        cuts: Vec<Index>,
        ping: Option<Vec<u8>>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let payload = prop_oneof![
        8 => "[a-z\u{e9}\u{20ac}\u{1f68b}]{0,40}",
        1 => "[a-z\u{e9}\u{20ac}\u{1f68b}]{100,400}",
        1 => (60_000_usize..70_000).prop_map(|len| "é".repeat(len / 2)),
    ];
    let small = || vec(any::<u8>(), 0..=125);
    prop_oneof![
        6 => (any::<bool>(), payload, vec(any::<Index>(), 0..4), prop::option::of(small()))
            .prop_map(|(text, payload, cuts, ping)| Step::Message { text, payload, cuts, ping }),
        1 => small().prop_map(Step::Ping),
        1 => small().prop_map(Step::Pong),
    ]
}

/// Returns the bytes of `steps` and the expected events.
fn script(steps: &[Step], frame: fn(u8, &[u8]) -> Vec<u8>) -> (Vec<u8>, Vec<Event>) {
    let (mut bytes, mut events) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Ping(payload) => {
                bytes.extend(frame(FIN | PING, payload));
                events.push(Event::Ping(payload.clone().into()));
            }
            Step::Pong(payload) => {
                bytes.extend(frame(FIN | PONG, payload));
                events.push(Event::Pong(payload.clone().into()));
            }
            Step::Message {
                text,
                payload,
                cuts,
                ping,
            } => {
                let mut at: Vec<usize> = cuts
                    .iter()
                    .map(|cut| cut.index(payload.len() + 1))
                    .collect();
                at.sort_unstable();
                let mut start = 0;
                let mut kind = if *text { TEXT } else { BINARY };
                for end in at {
                    bytes.extend(frame(kind, &payload.as_bytes()[start..end]));
                    if let Some(ping) = ping {
                        bytes.extend(frame(FIN | PING, ping));
                        events.push(Event::Ping(ping.clone().into()));
                    }
                    (start, kind) = (end, CONTINUATION);
                }
                bytes.extend(frame(FIN | kind, &payload.as_bytes()[start..]));
                events.push(if *text {
                    Event::Text(payload.as_str().into())
                } else {
                    Event::Binary(payload.clone().into())
                });
            }
        }
    }
    (bytes, events)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        vec(0_usize..8, 0..200),
        vec(0_usize..300, 0..60),
        vec(0_usize..40_000, 0..8)
    ]
}

/// Receives a message in parts; returns the parts, and the maximum of bytes held between reads.
fn in_parts(
    mut connection: Connection,
    bytes: &[u8],
    cut: usize,
) -> Result<(Vec<Event>, usize), Error> {
    let mut bytes = bytes.to_vec();
    let (mut parts, mut held) = (Vec::new(), 0);
    for mut piece in bytes.chunks_mut(cut) {
        while let Some(event) = connection.receive(&mut piece)? {
            parts.push(event);
        }
        parts.extend(connection.take_part());
        held = held.max(connection.buffered());
    }
    Ok((parts, held))
}

#[test]
fn a_message_taken_in_parts_is_the_same_and_holds_nothing() {
    let text = "a\u{e9}\u{20ac}\u{1f68b}".repeat(100);
    for (kind, cut) in [
        (TEXT, 1),
        (TEXT, 7),
        (BINARY, 1),
        (BINARY, 50),
        (TEXT, 5000),
    ] {
        let mut frames = Vec::new();
        for (n, piece) in text.as_bytes().chunks(33).enumerate() {
            let first = if n == 0 { kind } else { CONTINUATION };
            let fin = if 33 * (n + 1) >= text.len() { FIN } else { 0 };
            frames.extend(masked(fin | first, piece));
        }
        let server = Connection::new(Role::Server, Config::default());
        let (parts, held) = in_parts(server, &frames, cut).unwrap();
        assert!(held < 16, "{held} bytes held at {cut}");
        assert!(cut > frames.len() || parts.len() > 10, "{parts:?}");
        let mut whole = Vec::new();
        for part in &parts {
            match part {
                Event::Text(part) if kind == TEXT => whole.extend_from_slice(part.as_bytes()),
                Event::Binary(part) if kind == BINARY => whole.extend_from_slice(part),
                other => panic!("{other:?} in a message of kind {kind}"),
            }
        }
        assert_eq!(whole, text.as_bytes(), "kind {kind}, cut at {cut}");
    }
}

#[test]
fn parts_that_were_taken_count_for_the_limits() {
    let config = Config::default().with_max_message(10);
    for kind in [TEXT, BINARY] {
        let frames = [masked(kind, b"123456"), masked(FIN, b"78901")].concat();
        let server = Connection::new(Role::Server, config);
        assert_eq!(
            in_parts(server, &frames, 1),
            Err(Error::MessageTooBig { len: 11, max: 10 })
        );
    }
}

proptest! {
    #[test]
    fn valid_frames_give_their_events_however_they_are_cut(steps in vec(step(), 0..8), cuts in cuts()) {
        for role in [Role::Server, Role::Client] {
            let (bytes, expected) = script(&steps, if role == Role::Server { masked } else { plain });
            let machine = || match role {
                Role::Server => Connection::new(role, Config::default()),
                Role::Client => Connection::new_client(Config::default(), 3),
            };
            let whole = tell(machine(), &bytes, &[]);
            prop_assert_eq!(&whole.events, &expected);
            prop_assert_eq!(&whole.error, &None);
            prop_assert_eq!(tell(machine(), &bytes, &cuts), whole);
        }
    }

    #[test]
    fn damaged_frames_fail_alike_however_they_are_cut(
        steps in vec(step(), 1..5),
        damage in vec((any::<Index>(), any::<u8>()), 1..3),
        cuts in cuts(),
    ) {
        let (mut bytes, _) = script(&steps, masked);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let config = Config::default().with_max_message(65_000).with_max_frame(60_100).with_max_fragments(3);
        let machine = || Connection::new(Role::Server, config);
        prop_assert_eq!(tell(machine(), &bytes, &cuts), tell(machine(), &bytes, &[]));
    }

    #[test]
    fn noise_never_panics_and_fails_alike(bytes in vec(any::<u8>(), 0..64), cuts in cuts()) {
        for role in [Role::Server, Role::Client] {
            let machine = || match role {
                Role::Server => Connection::new(role, Config::default()),
                Role::Client => Connection::new_client(Config::default(), 3),
            };
            prop_assert_eq!(tell(machine(), &bytes, &cuts), tell(machine(), &bytes, &[]));
        }
    }

    #[test]
    fn what_one_end_sends_the_other_receives(
        messages in vec((any::<bool>(), "[a-z\u{20ac}]{0,200}"), 0..10),
        pings in vec(vec(any::<u8>(), 0..=125), 0..3),
        seed in any::<u64>(),
        code in prop_oneof![1000_u16..=1003, 1007_u16..=1014, 3000_u16..=4999],
        reason in "[a-z\u{20ac}\u{1f68b}]{0,60}",
        cuts in cuts(),
    ) {
        for role in [Role::Server, Role::Client] {
            let server = Connection::new(Role::Server, Config::default());
            let client = Connection::new_client(Config::default(), seed);
            let (mut from, to) = if role == Role::Server { (server, client) } else { (client, server) };
            let (mut wire, mut expected) = (Vec::new(), Vec::new());
            for ping in &pings {
                from.ping(ping, &mut wire);
                expected.push(Event::Ping(Bytes::copy_from_slice(ping)));
            }
            for (text, payload) in &messages {
                let (opcode, event) = if *text {
                    (OpCode::Text, Event::Text(payload.as_str().into()))
                } else {
                    (OpCode::Binary, Event::Binary(payload.clone().into()))
                };
                from.send(opcode, payload.as_bytes(), &mut wire);
                expected.push(event);
            }
            let code = CloseCode::new(code).unwrap();
            from.close(code, &reason);
            from.poll_transmit(&mut wire);

            let mut story = tell(to, &wire, &cuts);
            prop_assert_eq!(story.error, None);
            prop_assert_eq!(story.state, ConnectionState::Closed);
            let Some(Event::Close(Some(close))) = story.events.pop() else { panic!("a Close comes last") };
            prop_assert_eq!(close.code, code);
            prop_assert!(reason.starts_with(&*close.reason) && close.reason.len() >= reason.len().min(120));
            prop_assert_eq!(story.events, expected);

            let mut answers = Vec::new();
            let mut owed = story.owed;
            let mut owed = owed.as_mut_slice();
            while let Some(event) = from.receive(&mut owed).unwrap() {
                answers.push(event);
            }
            let pongs = pings.iter().map(|ping| Event::Pong(Bytes::copy_from_slice(ping)));
            let mut answered: Vec<Event> = pongs.collect();
            answered.push(Event::Close(Some(tramline_websocket::CloseFrame { code, reason: "".into() })));
            prop_assert_eq!(answers, answered);
            prop_assert!(from.is_closed());
        }
    }
}
