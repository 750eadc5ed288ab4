//! Counts the codec's allocations per thread, with the global allocator of `allocation-counter`.

use std::{sync::Arc, time::Instant};

use allocation_counter::measure;
use tramline_stomp::{
    Bytes, Command, Decoded, Decoder, Frame, Headers, Limits, ServerConfig, ServerConnection,
    ServerEvent, Version, encode_message_tail,
};

const SEND: &[u8] = b"SEND\r\ndestination:/topic/a\r\ncontent-type:text/plain\r\nx-note:y\r\n\
                      content-length:5\r\n\r\nhello\0";

/// A piece of input that is shared already, like a split of a socket's buffer.
fn shared(wire: &[u8]) -> Bytes {
    let bytes = Bytes::copy_from_slice(wire);
    // The first clone allocates the shared state; later ones do not.
    drop(bytes.clone());
    bytes
}

/// Counts the allocations until the frames of these pieces are decoded and dropped.
fn decoding(pieces: &[Bytes], frames: usize) -> u64 {
    let mut decoder = Decoder::new(Limits::default());
    let mut read = 0;
    let counted = measure(|| {
        for piece in pieces {
            decoder.feed(piece.clone());
            while let Some(decoded) = decoder.next().unwrap() {
                read += usize::from(matches!(decoded, Decoded::Frame(_)));
            }
        }
    });
    assert_eq!(read, frames);
    assert_eq!(counted.count_current, 0, "what it held is given back");
    counted.count_total
}

#[test]
fn a_frame_in_a_piece_of_its_own_allocates_its_list_of_headers() {
    assert_eq!(decoding(&[shared(SEND)], 1), 1);
    let larger = [b"SEND\ndestination:/a\n\n", &[b'x'; 50_000][..], b"\0"].concat();
    assert_eq!(decoding(&[shared(&larger)], 1), 1);
}

#[test]
fn a_frame_without_headers_and_heart_beats_allocate_nothing() {
    assert_eq!(decoding(&[shared(b"\nDISCONNECT\n\n\0\n")], 1), 0);
    assert_eq!(decoding(&[shared(b"\r\n"), shared(b"\n")], 0), 0);
}

/// A small frame of a large piece is copied out: the copy, and the shared state of its slices.
#[test]
fn a_frame_of_a_large_piece_allocates_three_times() {
    let frames = 100;
    let piece = shared(&SEND.repeat(frames));
    assert_eq!(decoding(&[piece], frames), 3 * frames as u64);
}

/// Besides the list of headers: the state, the buffer, the shared state of its slices, the buffer's growth by doubling,
/// and each line that begins in one piece and ends in another.
#[test]
fn a_frame_in_pieces_allocates_by_its_size_and_not_by_its_pieces() {
    for (piece, growth, lines) in [(64, 1, 1), (16, 3, 6), (1, 5, 6)] {
        let pieces: Vec<_> = SEND.chunks(piece).map(shared).collect();
        let counted = decoding(&pieces, 1);
        assert!(counted <= 4 + growth + lines, "{piece}: {counted}");
    }
}

#[test]
fn only_escapes_are_copied() {
    let plain = b"SEND\ndestination:/a\nx:y\nz:1\n\n\0";
    let escaped = b"SEND\ndestination:/a\nx:\\c\nz:1\n\n\0";
    let [plain, escaped] = [&plain[..], escaped].map(|wire| decoding(&[shared(wire)], 1));
    assert_eq!(plain, 1);
    assert_eq!(escaped, plain + 2);
}

#[test]
fn encoding_allocates_nothing_where_there_is_room() {
    let frame = Frame::new(Command::Message)
        .header("destination", "/topic/a:b")
        .body("hello");
    let headers = Headers::from_iter([("note", "a\nb")]);
    let mut out = Vec::with_capacity(1024);
    for version in Version::ALL {
        out.clear();
        let counted = measure(|| {
            frame.encode(version, &mut out);
            encode_message_tail(version, "7-1", "/topic/a", &headers, b"hello", &mut out);
        });
        assert_eq!(counted.count_total, 0);
        assert!(!out.is_empty());
    }
}

fn connected() -> ServerConnection {
    let now = Instant::now();
    let mut server = ServerConnection::new(Arc::new(ServerConfig::default()), now);
    server.receive(
        Bytes::from_static(b"CONNECT\naccept-version:1.2\n\n\0"),
        now,
    );
    assert!(server.poll_event().is_some());
    server.accept(None, None, now);
    assert!(server.poll_transmit().is_some());
    server
}

#[test]
fn heads_of_deliveries_allocate_nothing_where_there_is_room() {
    let mut server = connected();
    let wire = b"SUBSCRIBE\nid:a\ndestination:/q\nack:client\n\n\0";
    server.receive(Bytes::from_static(wire), Instant::now());
    assert!(server.poll_event().is_some());
    let mut out = Vec::with_capacity(128);
    let counted = measure(|| {
        assert!(server.tagged_head(0, u32::MAX, u32::MAX, &mut out));
        out.extend_from_slice(server.message_head(0).unwrap());
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn the_machine_adds_nothing_to_what_decoding_allocates() {
    let now = Instant::now();
    let mut server = connected();
    let piece = shared(SEND);
    let counted = measure(|| {
        server.receive(piece.clone(), now);
        let event = server.poll_event();
        assert!(matches!(event, Some(ServerEvent::Send(_))));
    });
    assert_eq!(counted.count_total, 1);
}
