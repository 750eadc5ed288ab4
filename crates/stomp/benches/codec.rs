//! The cost of decoding and encoding: time, bytes per second and allocations.
//!
//! ```text
//! cargo bench -p tramline-stomp                     everything
//! cargo bench -p tramline-stomp -- decode           benchmarks whose names contain it
//! ```

use std::{sync::Arc, time::Instant};

use divan::{AllocProfiler, Bencher, black_box, counter::BytesCount};
use tramline_stomp::{
    Bytes, Command, Decoded, Decoder, Frame, Headers, Limits, ServerConfig, ServerConnection,
    Version, encode_message_tail,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const BODIES: [usize; 4] = [16, 128, 1024, 64 * 1024];

/// A message with the headers that clients send.
fn frame(body: usize) -> Frame {
    Frame::new(Command::Send)
        .header("destination", "/topic/prices/EUR-USD")
        .header("content-type", "application/json")
        .body(vec![b'x'; body])
}

/// Repeats a frame as often as one read of a socket may bring, at least once.
fn stream(frame: &[u8]) -> Bytes {
    frame.repeat((16 * 1024 / frame.len()).max(1)).into()
}

fn with_length(body: usize) -> Bytes {
    stream(&frame(body).to_bytes(Version::V1_2))
}

fn without_length(body: usize) -> Bytes {
    let head = b"SEND\ndestination:/topic/prices/EUR-USD\ncontent-type:application/json\n\n";
    stream(&[&head[..], &vec![b'x'; body], b"\0"].concat())
}

fn with_crlf(body: usize) -> Bytes {
    let head = format!(
        "SEND\r\ndestination:/topic/prices/EUR-USD\r\ncontent-type:application/json\r\n\
         content-length:{body}\r\n\r\n"
    );
    stream(&[head.as_bytes(), &vec![b'x'; body], b"\0\r\n"].concat())
}

fn with_headers(count: usize, value: &str) -> Bytes {
    let mut frame = frame(128);
    for number in 0..count {
        frame = frame.header(format!("x-header-{number}"), value);
    }
    stream(&frame.to_bytes(Version::V1_2))
}

/// Decodes the input in pieces of this length, repeatedly with the same decoder.
fn decode(bencher: Bencher<'_, '_>, input: &Bytes, piece: usize) {
    let mut decoder = Decoder::new(Limits::default());
    bencher
        .counter(BytesCount::new(input.len()))
        .bench_local(|| {
            for start in (0..input.len()).step_by(piece) {
                decoder.feed(input.slice(start..input.len().min(start + piece)));
                while let Some(Decoded::Frame(frame)) = decoder.next().expect("good frames") {
                    black_box(frame);
                }
            }
            assert_eq!(decoder.buffered(), 0);
        });
}

#[divan::bench(args = BODIES)]
fn decode_with_length(bencher: Bencher<'_, '_>, body: usize) {
    decode(bencher, &with_length(body), usize::MAX);
}

#[divan::bench(args = BODIES)]
fn decode_without_length(bencher: Bencher<'_, '_>, body: usize) {
    decode(bencher, &without_length(body), usize::MAX);
}

#[divan::bench(args = BODIES)]
fn decode_crlf(bencher: Bencher<'_, '_>, body: usize) {
    decode(bencher, &with_crlf(body), usize::MAX);
}

#[divan::bench(args = [8, 32, 60])]
fn decode_headers(bencher: Bencher<'_, '_>, count: usize) {
    decode(bencher, &with_headers(count, "a value"), usize::MAX);
}

#[divan::bench(args = [8, 32, 60])]
fn decode_escaped_headers(bencher: Bencher<'_, '_>, count: usize) {
    decode(bencher, &with_headers(count, "a:value"), usize::MAX);
}

/// Frames with bodies of 1 KiB, in pieces of this length.
#[divan::bench(args = [64, 536, 1460, 4096])]
fn decode_in_pieces(bencher: Bencher<'_, '_>, piece: usize) {
    decode(bencher, &with_length(1024), piece);
}

#[divan::bench(args = BODIES)]
fn encode_frame(bencher: Bencher<'_, '_>, body: usize) {
    let frame = frame(body);
    let mut out = Vec::new();
    frame.encode(Version::V1_2, &mut out);
    bencher.counter(BytesCount::new(out.len())).bench_local(|| {
        out.clear();
        black_box(&frame).encode(Version::V1_2, &mut out);
    });
}

#[divan::bench(args = BODIES)]
fn encode_tail(bencher: Bencher<'_, '_>, body: usize) {
    let headers = Headers::from_iter([("content-type", "application/json")]);
    let body = vec![b'x'; body];
    let encode = |out: &mut Vec<u8>| {
        let destination = black_box("/topic/prices/EUR-USD");
        encode_message_tail(Version::V1_2, "7-1", destination, &headers, &body, out);
    };
    let mut out = Vec::new();
    encode(&mut out);
    bencher.counter(BytesCount::new(out.len())).bench_local(|| {
        out.clear();
        encode(&mut out);
    });
}

/// A session with this many subscriptions, which are acknowledged one by one.
fn subscribed(count: usize) -> ServerConnection {
    let now = Instant::now();
    let mut server = ServerConnection::new(Arc::new(ServerConfig::default()), now);
    let mut receive = |text: String| {
        server.receive(text.into(), now);
        assert!(server.poll_event().is_some());
        server.accept(None, None, now);
    };
    receive("CONNECT\naccept-version:1.2\n\n\0".into());
    for id in 0..count {
        receive(format!(
            "SUBSCRIBE\nid:sub-{id}\ndestination:/queue/a\nack:client-individual\n\n\0"
        ));
    }
    server
}

#[divan::bench(args = [1, 10, 1000])]
fn head_plain(bencher: Bencher<'_, '_>, subscriptions: u32) {
    let server = subscribed(subscriptions as usize);
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        let head = server.message_head(black_box(subscriptions / 2));
        out.extend_from_slice(head.expect("it lives"));
    });
}

#[divan::bench(args = [1, 10, 1000])]
fn head_tagged(bencher: Bencher<'_, '_>, subscriptions: u32) {
    let server = subscribed(subscriptions as usize);
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        assert!(server.tagged_head(black_box(subscriptions / 2), 12_345, 0, &mut out));
    });
}
