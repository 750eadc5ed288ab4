//! The log: files that are appended to, one after the other, and what is in them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use tramline_broker::{Fetched, FetchedMessage, Key};

use crate::files::Files;
use crate::index::FileIndex;
use crate::ops::{self, Op};
use crate::record::{
    FILE_START, FileHeader, Kind, MAX_CONTENT, RECORD_START, RecordPlace, content_length,
};
use crate::report::Problem;

/// The state of a store that is open for writing. It waits for nothing but its files: the store's thread drives it.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) file_bytes: u64,
    /// The files that are complete.
    pub(crate) sealed: BTreeMap<u64, LogFile>,
    /// The file that is appended to.
    active: Active,
    pub(crate) next_file: u64,
    /// How often messages came back, if they did.
    pub(crate) redeliveries: HashMap<u64, u32>,
    pub(crate) next_key: u64,
    pub(crate) seen_below: u64,
    /// True after compaction failed, until the next file begins.
    pub(crate) compaction_failed: bool,
}

/// A complete file.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) header: FileHeader,
    pub(crate) index: FileIndex,
}

#[derive(Debug)]
struct Active {
    writer: Writer,
    /// The records that were synced.
    synced: u32,
}

/// A file that records are added to.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) name: String,
    pub(crate) header: FileHeader,
    pub(crate) index: FileIndex,
    records: u32,
    /// Encoded, and not passed to the file yet.
    buffer: Vec<u8>,
    written: u64,
}

impl Writer {
    pub(crate) fn new(name: String, header: FileHeader) -> Self {
        Self {
            name,
            header,
            index: FileIndex::default(),
            records: 0,
            buffer: header.encode(),
            written: 0,
        }
    }

    /// Adds a record, and its messages to the index; returns false if a key cannot be there.
    pub(crate) fn add(&mut self, content: &[u8], synced: u32) -> bool {
        let place = RecordPlace {
            offset: self.length(),
            index: self.records,
            synced,
        };
        self.header.encode_record(place, content, &mut self.buffer);
        self.records += 1;
        self.index.length = self.length();
        let stored = ops::ops(content).flatten().filter_map(|op| match op {
            Op::Enqueue(stored) => Some(stored),
            _ => None,
        });
        let mut added = true;
        for stored in stored {
            added &= self.index.add(
                stored.key,
                place.offset,
                stored.encoded_len() + RECORD_START,
            );
        }
        added
    }

    pub(crate) fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Passes what was added to the file. After an error it may be called again.
    pub(crate) fn write(&mut self, files: &dyn Files) -> io::Result<()> {
        if !self.buffer.is_empty() {
            files.write(&self.name, self.written, &self.buffer)?;
            self.written = self.length();
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BUFFER);
        }
        Ok(())
    }

    /// Creates the file under a name of its own and gives it its name when it is durable, so that every file with that
    /// name was complete so far at some time.
    pub(crate) fn create(&mut self, files: &dyn Files) -> io::Result<()> {
        let name = std::mem::replace(&mut self.name, unfinished(self.header.number));
        files.create(&self.name)?;
        self.write(files)?;
        files.sync(&self.name)?;
        files.rename(&self.name, &name)?;
        self.name = name;
        files.sync_directory()
    }
}

/// The capacity that an empty write buffer keeps.
const KEPT_BUFFER: usize = 256 * 1024;

pub(crate) fn file_name(number: u64) -> String {
    format!("{number:010}.log")
}

pub(crate) fn unfinished(number: u64) -> String {
    format!("{number:010}.new")
}

pub(crate) fn damaged(number: u64) -> String {
    format!("{number:010}.damaged")
}

/// The number in the name of a file with this ending.
pub(crate) fn number_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    let all_digits = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| all_digits)
}

impl Log {
    /// Starts a new file behind those that are there.
    pub(crate) fn start(
        files: Arc<dyn Files>,
        file_bytes: u64,
        sealed: BTreeMap<u64, LogFile>,
        (next_file, next_key, seen_below): (u64, u64, u64),
        redeliveries: HashMap<u64, u32>,
    ) -> io::Result<Self> {
        let header = FileHeader {
            kind: Kind::Log,
            number: next_file,
            salt: salt()?,
            next_key,
            seen_below,
        };
        let mut log = Self {
            files,
            file_bytes,
            sealed,
            active: Active {
                writer: Writer::new(file_name(next_file), header),
                synced: 0,
            },
            next_file: next_file + 1,
            redeliveries,
            next_key,
            seen_below,
            compaction_failed: false,
        };
        log.create_active()?;
        Ok(log)
    }

    fn create_active(&mut self) -> io::Result<()> {
        let numbers = self.sealed.keys().copied();
        let writer = &mut self.active.writer;
        writer.add(&ops::encode_files(numbers), 0);
        writer.create(&*self.files)?;
        self.active.synced = 1;
        Ok(())
    }

    /// Adds a record, which [`write`](Self::write) passes to the file.
    pub(crate) fn append(&mut self, content: &[u8]) {
        self.active.writer.add(content, self.active.synced);
        for op in ops::ops(content).flatten() {
            match op {
                Op::Enqueue(stored) => self.next_key = self.next_key.max(stored.key + 1),
                Op::Remove(key) => self.remove(key),
                Op::Redelivered { key, count } => {
                    self.redeliveries.insert(key, count);
                }
                Op::Files(_) | Op::Dropped(_) | Op::End(_) => {}
            }
        }
    }

    fn remove(&mut self, key: u64) {
        self.redeliveries.remove(&key);
        if !self.active.writer.index.remove(key) {
            let mut sealed = self.sealed.values_mut();
            sealed.any(|file| file.index.remove(key));
        }
    }

    /// Passes appended records to the operating system. After an error it may be called again.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        self.active.writer.write(&*self.files)
    }

    /// Makes written records durable. An error is final: the operating system may have dropped what it had.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.active.synced < self.active.writer.records {
            self.files.sync(&self.active.writer.name)?;
            self.active.synced = self.active.writer.records;
        }
        Ok(())
    }

    /// True if the file is long enough to begin a new one.
    pub(crate) fn is_file_full(&self) -> bool {
        self.active.writer.length() >= self.file_bytes
    }

    /// Completes the file and begins a new one.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        self.end(false)?;
        let header = FileHeader {
            number: self.next_file,
            salt: salt()?,
            next_key: self.next_key,
            ..self.active.writer.header
        };
        self.next_file += 1;
        let next = Writer::new(file_name(header.number), header);
        let full = std::mem::replace(&mut self.active.writer, next);
        let file = LogFile {
            header: full.header,
            index: full.index,
        };
        self.sealed.insert(full.header.number, file);
        self.compaction_failed = false;
        self.create_active()
    }

    fn end(&mut self, closed: bool) -> io::Result<()> {
        // First, so that the end says of all records before it that they were synced.
        self.write()?;
        self.sync()?;
        self.append(&ops::encode_end(closed));
        self.write()?;
        self.sync()
    }

    /// Completes the file for good, so that the next opening knows that nothing is missing.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.end(true)
    }

    /// The number of the file that is appended to.
    pub(crate) fn active_number(&self) -> u64 {
        self.active.writer.header.number
    }

    /// The bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        let sealed = self.sealed.values().map(|file| file.index.length);
        sealed.sum::<u64>() + self.active.writer.length()
    }

    /// The indices of all files that are not in `except`.
    pub(crate) fn others<'a>(&'a self, except: &'a [u64]) -> impl Iterator<Item = &'a FileIndex> {
        let sealed = self.sealed.iter();
        let sealed = sealed.filter(|(number, _)| !except.contains(number));
        std::iter::once(&self.active.writer.index).chain(sealed.map(|(_, file)| &file.index))
    }

    /// Reads messages, and says which could not be read.
    pub(crate) fn fetch(&self, keys: &[Key], problems: &mut Vec<Problem>) -> Vec<Fetched> {
        let mut cached = Cached::default();
        let fetch = |key: &Key| Fetched {
            key: *key,
            message: self.fetch_one(*key, &mut cached, problems),
        };
        keys.iter().map(fetch).collect()
    }

    fn fetch_one(
        &self,
        key: Key,
        cached: &mut Cached,
        problems: &mut Vec<Problem>,
    ) -> Option<FetchedMessage> {
        let active = &self.active.writer;
        let active = (&active.header, &active.index);
        let sealed = self.sealed.values().map(|file| (&file.header, &file.index));
        let found = std::iter::once(active)
            .chain(sealed)
            .find_map(|(header, index)| Some((header, index.offset(key.0)?)));
        let (header, offset) = found?;
        if let Err(reason) = cached.load(&*self.files, header, offset) {
            problems.push(Problem::Unreadable {
                file: file_name(header.number),
                offset,
                reason,
            });
            return None;
        }
        let stored = ops::ops(&cached.content).find_map(|op| match op? {
            Op::Enqueue(stored) if stored.key == key.0 => Some(stored),
            _ => None,
        })?;
        Some(FetchedMessage {
            publish: stored.message()?,
            size: stored.size as usize,
            redeliveries: self.redeliveries.get(&key.0).copied().unwrap_or_default(),
            maybe_delivered: key.0 < self.seen_below,
        })
    }
}

/// The content of the record that was read last: a transaction's messages are in one.
#[derive(Debug, Default)]
struct Cached {
    place: Option<(u64, u64)>,
    content: Vec<u8>,
}

impl Cached {
    fn load(&mut self, files: &dyn Files, header: &FileHeader, offset: u64) -> Result<(), String> {
        if self.place == Some((header.number, offset)) {
            return Ok(());
        }
        self.place = None;
        self.content = read_record(files, &file_name(header.number), header, offset)?;
        self.place = Some((header.number, offset));
        Ok(())
    }
}

/// Reads the content of a record, and checks it.
pub(crate) fn read_record(
    files: &dyn Files,
    name: &str,
    header: &FileHeader,
    offset: u64,
) -> Result<Vec<u8>, String> {
    let read = |length| {
        let bytes = files.read(name, offset, length);
        bytes.map_err(|error| error.to_string())
    };
    let mut bytes = read(FIRST_READ)?;
    let length = content_length(&bytes).unwrap_or_default();
    if RECORD_START + length > bytes.len() && bytes.len() == FIRST_READ {
        // A wrong length costs no more than reading the file.
        bytes = read(RECORD_START + length.min(MAX_CONTENT))?;
    }
    let record = header.record_at(&bytes, offset, offset);
    let record = record.ok_or("its checksum is wrong")?;
    bytes.truncate(record.content.end);
    bytes.drain(..record.content.start);
    Ok(bytes)
}

/// What is read of a record at first: all of a small one.
const FIRST_READ: usize = 4096;

pub(crate) fn salt() -> io::Result<u64> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    Ok(u64::from_le_bytes(salt))
}

/// A file before its first record.
pub(crate) const EMPTY_FILE: u64 = FILE_START as u64;
