//! Bytes of WebSocket and STOMP frames.

use std::io;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha1::{Digest, Sha1};

/// The answer to a request, when its head is complete, and how many bytes that has.
pub(crate) fn answer_handshake(bytes: &mut [u8]) -> io::Result<(usize, Option<String>)> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok((0, None));
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let key = field("sec-websocket-key").ok_or(io::ErrorKind::InvalidData)?;
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = STANDARD.encode(digest);
    let protocol = field("sec-websocket-protocol").map_or_else(String::new, |offered| {
        let first = offered.split(',').next().unwrap_or_default();
        format!("Sec-WebSocket-Protocol: {first}\r\n")
    });
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         {accept}\r\n{protocol}\r\n"
    );
    Ok((end + 4, Some(answer)))
}

/// Unmasks the first frame, if it is complete, and gives its opcode and where its payload is.
pub(crate) fn next(bytes: &mut [u8]) -> io::Result<Option<(u8, Range<usize>)>> {
    let &mut [first, second, ..] = bytes else {
        return Ok(None);
    };
    if first & 0x80 == 0 || second & 0x80 == 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (head, length) = match second & 0x7f {
        126 => match bytes.get(2..4) {
            Some(length) => (4, usize::from(length[0]) << 8 | usize::from(length[1])),
            None => return Ok(None),
        },
        127 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
            Some(length) => (
                10,
                usize::try_from(u64::from_be_bytes(*length)).map_err(io::Error::other)?,
            ),
            None => return Ok(None),
        },
        length => (2, usize::from(length)),
    };
    let payload = head + 4..head + 4 + length;
    let Some((mask, content)) = bytes
        .get_mut(head..payload.end)
        .and_then(<[u8]>::split_first_chunk_mut::<4>)
    else {
        return Ok(None);
    };
    unmask(content, *mask);
    Ok(Some((first & 0xf, payload)))
}

fn unmask(content: &mut [u8], [a, b, c, d]: [u8; 4]) {
    let eight = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = content.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ eight).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= mask;
    }
}

fn put_head(out: &mut Vec<u8>, opcode: u8, length: usize) {
    out.push(0x80 | opcode);
    match length {
        0..126 => out.push(length as u8),
        126..65536 => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 10);
    put_head(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out
}

/// The rest of a MESSAGE behind its message-id, the same for every subscriber.
pub(crate) fn tail(destination: &str, body: &[u8]) -> Bytes {
    let head = format!(
        "destination:{destination}\ncontent-length:{}\n\n",
        body.len()
    );
    [head.as_bytes(), body, b"\0"].concat().into()
}

/// Appends a MESSAGE in a WebSocket frame.
pub(crate) fn put_message(out: &mut Vec<u8>, head: &[u8], number: u64, tail: &[u8]) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let number = &digits[first..];
    put_head(out, 0x1, head.len() + number.len() + 1 + tail.len());
    out.extend_from_slice(head);
    out.extend_from_slice(number);
    out.push(b'\n');
    out.extend_from_slice(tail);
}

/// The parts of a STOMP frame that the floor reads.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame<'a> {
    pub(crate) command: &'a [u8],
    pub(crate) destination: &'a str,
    pub(crate) id: &'a str,
    pub(crate) receipt: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame of a message; `None` for a heart-beat.
    pub(crate) fn parse(bytes: &'a [u8]) -> io::Result<Option<Self>> {
        let Some(end) = memchr::memmem::find(bytes, b"\n\n") else {
            return Ok(None);
        };
        let mut frame = Self {
            command: b"",
            destination: "",
            id: "",
            receipt: None,
            body: bytes[end + 2..].strip_suffix(b"\0").unwrap_or_default(),
        };
        for line in bytes[..end].split(|byte| *byte == b'\n') {
            let text = |value| std::str::from_utf8(value).map_err(io::Error::other);
            if frame.command.is_empty() {
                frame.command = line;
            } else if let Some(value) = line.strip_prefix(b"destination:") {
                frame.destination = text(value)?;
            } else if let Some(value) = line.strip_prefix(b"id:") {
                frame.id = text(value)?;
            } else if let Some(value) = line.strip_prefix(b"receipt:") {
                frame.receipt = Some(text(value)?);
            }
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_unmasked_when_it_is_whole() {
        let payload = b"hello, this is long";
        let mask = [1, 2, 3, 4];
        let mut bytes = vec![0x81, 0x80 | payload.len() as u8, 1, 2, 3, 4];
        let masked = payload.iter().zip(mask.iter().cycle());
        bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
        let last = bytes.len() - 1;
        assert_eq!(next(&mut bytes[..last]).unwrap(), None);
        let (opcode, place) = next(&mut bytes).unwrap().unwrap();
        assert_eq!((opcode, &bytes[place]), (1, &payload[..]));
    }

    #[test]
    fn a_message_is_what_a_client_expects() {
        let mut out = vec![];
        let head = b"MESSAGE\nsubscription:0\nmessage-id:3-";
        put_message(&mut out, head, 120, &tail("/topic/a", b"hi"));
        let text = "MESSAGE\nsubscription:0\nmessage-id:3-120\ndestination:/topic/a\ncontent-length:2\n\nhi\0";
        assert_eq!(out, frame(1, text.as_bytes()));
    }

    #[test]
    fn parses_what_the_load_generator_sends() {
        let frame = Frame::parse(b"SUBSCRIBE\nid:7\ndestination:/topic/a\nreceipt:r\n\n\0");
        let frame = frame.unwrap().unwrap();
        assert_eq!((frame.command, frame.id), (&b"SUBSCRIBE"[..], "7"));
        assert_eq!((frame.destination, frame.receipt), ("/topic/a", Some("r")));
        assert_eq!(Frame::parse(b"\n").unwrap(), None);
    }

    #[test]
    fn answers_with_the_accept_of_the_specification() {
        let mut request =
            b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_vec();
        let (used, answer) = answer_handshake(&mut request).unwrap();
        assert_eq!(used, request.len());
        assert!(answer.unwrap().contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}
