//! Compaction: writes what is left of old files into a new one, while the store is in use.

use std::io;

use crate::index::FileIndex;
use crate::log::{EMPTY_FILE, Log, LogFile, Writer, damaged, file_name, salt};
use crate::ops::{self, Op};
use crate::record::{FileHeader, Kind, Part};
use crate::report::Problem;

/// So many old files are worth a new one, even if little of them is garbage.
const MANY: usize = 8;

/// So many bytes of other operations are gathered in one record.
const GATHERED: usize = 64 * 1024;

impl Log {
    /// Compacts some files if that is worth it, or if it frees anything and room is `scarce`; returns true if it did.
    /// An error is one of the log itself: after it nothing may be confirmed.
    pub(crate) fn compact(
        &mut self,
        scarce: bool,
        problems: &mut Vec<Problem>,
    ) -> io::Result<bool> {
        let sources = match self.compaction_failed {
            true => Vec::new(),
            false => self.sources(scarce),
        };
        if sources.is_empty() {
            return Ok(false);
        }
        self.rewrite(&sources, false, problems)?;
        Ok(true)
    }

    /// Chooses files whose keys follow each other, so that a file's keys never lie between those of another.
    fn sources(&self, scarce: bool) -> Vec<u64> {
        let mut by_key: Vec<_> = self.sealed.iter().collect();
        by_key.sort_by_key(|(number, file)| (file.index.keys(), **number));
        let mut best = (0, Vec::new());
        let mut run = Vec::new();
        let (mut garbage, mut live) = (0, 0);
        for (number, file) in by_key {
            let index = &file.index;
            let is_worth_it = garbage_of(index) * 2 >= index.length
                || index.length < self.file_bytes / 4
                || (scarce && garbage_of(index) * 8 >= index.length);
            if !is_worth_it || live + index.live_bytes() > self.file_bytes {
                best = best.max((garbage, std::mem::take(&mut run)));
                (garbage, live) = (0, 0);
            }
            if is_worth_it {
                run.push(*number);
                garbage += garbage_of(index);
                live += index.live_bytes();
            }
        }
        let (garbage, run) = best.max((garbage, run));
        let is_small = garbage < self.file_bytes / 2 && run.len() < MANY;
        let enough = !is_small || (scarce && garbage > 0);
        if enough { run } else { Vec::new() }
    }

    /// Writes what is left of `sources` into a new file, and removes them. With `keep`, or if something in them cannot
    /// be read, they stay under another name.
    pub(crate) fn rewrite(
        &mut self,
        sources: &[u64],
        keep: bool,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        // The sources are dropped without messages whose removal may be in a record that is only written: if the power fails
        // and of the last writes just that one is lost, another part of it would not count.
        self.write()?;
        self.sync()?;
        let number = self.next_file;
        self.next_file += 1;
        let mut spoilt = Vec::new();
        match self.write_anew(sources, number, &mut spoilt) {
            Ok(Some(written)) => {
                let (header, index) = (written.header, written.index);
                self.sealed.insert(number, LogFile { header, index });
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "compaction of the store failed; it is tried again later");
                self.compaction_failed = true;
                return self.files.remove(&crate::log::unfinished(number));
            }
        }
        // Before they are gone, so that the next reading does not miss them, and does not read them if they are still
        // there: a removal that the new file has no use for is only in them.
        self.append(&ops::encode_dropped(sources.iter().copied()));
        self.write()?;
        self.sync()?;
        for &source in sources {
            self.sealed.remove(&source);
            match keep || spoilt.contains(&source) {
                true => self.files.rename(&file_name(source), &damaged(source))?,
                false => self.files.remove(&file_name(source))?,
            }
        }
        problems.extend(spoilt.into_iter().map(|source| Problem::Damaged {
            file: damaged(source),
            offset: EMPTY_FILE,
            bytes: 0,
            first_record: 0,
            records: None,
        }));
        self.files.sync_directory()
    }

    /// Writes the new file, unless nothing is left; adds sources to `spoilt` that something cannot be read of.
    fn write_anew(
        &self,
        sources: &[u64],
        number: u64,
        spoilt: &mut Vec<u64>,
    ) -> io::Result<Option<Writer>> {
        let header = FileHeader {
            kind: Kind::Compacted,
            number,
            salt: salt()?,
            next_key: self.next_key,
            seen_below: self.seen_below,
        };
        let mut writer = Writer::new(file_name(number), header);
        let present = self.sealed.keys().copied();
        writer.add(&ops::encode_files(present.chain([self.active_number()])), 0);
        let mut others = Vec::new();
        let mut kept_bytes = 0;
        for source in sources {
            let Some(file) = self.sealed.get(source) else {
                continue;
            };
            let name = file_name(*source);
            let length = usize::try_from(file.index.length).unwrap_or(usize::MAX);
            let bytes = self.files.read(&name, 0, length)?;
            let mut live = 0;
            for part in file.header.records(&bytes) {
                let Part::Record(record) = part else { continue };
                for op in ops::ops(&bytes[record.content]).flatten() {
                    match op {
                        Op::Enqueue(stored)
                            if file.index.offset(stored.key) == Some(record.place.offset) =>
                        {
                            live += 1;
                            let count = self.redeliveries.get(&stored.key);
                            let count = count.copied().unwrap_or_default();
                            let mut content = Vec::with_capacity(stored.encoded_len());
                            ops::encode_again(&stored, count, &mut content);
                            if !writer.add(&content, 0) {
                                let reason = "the keys of its messages are not in order";
                                return Err(io::Error::other(reason));
                            }
                        }
                        Op::Remove(key) if self.holds_elsewhere(key, sources) => {
                            ops::encode_remove(key, &mut others);
                        }
                        Op::Redelivered { key, count }
                            if self.redeliveries.get(&key) == Some(&count)
                                && self.holds_elsewhere(key, sources) =>
                        {
                            ops::encode_redelivered(key, count, &mut others);
                        }
                        _ => {}
                    }
                    if others.len() >= GATHERED {
                        kept_bytes += others.len();
                        writer.add(&std::mem::take(&mut others), 0);
                    }
                }
            }
            if live < file.index.live() {
                spoilt.push(*source);
            }
        }
        if !others.is_empty() {
            kept_bytes += others.len();
            writer.add(&others, 0);
        }
        if writer.index.live() == 0 && kept_bytes == 0 {
            return Ok(None);
        }
        writer.index.kept_bytes = kept_bytes as u64;
        writer.add(&ops::encode_end(false), 0);
        writer.create(&*self.files)?;
        Ok(Some(writer))
    }

    /// True if a file that is not in `sources` has the message, removed or not.
    fn holds_elsewhere(&self, key: u64, sources: &[u64]) -> bool {
        self.others(sources).any(|index| index.holds(key))
    }
}

/// The bytes that compaction would free, about.
fn garbage_of(index: &FileIndex) -> u64 {
    let needed = index.live_bytes() + index.kept_bytes + EMPTY_FILE;
    index.length.saturating_sub(needed)
}
