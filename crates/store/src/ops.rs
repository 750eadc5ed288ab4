//! The content of records: one or more operations, all or none of which count.

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{Change, Destination, Headers, Message, Publish, Timestamp};

use crate::record::{u32_at, u64_at};

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    /// A message was stored.
    Enqueue(Stored<'a>),
    /// A message was removed.
    Remove(u64),
    /// A message came back so often in all.
    Redelivered { key: u64, count: u32 },
    /// The files that were there when this one was created.
    Files(Numbers<'a>),
    /// Files whose messages are elsewhere or gone; they are removed next.
    Dropped(Numbers<'a>),
    /// The last record of its file; `true` if the store was closed then.
    End(bool),
}

/// A stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    pub(crate) key: u64,
    pub(crate) redeliveries: u32,
    pub(crate) size: u32,
    /// The operation's bytes behind these.
    rest: &'a [u8],
}

/// Numbers of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.chunks_exact(8).map(|number| u64_at(number, 0))
    }
}

const ENQUEUE: u8 = 1;
const REMOVE: u8 = 2;
const REDELIVERED: u8 = 3;
const FILES: u8 = 4;
const DROPPED: u8 = 5;
const END: u8 = 6;

/// The bytes of an operation before its content: its kind and the content's length.
const OP_START: usize = 5;

/// The place of `redeliveries` in an encoded [`Op::Enqueue`].
const REDELIVERIES: usize = OP_START + 8;

/// Appends operations to `out`.
pub(crate) fn encode_changes(changes: &[Change<'_>], mut next_key: u64, out: &mut Vec<u8>) -> u64 {
    for change in changes {
        match change {
            Change::Enqueue { queue, message } => {
                op(ENQUEUE, out, |out| {
                    encode_message(next_key, queue, message, out);
                });
                next_key += 1;
            }
            Change::Remove { key } => op(REMOVE, out, |out| out.extend(key.0.to_le_bytes())),
            Change::Redelivered { key, count } => encode_redelivered(key.0, *count, out),
            // The broker makes no others.
            _ => {}
        }
    }
    next_key
}

pub(crate) fn encode_remove(key: u64, out: &mut Vec<u8>) {
    op(REMOVE, out, |out| out.extend(key.to_le_bytes()));
}

pub(crate) fn encode_redelivered(key: u64, count: u32, out: &mut Vec<u8>) {
    op(REDELIVERED, out, |out| {
        out.extend(key.to_le_bytes());
        out.extend(count.to_le_bytes());
    });
}

pub(crate) fn encode_files(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    encode_numbers(FILES, numbers)
}

pub(crate) fn encode_dropped(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    encode_numbers(DROPPED, numbers)
}

pub(crate) fn encode_end(closed: bool) -> Vec<u8> {
    let mut out = Vec::new();
    op(END, &mut out, |out| out.push(closed.into()));
    out
}

/// Appends a stored message again, as it is but for its count of redeliveries.
pub(crate) fn encode_again(stored: &Stored<'_>, redeliveries: u32, out: &mut Vec<u8>) {
    op(ENQUEUE, out, |out| {
        out.extend(stored.key.to_le_bytes());
        out.extend(redeliveries.to_le_bytes());
        out.extend(stored.size.to_le_bytes());
        out.extend(stored.rest);
    });
}

fn encode_numbers(kind: u8, numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut out = Vec::new();
    op(kind, &mut out, |out| {
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
    });
    out
}

fn op(kind: u8, out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(kind);
    out.extend([0; 4]);
    content(out);
    let length = (out.len() - start - OP_START) as u32;
    out[start + 1..start + OP_START].copy_from_slice(&length.to_le_bytes());
}

fn encode_message(key: u64, queue: &str, message: &Message, out: &mut Vec<u8>) {
    let text = |text: &str, out: &mut Vec<u8>| {
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let time = |time: Option<Timestamp>, out: &mut Vec<u8>| {
        // No time is zero: 1970 is over.
        out.extend(time.map_or(0, Timestamp::as_millis).to_le_bytes());
    };
    out.extend(key.to_le_bytes());
    debug_assert_eq!(REDELIVERIES, OP_START + 8, "they are behind the key");
    out.extend(0_u32.to_le_bytes());
    out.extend((message.size() as u32).to_le_bytes());
    text(queue, out);
    text(message.id(), out);
    text(message.destination(), out);
    time(message.time(), out);
    time(message.expires_at(), out);
    out.push(message.priority().map_or(0, |priority| priority + 1));
    text(message.trace_context().map_or("", |context| context), out);
    out.extend((message.headers().len() as u32).to_le_bytes());
    for (name, value) in message.headers().iter() {
        text(name, out);
        text(value, out);
    }
    out.extend((message.body().len() as u32).to_le_bytes());
    out.extend(message.body());
}

/// Reads the operations of a record's content; `None` in place of what this version cannot read.
pub(crate) fn ops(content: &[u8]) -> impl Iterator<Item = Option<Op<'_>>> {
    let mut rest = content;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let op = split_op(&mut rest);
        if op.is_none() {
            rest = &[];
        }
        Some(op)
    })
}

fn split_op<'a>(rest: &mut &'a [u8]) -> Option<Op<'a>> {
    let (start, behind) = rest.split_at_checked(OP_START)?;
    let (content, behind) = behind.split_at_checked(u32_at(start, 1) as usize)?;
    *rest = behind;
    let has = |length: usize| (content.len() == length).then_some(());
    Some(match start[0] {
        ENQUEUE => {
            let (numbers, rest) = content.split_at_checked(16)?;
            Op::Enqueue(Stored {
                key: u64_at(numbers, 0),
                redeliveries: u32_at(numbers, 8),
                size: u32_at(numbers, 12),
                rest,
            })
        }
        REMOVE => {
            has(8)?;
            Op::Remove(u64_at(content, 0))
        }
        REDELIVERED => {
            has(12)?;
            Op::Redelivered {
                key: u64_at(content, 0),
                count: u32_at(content, 8),
            }
        }
        FILES => Op::Files(Numbers(content)),
        DROPPED => Op::Dropped(Numbers(content)),
        END => {
            has(1)?;
            Op::End(content[0] != 0)
        }
        _ => return None,
    })
}

impl<'a> Stored<'a> {
    /// The name of its queue; `None` if it is not readable.
    pub(crate) fn queue(&self) -> Option<&'a str> {
        Reader(self.rest).text()
    }

    /// The bytes of the whole operation.
    pub(crate) fn encoded_len(&self) -> usize {
        OP_START + 16 + self.rest.len()
    }

    /// Makes the message anew; `None` if it is not readable. It shares no bytes with `self`.
    pub(crate) fn message(&self) -> Option<Publish> {
        let bytes = Bytes::copy_from_slice(self.rest);
        let mut reader = Reader(&bytes);
        let shared = |text: &str| ByteString::try_from(bytes.slice_ref(text.as_bytes())).ok();
        let queue = shared(reader.text()?)?;
        let id = shared(reader.text()?)?;
        let shown_as = shared(reader.text()?)?;
        let (time, expires_at) = (reader.time()?, reader.time()?);
        let priority = reader.bytes(1)?[0].checked_sub(1);
        let trace_context = shared(reader.text()?)?;
        let count = reader.number()? as usize;
        let mut headers = Headers::with_capacity(count.min(64));
        for _ in 0..count {
            headers.push(shared(reader.text()?)?, shared(reader.text()?)?);
        }
        let length = reader.number()? as usize;
        let body = bytes.slice_ref(reader.bytes(length)?);
        if !reader.0.is_empty() {
            return None;
        }
        let differs = shown_as != queue;
        let mut publish =
            Publish::new(Destination::parse(queue).ok()?, headers, body).numbered(id, None);
        if differs {
            publish = publish.shown_as(shown_as);
        }
        if let Some(time) = time {
            publish = publish.at(time);
        }
        if let Some(time) = expires_at {
            publish = publish.expires_at(time);
        }
        if let Some(priority) = priority {
            publish = publish.priority(priority);
        }
        if !trace_context.is_empty() {
            publish = publish.trace_context(trace_context);
        }
        Some(publish)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32_at(self.bytes(4)?, 0))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    fn time(&mut self) -> Option<Option<Timestamp>> {
        let millis = u64_at(self.bytes(8)?, 0);
        Some((millis > 0).then(|| Timestamp::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every property of a message comes back.
    #[test]
    fn a_message_is_read_as_it_was_written() {
        let destination = Destination::parse("/queue/a").unwrap();
        let headers = Headers::from_iter([("a", "1"), ("a", "2"), ("ü", "")]);
        let publish = Publish::new(destination, headers, &b"x\0y"[..])
            .numbered("id-7", None)
            .shown_as("/shown")
            .at(Timestamp::from_millis(5))
            .expires_at(Timestamp::from_millis(9))
            .priority(0)
            .trace_context("00-1-2-01");
        let message = Message::new(publish.clone(), "id-7".into(), None);
        let changes = [
            Change::Enqueue {
                queue: &"/queue/a".into(),
                message: &message,
            },
            Change::Remove {
                key: tramline_broker::Key(3),
            },
        ];
        let mut content = Vec::new();
        assert_eq!(encode_changes(&changes, 40, &mut content), 41);
        let read: Vec<_> = ops(&content).map(Option::unwrap).collect();
        let [Op::Enqueue(stored), Op::Remove(3)] = read[..] else {
            panic!("{read:?}")
        };
        assert_eq!((stored.key, stored.queue()), (40, Some("/queue/a")));
        assert_eq!(stored.size as usize, message.size());
        assert_eq!(stored.message(), Some(publish));

        let mut again = Vec::new();
        encode_again(&stored, 3, &mut again);
        assert_eq!(again.len(), stored.encoded_len());
        let Some(Some(Op::Enqueue(again))) = ops(&again).next() else {
            panic!("it is one operation")
        };
        assert_eq!(again.redeliveries, 3);
        assert_eq!(again.message(), stored.message());
    }

    #[test]
    fn cut_content_is_not_read() {
        let mut content = encode_files([1, 2]);
        content.pop();
        assert_eq!(ops(&content).collect::<Vec<_>>(), [None]);
    }
}
