//! Reading what is there, and telling what was never confirmed from what is damaged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tramline_broker::{Key, RecoveredQueue};

use crate::error::OpenError;
use crate::files::Files;
use crate::index::FileIndex;
use crate::log::{EMPTY_FILE, Log, LogFile, damaged, file_name, number_of};
use crate::ops::{self, Op};
use crate::record::{BadHeader, FileHeader, Kind, Part, RECORD_START, RecordPlace};
use crate::report::{self, Problem, Report};

/// What is in a store's files. Making it changes nothing.
#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) report: Report,
    pub(crate) queues: Vec<RecoveredQueue>,
    pub(crate) sealed: BTreeMap<u64, LogFile>,
    redeliveries: HashMap<u64, u32>,
    next_file: u64,
    next_key: u64,
    seen_below: u64,
    /// Files to remove: what is in them is elsewhere.
    obsolete: Vec<String>,
    /// Files that nothing can be read of.
    unrecognized: Vec<u64>,
    /// Files to write anew without what is damaged.
    damaged: Vec<u64>,
    /// The file that was appended to last, if it was not completed, and where its last record ends.
    open: Option<(u64, Tail)>,
}

/// What the first reading of a file found.
#[derive(Debug)]
struct Scanned {
    header: FileHeader,
    length: u64,
    tail: Tail,
    /// Its last record, if that is an end.
    end: Option<bool>,
    /// The number of records that were surely synced.
    synced: u32,
    holes: Vec<Hole>,
}

/// Bytes that are no record.
#[derive(Debug)]
struct Hole {
    offset: u64,
    bytes: u64,
    /// The index of the record that should be there.
    index: u32,
    /// The number of records that are gone; `None` at the end of the file.
    records: Option<u32>,
}

impl Scanned {
    /// Adds what is wrong with the file to `problems`; returns true if it must be written anew. Only the file that was
    /// appended to last, which is `open`, can end with a write that nothing confirmed: all others were complete.
    fn judge(&self, is_open: bool, problems: &mut Vec<Problem>) -> bool {
        let file = || file_name(self.header.number);
        for hole in &self.holes {
            let Hole { offset, bytes, .. } = *hole;
            problems.push(match is_open && hole.index >= self.synced {
                true => Problem::Cut {
                    file: file(),
                    offset,
                    bytes,
                },
                false => Problem::Damaged {
                    file: file(),
                    offset,
                    bytes,
                    first_record: hole.index,
                    records: hole.records,
                },
            });
        }
        let is_cut_short = !is_open && self.end.is_none();
        if is_cut_short && self.holes.is_empty() {
            problems.push(Problem::CutShort {
                file: file(),
                offset: self.length,
            });
        }
        let in_the_middle = |hole: &Hole| hole.records.is_some();
        is_cut_short || self.holes.iter().any(in_the_middle)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    /// Where the last record ends.
    offset: u64,
    /// The number of records.
    records: u32,
}

/// What all files say together.
#[derive(Debug, Default)]
struct Facts {
    removed: Vec<u64>,
    redeliveries: HashMap<u64, u32>,
    dropped: BTreeSet<u64>,
    /// The files that the newest file names.
    listed: (u64, Vec<u64>),
    next_key: u64,
    /// The bytes that could not be read. Each message takes more than one, so that many keys are not given again.
    lost_bytes: u64,
}

impl Recovery {
    /// Reads a store.
    pub(crate) fn read(files: &dyn Files) -> Result<Self, OpenError> {
        let begun = Instant::now();
        let names = files.list()?;
        let numbers = |ending| names.iter().filter_map(move |name| number_of(name, ending));
        let mut obsolete: Vec<String> = numbers(".new").map(crate::log::unfinished).collect();
        let present: BTreeSet<u64> = numbers(".log").collect();
        let all = [".log", ".new", ".damaged"].into_iter().flat_map(numbers);
        let next_file = all.max().unwrap_or_default() + 1;

        let mut report = Report {
            is_new: present.is_empty(),
            files: present.len(),
            ..Report::default()
        };
        let mut facts = Facts::default();
        let mut scanned = BTreeMap::new();
        let mut unrecognized = BTreeMap::new();
        for &number in &present {
            let bytes = read_whole(files, number)?;
            report.file_bytes += bytes.len() as u64;
            match FileHeader::decode(&bytes, number) {
                Ok(header) => {
                    scanned.insert(number, facts.scan(header, &bytes));
                }
                Err(BadHeader::Version(version)) => {
                    let file = file_name(number);
                    return Err(OpenError::Version { file, version });
                }
                Err(BadHeader::Damaged) => {
                    facts.lost_bytes += bytes.len() as u64;
                    unrecognized.insert(number, bytes.len() as u64);
                }
            }
        }
        facts.removed.sort_unstable();
        let missing = facts.listed.1.iter();
        for number in missing.filter(|number| !present.contains(number)) {
            if !facts.dropped.contains(number) {
                let file = file_name(*number);
                report.problems.push(Problem::Missing { file });
            }
        }
        let dropped = |number: &u64| facts.dropped.contains(number);
        obsolete.extend(
            present
                .iter()
                .filter(|number| dropped(number))
                .copied()
                .map(file_name),
        );
        unrecognized.retain(|number, _| !dropped(number));
        for (number, bytes) in &unrecognized {
            report.problems.push(Problem::Unrecognized {
                file: file_name(*number),
                bytes: *bytes,
            });
        }
        scanned.retain(|number, _| !dropped(number));
        let mut newest = scanned.iter().rev();
        let newest = newest.find(|(_, file)| file.header.kind == Kind::Log);
        report.was_closed = newest.is_none_or(|(_, file)| file.end == Some(true));
        let open = newest.filter(|(_, file)| file.end.is_none());
        let open = open.map(|(number, file)| (*number, file.tail));
        let mut damaged = Vec::new();
        for (&number, file) in &scanned {
            let is_open = open.is_some_and(|(open, _)| open == number);
            if file.judge(is_open, &mut report.problems) {
                damaged.push(number);
            }
        }

        let mut recovery = Self {
            report,
            queues: Vec::new(),
            sealed: BTreeMap::new(),
            redeliveries: HashMap::new(),
            next_file,
            next_key: facts.next_key + facts.lost_bytes,
            seen_below: 0,
            obsolete,
            unrecognized: unrecognized.into_keys().collect(),
            damaged,
            open,
        };
        for file in scanned.values() {
            recovery.seen_below = recovery.seen_below.max(file.header.seen_below);
            recovery.next_key = recovery.next_key.max(file.header.next_key);
        }
        if !recovery.report.was_closed {
            recovery.seen_below = recovery.next_key;
        }
        recovery.index(files, &scanned, &facts)?;
        recovery
            .report
            .problems
            .sort_by_key(|problem| problem.file().to_owned());
        recovery.report.elapsed = begun.elapsed();
        Ok(recovery)
    }

    /// Reads the messages: the newest file first, so that of two copies the one that compaction wrote counts.
    fn index(
        &mut self,
        files: &dyn Files,
        scanned: &BTreeMap<u64, Scanned>,
        facts: &Facts,
    ) -> io::Result<()> {
        let mut queues: HashMap<Box<str>, RecoveredQueue> = HashMap::new();
        for (&number, file) in scanned.iter().rev() {
            let bytes = read_whole(files, number)?;
            let mut index = FileIndex::default();
            index.length = file.length;
            for (offset, op) in records(&file.header, &bytes) {
                let Op::Enqueue(stored) = op else { continue };
                let key = stored.key;
                let name = stored
                    .queue()
                    .filter(|_| index.add(key, offset, stored.encoded_len() + RECORD_START));
                let Some(name) = name else {
                    self.report.problems.push(Problem::Unreadable {
                        file: file_name(number),
                        offset,
                        reason: "it is not a message".into(),
                    });
                    continue;
                };
                let is_removed = facts.removed.binary_search(&key).is_ok();
                if is_removed || self.sealed.values().any(|newer| newer.index.holds(key)) {
                    index.remove(key);
                    continue;
                }
                let later = facts.redeliveries.get(&key).copied().unwrap_or_default();
                let redeliveries = stored.redeliveries.max(later);
                if redeliveries > 0 {
                    self.redeliveries.insert(key, redeliveries);
                }
                if !queues.contains_key(name) {
                    let queue = RecoveredQueue {
                        name: name.into(),
                        keys: Vec::new(),
                        bytes: 0,
                    };
                    queues.insert(name.into(), queue);
                }
                if let Some(queue) = queues.get_mut(name) {
                    queue.keys.push(Key(key));
                    queue.bytes += stored.size as usize;
                }
            }
            let header = file.header;
            self.sealed.insert(number, LogFile { header, index });
        }
        self.queues = queues.into_values().collect();
        self.queues.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for queue in &mut self.queues {
            queue.keys.sort_unstable();
        }
        self.report.queues = report::queues(&self.queues);
        Ok(())
    }

    /// Puts the files in order, and starts to append. What is damaged is kept under another name.
    pub(crate) fn open(
        self,
        files: Arc<dyn Files>,
        file_bytes: u64,
    ) -> Result<(Log, Report, Vec<RecoveredQueue>), OpenError> {
        for name in &self.obsolete {
            files.remove(name)?;
        }
        for number in &self.unrecognized {
            files.rename(&file_name(*number), &damaged(*number))?;
        }
        let mut sealed = self.sealed;
        if let Some((number, tail)) = self.open
            && !self.damaged.contains(&number)
            && let Some(file) = sealed.get_mut(&number)
        {
            file.index.length = complete(&*files, &file.header, tail)?;
        }
        // The first file syncs the directory.
        let numbers = (self.next_file, self.next_key, self.seen_below);
        let mut log = Log::start(files, file_bytes, sealed, numbers, self.redeliveries)?;
        for number in self.damaged {
            // What it could not read again is in the report already.
            log.rewrite(&[number], true, &mut Vec::new())?;
        }
        Ok((log, self.report, self.queues))
    }
}

/// Cuts what is behind the last record, and writes an end, so that the next reading misses nothing.
fn complete(files: &dyn Files, header: &FileHeader, tail: Tail) -> io::Result<u64> {
    let name = file_name(header.number);
    files.truncate(&name, tail.offset)?;
    let mut end = Vec::new();
    let place = RecordPlace {
        offset: tail.offset,
        index: tail.records,
        synced: tail.records,
    };
    header.encode_record(place, &ops::encode_end(false), &mut end);
    // What was written without being synced must be durable before anything else counts on it.
    files.write(&name, tail.offset, &end)?;
    files.sync(&name)?;
    Ok(tail.offset + end.len() as u64)
}

fn read_whole(files: &dyn Files, number: u64) -> io::Result<Vec<u8>> {
    let name = file_name(number);
    let size = files.size(&name)?;
    files.read(&name, 0, usize::try_from(size).unwrap_or(usize::MAX))
}

/// The operations of a file's undamaged records, each with its record's offset.
fn records<'a>(header: &'a FileHeader, bytes: &'a [u8]) -> impl Iterator<Item = (u64, Op<'a>)> {
    header.records(bytes).flat_map(move |part| {
        let record = match part {
            Part::Record(record) => Some(record),
            Part::Hole { .. } => None,
        };
        record.into_iter().flat_map(move |record| {
            let offset = record.place.offset;
            let ops = ops::ops(&bytes[record.content]).flatten();
            ops.map(move |op| (offset, op))
        })
    })
}

impl Facts {
    fn scan(&mut self, header: FileHeader, bytes: &[u8]) -> Scanned {
        let mut scanned = Scanned {
            header,
            length: bytes.len() as u64,
            tail: Tail {
                offset: EMPTY_FILE,
                records: 0,
            },
            end: None,
            synced: 0,
            holes: Vec::new(),
        };
        for part in header.records(bytes) {
            scanned.end = None;
            match part {
                Part::Record(record) => {
                    scanned.synced = scanned.synced.max(record.place.synced);
                    scanned.tail = Tail {
                        offset: record.content.end as u64,
                        records: record.place.index + 1,
                    };
                    for op in ops::ops(&bytes[record.content]) {
                        scanned.end = self.note(header.number, op);
                    }
                }
                Part::Hole {
                    bytes,
                    index,
                    records,
                } => {
                    self.lost_bytes += bytes.len() as u64;
                    scanned.holes.push(Hole {
                        offset: bytes.start as u64,
                        bytes: bytes.len() as u64,
                        index,
                        records,
                    });
                }
            }
        }
        scanned
    }

    /// Notes an operation; returns what an end says.
    fn note(&mut self, number: u64, op: Option<Op<'_>>) -> Option<bool> {
        match op? {
            Op::Enqueue(stored) => self.next_key = self.next_key.max(stored.key + 1),
            Op::Remove(key) => {
                self.next_key = self.next_key.max(key + 1);
                self.removed.push(key);
            }
            Op::Redelivered { key, count } => {
                let known = self.redeliveries.entry(key).or_default();
                *known = count.max(*known);
            }
            Op::Files(numbers) => {
                if number >= self.listed.0 {
                    self.listed = (number, numbers.iter().collect());
                }
            }
            Op::Dropped(numbers) => self.dropped.extend(numbers.iter()),
            Op::End(closed) => return Some(closed),
        }
        None
    }
}
