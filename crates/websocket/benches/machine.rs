//! `cargo bench -p tramline-websocket`: masking, receiving, compressing.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use tramline_websocket::{Config, Connection, Deflate, OpCode, Role, apply_mask, deflate_tail};

fn main() {
    divan::main();
}

#[divan::bench(args = [16, 125, 1024, 65_536])]
fn mask(bencher: Bencher<'_, '_>, len: usize) {
    let mut payload = vec![7; len];
    bencher
        .counter(BytesCount::new(len))
        .bench_local(|| apply_mask(black_box(&mut payload), black_box([1, 2, 3, 4]), 1));
}

/// The RFC's definition, for comparison.
#[divan::bench(args = [16, 125, 1024, 65_536])]
fn mask_byte_by_byte(bencher: Bencher<'_, '_>, len: usize) {
    let mut payload = vec![7; len];
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        let key = black_box([1_u8, 2, 3, 4]);
        for (at, byte) in black_box(&mut payload).iter_mut().enumerate() {
            *byte ^= key[(at + 1) % 4];
        }
    });
}

/// Receives a client's text: unmasks, checks and copies it.
#[divan::bench(args = [125, 1024, 65_536])]
fn receive(bencher: Bencher<'_, '_>, len: usize) {
    let mut client = Connection::new_client(Config::default(), 1);
    let mut server = Connection::new(Role::Server, Config::default());
    let mut wire = Vec::new();
    client.send(OpCode::Text, &vec![b'x'; len], &mut wire);
    let frame = wire.clone();
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        wire.copy_from_slice(&frame);
        server.receive(&mut wire.as_mut_slice())
    });
}

#[divan::bench(args = [256, 1024, 10_240])]
fn inflate(bencher: Bencher<'_, '_>, len: usize) {
    let deflate = Deflate::default().with_above(0);
    let accepted = deflate
        .accept([deflate.offer().as_str()])
        .expect("the ends want the same");
    let mut client = Connection::new_client(Config::default(), 1).with_deflate(accepted);
    let mut server = Connection::new(Role::Server, Config::default()).with_deflate(accepted);
    let mut wire = Vec::new();
    client.send(OpCode::Text, &prices(len), &mut wire);
    let frame = wire.clone();
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        wire.copy_from_slice(&frame);
        server.receive(&mut wire.as_mut_slice())
    });
}

#[divan::bench(args = [256, 1024, 10_240], consts = [1, 3, 6, 9])]
fn deflate<const LEVEL: u8>(bencher: Bencher<'_, '_>, len: usize) {
    let payload = prices(len);
    bencher
        .counter(BytesCount::new(len))
        .bench_local(|| deflate_tail(black_box(&payload), LEVEL));
}

/// Typical published JSON: the same names and other numbers in each object.
fn prices(len: usize) -> Vec<u8> {
    let objects = (0_u64..).map(|n| {
        let (bid, volume) = (n * 7919 % 100_000, n * 104_729 % 1_000_000);
        format!(
            r#"{{"symbol":"EURUSD","bid":1.{bid:05},"volume":{volume},"venue":"LMAX","seq":{n}}},"#
        )
    });
    objects.flat_map(String::into_bytes).take(len).collect()
}
