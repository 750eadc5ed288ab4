//! Memory held by compression, and its release.

use allocation_counter::{AllocationInfo, measure};
use tramline_websocket::{Config, Connection, Deflate, Error, Event, OpCode, Role};

use crate::deflate::{DEFLATED, deflated, pair};
use crate::{BINARY, CONTINUATION, FIN, masked, receive};

/// The table in the documentation of `Deflate`.
const COMPRESSOR: i64 = 380_032;
const SMALL_COMPRESSOR: i64 = 251_008;
const INFLATER: i64 = 47_552;

/// The boxes that hold them in the machine.
const BOXES: i64 = 512;

#[test]
fn the_agreement_itself_takes_a_hundred_bytes() {
    let deflate = Deflate::default();
    let agreement = deflate.accept([deflate.offer().as_str()]).unwrap();
    let mut connection = None;
    let held = measure(|| {
        let plain = Connection::new(Role::Server, Config::default());
        connection = Some(plain.with_deflate(agreement));
    });
    assert!(held.bytes_current <= 104, "{held:?}");
}

#[test]
fn without_takeover_an_idle_connection_holds_nothing_more() {
    let (mut server, mut client) = pair(Deflate::default());
    let message = [b'x'; 10_000];
    // Warms up this thread's compressor, which all its connections share.
    client.send(OpCode::Binary, &message, &mut Vec::new());
    let used = measure(|| {
        for _ in 0..3 {
            let mut wire = Vec::new();
            client.send(OpCode::Binary, &message, &mut wire);
            assert!(receive(&mut server, &wire).is_ok());
            wire.clear();
            server.send(OpCode::Binary, &message, &mut wire);
            assert!(receive(&mut client, &wire).is_ok());
            assert!(receive(&mut server, &masked(FIN | DEFLATED | BINARY, b"")).is_ok());
        }
    });
    assert_eq!(used.bytes_current, 0);
    assert!(used.bytes_max < INFLATER as u64 + 60_000, "{used:?}");
}

#[test]
fn a_thread_keeps_one_compressor() {
    std::thread::spawn(|| {
        let (mut server, _) = pair(Deflate::default());
        let mut out = Vec::with_capacity(1000);
        let first = measure(|| server.send(OpCode::Binary, &[0; 2000], &mut out));
        assert!(near(first, COMPRESSOR), "{first:?}");
        let next = measure(|| {
            for _ in 0..10 {
                let (mut other, _) = pair(Deflate::default());
                other.send(OpCode::Binary, &[0; 2000], &mut out);
            }
        });
        assert_eq!(next.bytes_current, 0);
    })
    .join()
    .unwrap();
}

#[test]
fn takeover_costs_what_the_documentation_says() {
    for (bits, compressor) in [(15, COMPRESSOR), (9, SMALL_COMPRESSOR)] {
        let deflate = Deflate::default()
            .with_takeover(true, true)
            .with_window_bits(bits, bits);
        let (mut server, mut client) = pair(deflate);
        let mut wire = Vec::with_capacity(4000);
        let sent = measure(|| client.send(OpCode::Binary, &[0; 2000], &mut wire));
        assert!(near(sent, compressor), "{bits}: {sent:?}");
        let received = measure(|| drop(receive(&mut server, &wire).unwrap()));
        assert!(near(received, INFLATER), "{bits}: {received:?}");
        let dropped = measure(|| drop((server, client)));
        assert!(-dropped.bytes_current > compressor + INFLATER);
    }
}

fn near(held: AllocationInfo, expected: i64) -> bool {
    (expected..expected + BOXES).contains(&held.bytes_current)
}

#[test]
fn a_bomb_costs_its_limit_and_a_chunk() {
    let config = Config::default().with_max_message(200_000);
    let deflate = Deflate::default();
    let agreement = deflate.accept([deflate.offer().as_str()]).unwrap();
    let mut server = Connection::new(Role::Server, config).with_deflate(agreement);
    let mut bomb = masked(FIN | DEFLATED | BINARY, &deflated(&vec![0; 20_000_000], 9));
    assert!(bomb.len() < 25_000);
    let used = measure(|| {
        let error = server.receive(&mut bomb.as_mut_slice());
        assert_eq!(error, Err(Error::InflatedTooBig { max: 200_000 }));
    });
    // The received part exists twice while it is moved.
    assert!(
        used.bytes_max < 200_000 * 2 + 8192 + INFLATER as u64 + 1024,
        "{used:?}"
    );
    assert!(used.bytes_current < 256, "{used:?}");
}

#[test]
fn a_message_that_stops_short_holds_an_inflater_and_what_it_gave() {
    let (mut server, _) = pair(Deflate::default());
    let payload = deflated(&[b'x'; 3000], 6);
    let mut frame = masked(FIN | DEFLATED | BINARY, &payload);
    let (head, rest) = frame.split_at_mut(6);
    let nothing = measure(|| {
        let mut head = head;
        assert_eq!(server.receive(&mut head), Ok(None));
    });
    assert_eq!(nothing.bytes_total, 0, "a head alone allocates nothing");
    let last = rest.len() - 1;
    let held = measure(|| {
        let mut rest = &mut rest[..last];
        assert_eq!(server.receive(&mut rest), Ok(None));
    });
    assert!(held.bytes_current < INFLATER + 8192 + BOXES, "{held:?}");
    assert!(server.buffered() <= 3000);
    let end = measure(|| {
        let mut end = &mut rest[last..];
        let event = server.receive(&mut end).unwrap();
        assert_eq!(event, Some(Event::Binary(vec![b'x'; 3000].into())));
    });
    assert_eq!(held.bytes_current + end.bytes_current, 0);
}

#[test]
fn an_error_lets_go_of_contexts() {
    let deflate = Deflate::default().with_takeover(true, true);
    let (mut server, mut client) = pair(deflate);
    let mut wire = Vec::new();
    client.send(OpCode::Binary, &[0; 2000], &mut wire);
    receive(&mut server, &wire).unwrap();
    server.send(OpCode::Binary, &[0; 2000], &mut wire);
    let wrong = masked(FIN | CONTINUATION, b"");
    let freed = measure(|| {
        receive(&mut server, &wrong).unwrap_err();
    });
    assert!(
        freed.bytes_current < -(COMPRESSOR + INFLATER) + BOXES,
        "{freed:?}"
    );
}
