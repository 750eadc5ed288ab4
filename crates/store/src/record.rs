//! Files and records on disk: see `FORMAT.md`.

use std::ops::Range;

use memchr::memmem;

/// The bytes that every file begins with.
const MAGIC: [u8; 8] = *b"TRAMLOG\n";

/// The version of the format.
const VERSION: u32 = 1;

/// One copy of a file's header.
const HEADER: usize = 64;

/// The bytes of a file before its first record: two copies of its header, so that no single damage loses the salt.
pub(crate) const FILE_START: usize = 2 * HEADER;

/// The bytes of a record before its content.
pub(crate) const RECORD_START: usize = 20;

/// The bytes that every record begins with, by which the next one is found behind a damaged one.
const MARKER: [u8; 4] = [0xF5, b'T', b'R', 0xE9];

/// The largest content of a record.
pub(crate) const MAX_CONTENT: usize = 256 * 1024 * 1024;

/// How a file came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was appended to.
    Log,
    /// Compaction wrote it, completely.
    Compacted,
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    /// Random: neither a stale block of an older file nor bytes of a message pass for a record of this one.
    pub(crate) salt: u64,
    /// Greater than the key of every message stored before.
    pub(crate) next_key: u64,
    /// Messages with a smaller key may have been delivered without a record of it.
    pub(crate) seen_below: u64,
}

/// A file does not begin as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Both copies of the header are damaged.
    Damaged,
    /// A later Tramline wrote it.
    Version(u32),
}

impl FileHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(FILE_START);
        copy.extend(MAGIC);
        copy.extend(VERSION.to_le_bytes());
        copy.extend(u32::from(self.kind == Kind::Compacted).to_le_bytes());
        for number in [self.number, self.salt, self.next_key, self.seen_below] {
            copy.extend(number.to_le_bytes());
        }
        copy.resize(HEADER - 4, 0);
        copy.extend(crc32fast::hash(&copy).to_le_bytes());
        copy.extend_from_within(..);
        copy
    }

    /// Reads the header of file `number`.
    pub(crate) fn decode(bytes: &[u8], number: u64) -> Result<Self, BadHeader> {
        let mut bad = BadHeader::Damaged;
        for copy in bytes.chunks_exact(HEADER).take(2) {
            let (content, sum) = copy.split_at(HEADER - 4);
            if crc32fast::hash(content).to_le_bytes() != *sum || content[..8] != MAGIC {
                continue;
            }
            let version = u32_at(content, 8);
            if version != VERSION {
                bad = BadHeader::Version(version);
                continue;
            }
            let header = Self {
                kind: match u32_at(content, 12) {
                    0 => Kind::Log,
                    _ => Kind::Compacted,
                },
                number: u64_at(content, 16),
                salt: u64_at(content, 24),
                next_key: u64_at(content, 32),
                seen_below: u64_at(content, 40),
            };
            if header.number == number {
                return Ok(header);
            }
        }
        Err(bad)
    }

    /// Appends a record with `content` at `offset` of this file to `out`.
    pub(crate) fn encode_record(&self, place: RecordPlace, content: &[u8], out: &mut Vec<u8>) {
        let length = content.len() as u32;
        out.extend(MARKER);
        out.extend(length.to_le_bytes());
        out.extend(place.index.to_le_bytes());
        out.extend(place.synced.to_le_bytes());
        out.extend(self.checksum(place, content).to_le_bytes());
        out.extend(content);
    }

    fn checksum(&self, place: RecordPlace, content: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        for number in [self.salt, self.number, place.offset, content.len() as u64] {
            sum.update(&number.to_le_bytes());
        }
        sum.update(&place.index.to_le_bytes());
        sum.update(&place.synced.to_le_bytes());
        sum.update(content);
        sum.finalize()
    }

    /// Returns the record at `offset`, if there is an undamaged one. `bytes` are those of the file from `base` on.
    pub(crate) fn record_at(&self, bytes: &[u8], base: u64, offset: u64) -> Option<Record> {
        let at = usize::try_from(offset.checked_sub(base)?).ok()?;
        let start = bytes.get(at..at.checked_add(RECORD_START)?)?;
        if start[..4] != MARKER {
            return None;
        }
        let length = u32_at(start, 4) as usize;
        let begin = at + RECORD_START;
        let content = begin..begin.checked_add(length)?;
        let place = RecordPlace {
            offset,
            index: u32_at(start, 8),
            synced: u32_at(start, 12),
        };
        let sum = self.checksum(place, bytes.get(content.clone())?);
        (sum == u32_at(start, 16)).then_some(Record { place, content })
    }

    /// Reads the records of a whole file.
    pub(crate) fn records<'a>(&'a self, bytes: &'a [u8]) -> Records<'a> {
        Records {
            header: self,
            bytes,
            at: FILE_START,
            next_index: 0,
        }
    }
}

/// The length of the content of the record that `start` begins, undamaged or not.
pub(crate) fn content_length(start: &[u8]) -> Option<usize> {
    (start.len() >= RECORD_START).then(|| u32_at(start, 4) as usize)
}

/// A record's place in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordPlace {
    pub(crate) offset: u64,
    /// The number of records before it.
    pub(crate) index: u32,
    /// The number of records before it that were synced when it was written.
    pub(crate) synced: u32,
}

/// An undamaged record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) place: RecordPlace,
    /// Where its content is in the bytes it was read from.
    pub(crate) content: Range<usize>,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Record(Record),
    /// Bytes that are no record, with the index of the record that should be there.
    Hole {
        bytes: Range<usize>,
        index: u32,
        /// The number of records that are missing; `None` at the end of the file.
        records: Option<u32>,
    },
}

/// The parts of a file, in order.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    header: &'a FileHeader,
    bytes: &'a [u8],
    at: usize,
    next_index: u32,
}

impl Records<'_> {
    fn next_valid(&self) -> Option<Record> {
        let from = self.bytes.get(self.at..)?;
        memmem::find_iter(from, &MARKER).find_map(|found| {
            let offset = (self.at + found) as u64;
            let record = self.header.record_at(self.bytes, 0, offset)?;
            // Indices only grow.
            (record.place.index >= self.next_index).then_some(record)
        })
    }
}

impl Iterator for Records<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let record = self.header.record_at(self.bytes, 0, self.at as u64);
        if let Some(record) = record
            && record.place.index == self.next_index
        {
            self.at = record.content.end;
            self.next_index += 1;
            return Some(Part::Record(record));
        }
        let index = self.next_index;
        let (end, records) = match self.next_valid() {
            Some(next) => {
                self.next_index = next.place.index;
                (next.place.offset as usize, Some(next.place.index - index))
            }
            None => (self.bytes.len(), None),
        };
        let bytes = self.at..end;
        self.at = end;
        Some(Part::Hole {
            bytes,
            index,
            records,
        })
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
