//! A disk in memory that remembers what was synced, and everything that was done to it.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use parking_lot::Mutex;
use tramline_store::Files;

/// What a loss of power does to what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All of it is there: only the process ended.
    Nothing,
    /// Nothing of it is there.
    Everything,
    /// The last write of each file is torn in the middle; those before it are there.
    TornLast,
    /// Only the last write of each file is there, and zeros before it.
    OnlyLast,
    /// Files have their new length, and zeros where content was not synced.
    Zeros,
    /// Names are as they were, contents are there.
    Names,
    /// Names are new, contents are gone.
    Contents,
}

impl Loss {
    pub(crate) const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Everything,
        Self::TornLast,
        Self::OnlyLast,
        Self::Zeros,
        Self::Names,
        Self::Contents,
    ];
}

#[derive(Clone, Debug)]
enum Operation {
    Create(String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Sync(String),
    Rename(String, String),
    Remove(String),
    SyncDirectory,
}

#[derive(Debug, Default)]
struct State {
    /// Before the operations.
    start: Image,
    now: Image,
    done: Vec<Operation>,
    room: Option<u64>,
    fails_sync: bool,
}

/// Files, and the part of each that is durable.
#[derive(Clone, Debug, Default)]
struct Image {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Content>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync.
    writes: Vec<(u64, Vec<u8>)>,
}

fn write(bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
    let offset = offset as usize;
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

impl Image {
    fn file(&mut self, name: &str) -> io::Result<&mut Content> {
        let file = self.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(&mut self.files[*file])
    }

    fn apply(&mut self, operation: &Operation) -> io::Result<()> {
        match operation {
            Operation::Create(name) => {
                self.files.push(Content::default());
                self.names.insert(name.clone(), self.files.len() - 1);
            }
            Operation::Write(name, offset, bytes) => {
                let file = self.file(name)?;
                write(&mut file.now, *offset, bytes);
                file.writes.push((*offset, bytes.clone()));
            }
            Operation::Truncate(name, length) => {
                let file = self.file(name)?;
                file.now.truncate(*length as usize);
                // What cuts a file is not what this disk loses.
                file.durable.truncate(*length as usize);
            }
            Operation::Sync(name) => {
                let file = self.file(name)?;
                file.durable = file.now.clone();
                file.writes.clear();
            }
            Operation::Rename(from, to) => {
                let file = self.names.remove(from).ok_or(ErrorKind::NotFound)?;
                self.names.insert(to.clone(), file);
            }
            Operation::Remove(name) => {
                self.names.remove(name);
            }
            Operation::SyncDirectory => self.durable_names = self.names.clone(),
        }
        Ok(())
    }

    fn lose(mut self, loss: Loss) -> Self {
        for file in &mut self.files {
            let mut kept = file.durable.clone();
            match loss {
                Loss::Nothing | Loss::Names => kept = file.now.clone(),
                Loss::Everything | Loss::Contents => {}
                Loss::TornLast => {
                    let last = file.writes.len().saturating_sub(1);
                    for (at, (offset, bytes)) in file.writes.iter().enumerate() {
                        let end = match at == last {
                            true => bytes.len() / 2,
                            false => bytes.len(),
                        };
                        write(&mut kept, *offset, &bytes[..end]);
                    }
                }
                Loss::OnlyLast => {
                    if let Some((offset, bytes)) = file.writes.last() {
                        write(&mut kept, *offset, bytes);
                    }
                }
                Loss::Zeros => kept.resize(file.now.len().max(kept.len()), 0),
            }
            *file = Content {
                now: kept.clone(),
                durable: kept,
                writes: Vec::new(),
            };
        }
        if matches!(loss, Loss::Everything | Loss::Names) {
            self.names = self.durable_names.clone();
        }
        self.durable_names = self.names.clone();
        self
    }
}

#[derive(Debug, Default)]
pub(crate) struct Disk(Mutex<State>);

impl Disk {
    /// The number of operations so far.
    pub(crate) fn operations(&self) -> usize {
        self.0.lock().done.len()
    }

    /// The disk after the first `point` operations and a crash.
    pub(crate) fn after_crash(&self, point: usize, loss: Loss) -> Self {
        let state = self.0.lock();
        let mut image = state.start.clone();
        for operation in &state.done[..point] {
            image.apply(operation).unwrap();
        }
        Self::of(image.lose(loss))
    }

    fn of(image: Image) -> Self {
        Self(Mutex::new(State {
            start: image.clone(),
            now: image,
            ..State::default()
        }))
    }

    /// A copy of the files as they are.
    pub(crate) fn copy(&self) -> Self {
        Self::of(self.0.lock().now.clone())
    }

    pub(crate) fn fail_next_sync(&self) {
        self.0.lock().fails_sync = true;
    }

    /// Sets the bytes that may still be added.
    pub(crate) fn set_room(&self, bytes: u64) {
        self.0.lock().room = (bytes < u64::MAX).then_some(bytes);
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.0.lock().now.file(name).unwrap().now.clone()
    }

    /// Changes the bytes of a file.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.0.lock().now.file(name).unwrap().now);
    }

    /// Flips a bit of the first place that has these bytes.
    pub(crate) fn flip_where(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        let files = state.now.files.iter_mut();
        let found = files.map(|file| &mut file.now).find_map(|content| {
            let mut windows = content.windows(bytes.len());
            let at = windows.position(|window| window == bytes)?;
            Some((content, at))
        });
        let (content, at) = found.expect("it is on the disk");
        content[at] ^= 1;
    }

    fn perform(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.0.lock();
        if let Operation::Sync(_) = operation
            && std::mem::take(&mut state.fails_sync)
        {
            return Err(io::Error::other("the disk did not take it"));
        }
        if let Operation::Write(name, offset, bytes) = &operation
            && let Some(room) = state.room
        {
            let length = state.now.file(name)?.now.len() as u64;
            let more = (offset + bytes.len() as u64).saturating_sub(length);
            if more > room {
                // As real disks do, it takes a part.
                let part = bytes[..room.min(bytes.len() as u64) as usize / 2].to_vec();
                let part = Operation::Write(name.clone(), *offset, part);
                state.now.apply(&part)?;
                state.done.push(part);
                return Err(ErrorKind::StorageFull.into());
            }
            state.room = Some(room - more);
        }
        if let (Operation::Remove(name), Some(room)) = (&operation, state.room)
            && let Ok(file) = state.now.file(name)
        {
            let freed = file.now.len() as u64;
            state.room = Some(room + freed);
        }
        state.now.apply(&operation)?;
        state.done.push(operation);
        Ok(())
    }
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().now.names.keys().cloned().collect())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.0.lock().now.file(name)?.now.len() as u64)
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.perform(Operation::Create(name.into()))
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut state = self.0.lock();
        let bytes = &state.now.file(name)?.now;
        let start = bytes.len().min(offset as usize);
        let end = bytes.len().min(start.saturating_add(length));
        Ok(bytes[start..end].to_vec())
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.perform(Operation::Write(name.into(), offset, bytes.to_vec()))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.perform(Operation::Truncate(name.into(), length))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.perform(Operation::Sync(name.into()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.perform(Operation::Rename(from.into(), to.into()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.perform(Operation::Remove(name.into()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.perform(Operation::SyncDirectory)
    }
}
