//! The machine from outside: valid input, invalid input, and its memory.

mod chunking;
mod closing;
mod deflate;
mod deflate_memory;
mod memory;
mod oracle;
mod protocol;
mod violations;

use tramline_websocket::{Config, Connection, Error, Event, Role, apply_mask};

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn server() -> Connection {
    Connection::new(Role::Server, Config::default())
}

fn client() -> Connection {
    Connection::new_client(Config::default(), 1)
}

/// Encodes a frame as a server sends it, independently of the crate. `first` is FIN, reserved bits and opcode.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(len as u8),
        len @ 126..=0xffff => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// Encodes the same frame as a client sends it.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = plain(first, payload);
    let head = frame.len() - payload.len();
    frame[1] |= 0x80;
    apply_mask(&mut frame[head..], key, 0);
    frame.splice(head..head, key);
    frame
}

/// Lends `bytes` in one piece and collects the events.
fn receive(connection: &mut Connection, bytes: &[u8]) -> Result<Vec<Event>, Error> {
    let mut bytes = bytes.to_vec();
    let mut input = bytes.as_mut_slice();
    let mut events = Vec::new();
    while let Some(event) = connection.receive(&mut input)? {
        events.push(event);
    }
    assert!(input.is_empty(), "Ok(None) leaves nothing");
    Ok(events)
}

/// Returns the machine's replies.
fn transmit(connection: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(
        connection.has_transmit(),
        connection.poll_transmit(&mut out)
    );
    assert!(!connection.has_transmit());
    out
}
