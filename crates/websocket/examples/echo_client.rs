//! `cargo run -p tramline-websocket --example echo_client -- 127.0.0.1:9001`: a WebSocket client that runs all cases of
//! Autobahn's fuzzing server (`wstest -m fuzzingserver`), requests the reports and ends the server.

mod support;

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::net::TcpStream;

use tramline_websocket::{Connection, Role, accept_key, client_key};

const AGENT: &str = "tramline";

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:9001".to_owned());
    let count = play(&address, "/getCaseCount")?;
    let count: usize = String::from_utf8_lossy(&count)
        .parse()
        .map_err(|_| support::invalid("the number of cases is not a number"))?;
    for case in 1..=count {
        // Some cases end with a dropped connection on purpose.
        if let Err(error) = play(&address, &format!("/runCase?case={case}&agent={AGENT}")) {
            eprintln!("case {case}: {error}");
        }
    }
    // The server writes its reports and ends, with our connection or before it.
    match play(
        &address,
        &format!("/updateReports?agent={AGENT}&shutdownOnComplete=true"),
    ) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        Ok(_) | Err(_) => println!("{count} cases played"),
    }
    Ok(())
}

/// Connects, echoes everything, and returns the last message received.
fn play(address: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let key = client_key(nonce());
    let (deflate, extensions) = (support::deflate(), "Sec-WebSocket-Extensions");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{extensions}: {}\r\n\r\n",
        deflate.offer()
    )?;
    let (head, early) = support::read_head(&mut stream)?;
    let accepted = support::header(&head, "Sec-WebSocket-Accept").next();
    if !head.starts_with("HTTP/1.1 101 ") || accepted != Some(&accept_key(&key)) {
        return Err(support::invalid("the server did not take the handshake"));
    }
    let mut connection = Connection::new(Role::Client, support::config());
    match deflate.confirm(support::header(&head, extensions)) {
        Ok(Some(agreement)) => connection = connection.with_deflate(agreement),
        Ok(None) => {}
        Err(error) => return Err(support::invalid(&error.to_string())),
    }
    let last = support::echo(&mut stream, &mut connection, early)?;
    support::linger(&mut stream);
    Ok(last)
}

/// Returns sixteen bytes that differ between connections.
fn nonce() -> [u8; 16] {
    let half = || RandomState::new().build_hasher().finish().to_be_bytes();
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&half());
    nonce[8..].copy_from_slice(&half());
    nonce
}
