//! Shared by both echo programs: HTTP heads by hand, and a blocking loop around the machine.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tramline_websocket::{Config, Connection, Deflate, Event, OpCode};

/// Limits that admit all of the Autobahn test suite: messages of 16 MiB, and one of 4 MiB in fragments of 64 bytes,
/// followed by an empty one.
pub(crate) fn config() -> Config {
    Config::default()
        .with_max_message(16 * MIB)
        .with_max_frame(16 * MIB)
        .with_max_fragments(65_537)
}

/// Compresses everything and keeps contexts, to exercise the whole extension.
pub(crate) fn deflate() -> Deflate {
    Deflate::default().with_above(0).with_takeover(true, true)
}

/// Reads a request's or response's head; also returns the bytes after it.
pub(crate) fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            let head = String::from_utf8(read).map_err(|_| invalid("a head that is not text"))?;
            return Ok((head, rest));
        }
        if read.len() > MAX_HEAD {
            return Err(invalid("a head of more than 16 KiB"));
        }
        let mut piece = [0; 1024];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => read.extend_from_slice(&piece[..len]),
        }
    }
}

/// Returns the values of a header, one per line.
pub(crate) fn header<'a>(head: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    head.lines().skip(1).filter_map(move |line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Echoes each message until both ends have closed; returns the last message received.
pub(crate) fn echo(
    stream: &mut TcpStream,
    connection: &mut Connection,
    mut early: Vec<u8>,
) -> io::Result<Vec<u8>> {
    let (mut buffer, mut out, mut last) = (vec![0; 64 * 1024], Vec::new(), Vec::new());
    let mut input = early.as_mut_slice();
    loop {
        loop {
            match connection.receive(&mut input) {
                Ok(Some(Event::Text(text))) => {
                    connection.send(OpCode::Text, text.as_bytes(), &mut out);
                    last = text.into_bytes().into();
                }
                Ok(Some(Event::Binary(bytes))) => {
                    connection.send(OpCode::Binary, &bytes, &mut out);
                    last = bytes.into();
                }
                Ok(Some(Event::Ping(_) | Event::Pong(_) | Event::Close(_))) => {}
                Ok(None) => break,
                Err(error) => eprintln!("the peer broke a rule: {error}"),
            }
            connection.poll_transmit(&mut out);
        }
        connection.poll_transmit(&mut out);
        stream.write_all(&out)?;
        out.clear();
        if connection.is_closed() {
            return Ok(last);
        }
        let len = match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => len,
        };
        input = &mut buffer[..len];
    }
}

/// Reads until the peer ends TCP: a socket dropped with unread bytes is reset, and the peer may miss our Close. Errors
/// of TCP no longer matter.
pub(crate) fn linger(stream: &mut TcpStream) {
    let timeout = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut ignored = [0; 4096];
    while timeout.is_ok() && stream.read(&mut ignored).is_ok_and(|len| len > 0) {}
}

pub(crate) fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

const MAX_HEAD: usize = 16 * 1024;
const MIB: usize = 1024 * 1024;
