//! Bytes of client frames, and what a message's body carries.

use std::time::Duration;

/// Any mask does; the server has to undo it all the same.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Digits in a body: sixteen of its stamp, eight of its number.
pub(crate) const STAMPED: usize = 24;

/// One masked text message.
pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    frame(0x1, payload)
}

/// One masked frame with FIN.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(opcode, payload.len());
    mask(&mut bytes, payload);
    bytes
}

fn head(opcode: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes
}

fn mask(bytes: &mut Vec<u8>, payload: &[u8]) {
    let masked = payload.iter().zip(MASK.iter().cycle());
    bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
}

/// A masked CONNECT with stompjs' heart-beats. The client's own are not sent: a run is over before the server misses them.
pub(crate) fn connect() -> Vec<u8> {
    text(b"CONNECT\naccept-version:1.2\nhost:localhost\nheart-beat:10000,10000\n\n\0")
}

pub(crate) fn subscribe(id: &str, destination: &str, receipt: Option<&str>) -> Vec<u8> {
    let receipt = receipt.map_or_else(String::new, |name| format!("receipt:{name}\n"));
    text(format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\n{receipt}\n\0").as_bytes())
}

pub(crate) fn send(destination: &str, body: &[u8]) -> Vec<u8> {
    let mut payload = format!("SEND\ndestination:{destination}\n\n").into_bytes();
    payload.extend_from_slice(body);
    payload.push(0);
    text(&payload)
}

/// A masked SEND whose stamp and number are written in for each message.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    body: usize,
    phase: usize,
}

impl Template {
    /// A body of `size` bytes, [`STAMPED`] at least.
    pub(crate) fn new(destination: &str, size: usize) -> Self {
        let body: Vec<u8> = b"0123456789 abcdefghijklmnopqrstuvwxyz "
            .iter()
            .copied()
            .cycle()
            .take(size.max(STAMPED))
            .collect();
        let bytes = send(destination, &body);
        // The NUL is last.
        let body_at = bytes.len() - 1 - body.len();
        let head = "SEND\ndestination:\n\n".len() + destination.len();
        Self {
            bytes,
            body: body_at,
            phase: head % MASK.len(),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, stamp: Duration, number: u32) {
        let begin = out.len() + self.body;
        out.extend_from_slice(&self.bytes);
        let text = format!("{:016x}{number:08x}", stamp.as_nanos() as u64);
        let place = out[begin..].iter_mut().zip(text.bytes());
        for ((byte, digit), mask) in place.zip(MASK.iter().cycle().skip(self.phase)) {
            *byte = digit ^ mask;
        }
    }
}

/// Stamp and number of a MESSAGE's body; `None` for other frames.
pub(crate) fn stamp(payload: &[u8]) -> Option<(Duration, u32)> {
    let payload = payload.strip_prefix(b"MESSAGE\n")?;
    let body = memchr::memmem::find(payload, b"\n\n")? + 2;
    let digits = std::str::from_utf8(payload.get(body..body + STAMPED)?).ok()?;
    let stamp = u64::from_str_radix(&digits[..16], 16).ok()?;
    let number = u32::from_str_radix(&digits[16..], 16).ok()?;
    Some((Duration::from_nanos(stamp), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(bytes: &[u8]) -> Vec<u8> {
        let head = match bytes[1] & 127 {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let mask = bytes[head..head + 4].iter().cycle();
        let payload = bytes[head + 4..].iter();
        payload.zip(mask).map(|(byte, mask)| byte ^ mask).collect()
    }

    #[test]
    fn a_template_carries_its_stamp_through_the_mask() {
        for destination in ["/t", "/to", "/top", "/topic/bench"] {
            for size in [0, 128, 4096, 70_000] {
                let template = Template::new(destination, size);
                let mut bytes = vec![];
                template.write(&mut bytes, Duration::from_nanos(0xabc), 7);
                let sent = unmasked(&bytes);
                let head = format!("SEND\ndestination:{destination}\n\n");
                let body = sent.strip_prefix(head.as_bytes()).unwrap();
                assert_eq!(body.len(), size.max(STAMPED) + 1);
                let received = [b"MESSAGE\nsubscription:0\n\n", body].concat();
                assert_eq!(stamp(&received), Some((Duration::from_nanos(0xabc), 7)));
            }
        }
    }

    #[test]
    fn other_frames_have_no_stamp() {
        assert_eq!(stamp(b"RECEIPT\nreceipt-id:1\n\n\0"), None);
        assert_eq!(stamp(b"MESSAGE\nsubscription:0\n\nshort\0"), None);
    }
}
