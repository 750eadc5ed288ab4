//! Memory held by a connection, and its release.

use allocation_counter::{AllocationInfo, measure};
use tramline_websocket::{CloseCode, Config, Connection, Error, Event, OpCode, Role};

use crate::{BINARY, CLOSE, CONTINUATION, FIN, PING, TEXT, client, masked, receive, server};

#[test]
fn a_connection_is_small() {
    let size = size_of::<Connection>();
    assert!(size <= 128, "{size} bytes");
    assert!(size_of::<Result<Option<Event>, Error>>() <= 48);
}

#[test]
fn an_idle_connection_owns_no_heap() {
    for idle in [server, client] {
        let mut connection = None;
        let made = measure(|| connection = Some(idle()));
        assert_eq!(made.bytes_total, 0);
        drop(connection);
    }
    // Not before the first message, and not after any sort of traffic.
    let traffic = [
        masked(FIN | TEXT, &[b'x'; 10_000]),
        masked(TEXT, &[b'x'; 10_000]),
        masked(FIN | PING, b"ping"),
        masked(CONTINUATION, "🚋".as_bytes()),
        masked(FIN | CONTINUATION, b""),
        masked(BINARY, &[1; 70_000]),
        masked(FIN | CONTINUATION, &[2; 5]),
        masked(FIN | PING, b"again"),
    ]
    .concat();
    for step in [1, 7, 4096, traffic.len()] {
        let mut connection = server();
        let mut input = traffic.clone();
        let used = measure(|| {
            for piece in input.chunks_mut(step) {
                let mut piece = piece;
                while let Some(event) = connection.receive(&mut piece).unwrap() {
                    drop(event);
                }
            }
            let mut out = Vec::new();
            assert!(connection.poll_transmit(&mut out));
        });
        assert_eq!(used.bytes_current, 0, "in steps of {step}");
        assert_eq!(connection.buffered(), 0);
    }
}

#[test]
fn a_whole_frame_costs_one_allocation_of_its_size() {
    for kind in [TEXT, BINARY] {
        let mut connection = server();
        let mut frame = masked(FIN | kind, &[b'x'; 5000]);
        let mut event = None;
        let used = measure(|| event = connection.receive(&mut frame.as_mut_slice()).unwrap());
        assert_eq!((used.count_total, used.bytes_total), (1, 5000));
        assert!(event.is_some());
    }
}

#[test]
fn a_frame_in_two_reads_is_allocated_once_and_exactly() {
    let mut connection = server();
    let mut frame = masked(FIN | BINARY, &[7; 20_000]);
    let (first, second) = frame.split_at_mut(12_000);
    let mut event = None;
    let used = measure(|| {
        let (mut first, mut second) = (first, second);
        assert_eq!(connection.receive(&mut first), Ok(None));
        event = connection.receive(&mut second).unwrap();
    });
    assert_eq!(used.count_total, 2, "the buffer, and the box that knows it");
    assert!(used.bytes_total < 20_100, "{used:?}");
    assert_eq!(event, Some(Event::Binary(vec![7; 20_000].into())));
}

#[test]
fn a_frame_in_many_reads_ends_in_memory_of_its_size() {
    for kind in [TEXT, BINARY] {
        let mut connection = server();
        // An odd cut splits a character, whose first half is held outside the text.
        let mut frame = masked(FIN | kind, "é".repeat(20_000).as_bytes());
        let mut event = None;
        let held = measure(|| {
            let (mut first, rest) = frame.split_at_mut(8 + 5001);
            let (mut second, mut third) = rest.split_at_mut(5000);
            assert_eq!(connection.receive(&mut first), Ok(None));
            assert_eq!(connection.receive(&mut second), Ok(None));
            event = connection.receive(&mut third).unwrap();
        });
        assert!(event.is_some());
        assert_eq!(held.bytes_current, 40_000);
    }
}

#[test]
fn a_head_that_announces_exabytes_allocates_nothing() {
    // Even with no limit to stop it.
    for config in [
        Config::default(),
        Config::default()
            .with_max_frame(usize::MAX)
            .with_max_message(usize::MAX),
    ] {
        let unlimited = config.max_frame == usize::MAX;
        let mut connection = Connection::new(Role::Server, config);
        let head = [
            &[FIN | BINARY, 0x80 | 127][..],
            &(1_u64 << 62).to_be_bytes(),
            &[1, 2, 3, 4],
        ]
        .concat();
        let mut bytes = head.clone();
        let mut outcome = Ok(None);
        let used = measure(|| outcome = connection.receive(&mut bytes.as_mut_slice()));
        if unlimited {
            assert_eq!(outcome, Ok(None));
            assert_eq!(used.bytes_total, 0);
            let payload =
                measure(|| assert_eq!(connection.receive(&mut [0; 10].as_mut_slice()), Ok(None)));
            assert!(
                payload.bytes_total < 4096 + 128,
                "a page, not what was announced: {payload:?}"
            );
        } else {
            assert_eq!(
                outcome,
                Err(Error::MessageTooBig {
                    len: 1 << 62,
                    max: 1 << 20
                })
            );
            assert!(
                used.bytes_current < 256,
                "the Close and nothing else: {used:?}"
            );
        }
    }
}

#[test]
fn memory_grows_with_what_was_sent() {
    for (kind, fin) in [(TEXT, 0), (TEXT, FIN), (BINARY, 0), (BINARY, FIN)] {
        let mut connection = Connection::new(Role::Server, Config::default());
        let mut frame = masked(fin | kind, &vec![b'x'; 1 << 20]);
        let mut sent = 0;
        let mut held = 0;
        let mut moved = 0;
        for piece in frame[..900_000].chunks_mut(1500) {
            sent += piece.len() as i64;
            let AllocationInfo {
                bytes_current,
                bytes_total,
                ..
            } = measure(|| {
                let mut piece = piece;
                assert_eq!(connection.receive(&mut piece), Ok(None));
            });
            held += bytes_current;
            moved += bytes_total;
            assert!(
                held <= 2 * sent + 4096 + 128,
                "{held} bytes held for {sent}"
            );
        }
        assert!(moved < 5_000_000, "amortised: {moved} bytes in all");
    }
}

#[test]
fn a_hundred_thousand_empty_fragments_hold_nothing() {
    let mut connection =
        Connection::new(Role::Server, Config::default().with_max_fragments(u32::MAX));
    receive(&mut connection, &masked(BINARY, b"")).unwrap();
    let fragment = masked(CONTINUATION, b"");
    let used = measure(|| {
        for _ in 0..100_000 {
            let mut fragment: [u8; 6] = fragment.as_slice().try_into().unwrap();
            connection.receive(&mut fragment.as_mut_slice()).unwrap();
        }
    });
    assert_eq!(used.bytes_total, 0);
}

#[test]
fn a_flood_of_pings_holds_few_pongs() {
    let mut connection = server();
    let mut held = 0;
    for _ in 0..1000 {
        let mut ping = masked(FIN | PING, &[1; 125]);
        held += measure(|| {
            connection.receive(&mut ping.as_mut_slice()).unwrap();
        })
        .bytes_current;
    }
    assert!(held < 40_000, "{held}");
}

#[test]
fn an_error_lets_go_of_the_message() {
    let mut connection = server();
    let mut begun = masked(BINARY, &[0; 100_000]);
    let mut wrong = masked(FIN | BINARY, b"");
    let held = measure(|| {
        connection.receive(&mut begun.as_mut_slice()).unwrap();
        connection.receive(&mut wrong.as_mut_slice()).unwrap_err();
    });
    assert!(held.bytes_current < 256, "{held:?}");
}

#[test]
fn a_close_lets_go_of_the_message() {
    let mut connection = server();
    let mut begun = masked(BINARY, &[0; 100_000]);
    let mut close = masked(FIN | CLOSE, b"");
    let held = measure(|| {
        connection.receive(&mut begun.as_mut_slice()).unwrap();
        connection.receive(&mut close.as_mut_slice()).unwrap();
    });
    assert!(held.bytes_current < 256, "{held:?}");
    assert_eq!(connection.buffered(), 0);
}

#[test]
fn sending_allocates_in_the_callers_buffer_only() {
    for mut connection in [server(), client()] {
        let mut out = Vec::with_capacity(8192);
        let used = measure(|| {
            connection.send(OpCode::Text, &[b'x'; 4096], &mut out);
            connection.ping(b"ping", &mut out);
        });
        assert_eq!(used.bytes_total, 0);
        connection.close(CloseCode::NORMAL, "");
        connection.poll_transmit(&mut out);
    }
}
