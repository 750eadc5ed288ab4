//! The store as its users have it: a handle, and the thread that writes.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::{Condvar, Mutex};
use tramline_broker::{
    Appended, Change, Durability, Journal, JournalError, Key, RecoveredQueue, Ticket, WhenFetched,
    WhenStored,
};

use crate::error::OpenError;
use crate::files::{Directory, Files};
use crate::log::Log;
use crate::ops;
use crate::record::MAX_CONTENT;
use crate::recovery::Recovery;
use crate::report::{Problem, Report};

/// Options of a [`Store`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// The maximum bytes on disk. When they are used up, publishers are refused, and acknowledgements go on: a reserve of
    /// four files is theirs and compaction's. Default 17,179,869,184 (16 GiB): a day of backlog for most applications,
    /// and less than any server's disk. At least eight times [`file_bytes`](Self::file_bytes).
    pub max_bytes: u64,
    /// The bytes of a file before the next one begins. Default 16,777,216 (16 MiB): compaction rewrites about one file at
    /// a time, which takes a disk some hundredths of a second.
    pub file_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            max_bytes: 16 * 1024 * 1024 * 1024,
            file_bytes: 16 * 1024 * 1024,
        }
    }
}

impl StoreOptions {
    /// Sets [`StoreOptions::max_bytes`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets [`StoreOptions::file_bytes`].
    #[must_use]
    pub fn file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = bytes;
        self
    }

    /// The bytes above which publishers are refused.
    fn usable(&self) -> u64 {
        self.max_bytes - self.reserve()
    }

    fn reserve(&self) -> u64 {
        4 * self.file_bytes
    }

    fn check(&self) -> Result<(), OpenError> {
        let least = 8 * self.file_bytes;
        match self.max_bytes < least || self.file_bytes == 0 {
            true => Err(OpenError::TooSmall {
                max_bytes: self.max_bytes,
                file_bytes: self.file_bytes,
                least: least.max(8),
            }),
            false => Ok(()),
        }
    }
}

/// A store that is open: give it to an [`EmbeddedBroker`](tramline_broker::EmbeddedBroker).
///
/// One thread of its own writes and syncs: what arrives while a sync runs goes with the next one, so that many senders
/// share the price of one. Dropping the last clone writes what is left and ends the thread;
/// [`close`](Self::close) waits for it and says whether it succeeded.
///
/// # Example: a queue that outlives its process
///
/// ```
/// use tramline_broker::{Durability, EmbeddedBroker, Hub};
/// use tramline_store::Store;
///
/// # let directory = std::env::temp_dir().join(format!("tramline-doc-{}", std::process::id()));
/// let store = Store::open(&directory)?;
/// assert!(store.report().is_new);
/// let broker = EmbeddedBroker::new().queues("/queue").store(store).durable("/queue/orders/**", Durability::Synced);
/// assert!(Hub::new(broker).errors().is_empty());
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    report: Report,
    queue_names: Vec<ByteString>,
    recovered: Mutex<Vec<RecoveredQueue>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the handles and the thread share.
struct Shared {
    options: StoreOptions,
    state: Mutex<State>,
    /// Something is to be done.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    next_key: u64,
    next_ticket: u64,
    /// The contents of records, each behind its length.
    contents: Vec<u8>,
    waiting: Vec<Waiting>,
    fetches: Vec<(Vec<Key>, WhenFetched)>,
    stops: Vec<Box<dyn FnOnce() + Send>>,
    /// The thread waits for so many answers to be asked for; 0 if it waits for anything.
    gathers: usize,
    /// The bytes on disk.
    used: u64,
    /// True if the disk had no room.
    is_disk_full: bool,
    is_stopping: bool,
    failed: Option<ByteString>,
}

struct Waiting {
    ticket: Ticket,
    durability: Durability,
    done: WhenStored,
}

impl Store {
    /// Opens the store in a directory, and creates it if there is none. Logs what it finds: see [`Report`].
    ///
    /// # Errors
    ///
    /// [`OpenError`]; damage is none, it is in the [`report`](Self::report).
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_with(directory, StoreOptions::default())
    }

    /// Like [`open`](Self::open), with options.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_with(
        directory: impl AsRef<Path>,
        options: StoreOptions,
    ) -> Result<Self, OpenError> {
        let path = directory.as_ref();
        let files = Directory::open(path)?.ok_or_else(|| OpenError::InUse { path: path.into() })?;
        let store = Self::open_in(Arc::new(files), options)?;
        let (report, directory) = (store.report(), path.display());
        match report.has_losses() {
            true => tracing::error!(%directory, "store opened: {report}"),
            false => tracing::info!(%directory, "store opened: {report}"),
        }
        Ok(store)
    }

    /// Opens a store in other files than a directory's, for tests; logs nothing.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_in(files: Arc<dyn Files>, options: StoreOptions) -> Result<Self, OpenError> {
        options.check()?;
        let recovery = Recovery::read(&*files)?;
        let (log, report, recovered) = recovery.open(files, options.file_bytes)?;
        let state = State {
            next_key: log.next_key,
            next_ticket: 1,
            used: log.bytes(),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            options,
            state: Mutex::new(state),
            wake: Condvar::new(),
        });
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            log,
            rounds: 0,
            last_sync: (0, Duration::ZERO),
        };
        worker.fill_reserve()?;
        let thread = std::thread::Builder::new().name("tramline-store".into());
        let thread = thread.spawn(move || worker.run())?;
        Ok(Self(Arc::new(Handle {
            shared,
            report,
            queue_names: recovered.iter().map(|queue| queue.name.clone()).collect(),
            recovered: Mutex::new(recovered),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// What was found when it was opened.
    pub fn report(&self) -> &Report {
        &self.0.report
    }

    /// The bytes of its files.
    pub fn file_bytes(&self) -> u64 {
        self.0.shared.state.lock().used
    }

    /// Writes what is left, ends the thread and waits for it. The store takes nothing afterwards.
    ///
    /// # Errors
    ///
    /// [`JournalError::Failed`] if it failed now or before.
    pub fn close(&self) -> Result<(), JournalError> {
        self.0.end();
        let state = self.0.shared.state.lock();
        match &state.failed {
            Some(reason) if *reason != CLOSED => Err(JournalError::Failed {
                reason: reason.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// The reason why a closed store takes nothing.
const CLOSED: &str = "it was closed";

impl Handle {
    fn end(&self) {
        self.shared.state.lock().is_stopping = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().take();
        // A callback may hold the last handle, on the thread itself.
        let thread = thread.filter(|thread| thread.thread().id() != std::thread::current().id());
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.shared.state.lock();
        f.debug_struct("Store")
            .field("options", &self.0.shared.options)
            .field("used", &state.used)
            .field("failed", &state.failed)
            .finish_non_exhaustive()
    }
}

impl Journal for Store {
    fn queue_names(&self) -> Vec<ByteString> {
        self.0.queue_names.clone()
    }

    fn recover(&self) -> Vec<RecoveredQueue> {
        std::mem::take(&mut self.0.recovered.lock())
    }

    fn check(&self, bytes: usize) -> Result<(), JournalError> {
        let Shared { options, state, .. } = &*self.0.shared;
        let state = state.lock();
        if let Some(reason) = &state.failed {
            let reason = reason.clone();
            return Err(JournalError::Failed { reason });
        }
        // A message's texts and numbers are no longer than its share of this.
        if bytes > MAX_CONTENT / 2 {
            let max = MAX_CONTENT / 2;
            return Err(JournalError::TooLarge { bytes, max });
        }
        let used = state.used + state.contents.len() as u64;
        if state.is_disk_full || used + bytes as u64 > options.usable() {
            let max = options.usable();
            return Err(JournalError::Full { used, max });
        }
        Ok(())
    }

    fn append(&self, changes: &[Change<'_>]) -> Appended {
        let mut state = self.0.shared.state.lock();
        let first = Key(state.next_key);
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        let State {
            next_key, contents, ..
        } = &mut *state;
        let start = contents.len();
        contents.extend([0; 4]);
        *next_key = ops::encode_changes(changes, *next_key, contents);
        let length = (contents.len() - start - 4) as u32;
        contents[start..start + 4].copy_from_slice(&length.to_le_bytes());
        if state.failed.is_some() {
            // Nobody will read it.
            state.contents.clear();
        }
        let is_awaited = state.gathers == 0;
        drop(state);
        if is_awaited {
            self.0.shared.wake.notify_one();
        }
        Appended { first, ticket }
    }

    fn when_stored(&self, ticket: Ticket, durability: Durability, done: WhenStored) {
        let mut state = self.0.shared.state.lock();
        if let Some(reason) = state.failed.clone() {
            drop(state);
            return done(Err(JournalError::Failed { reason }));
        }
        state.waiting.push(Waiting {
            ticket,
            durability,
            done,
        });
        let is_awaited = state.waiting.len() >= state.gathers;
        drop(state);
        if is_awaited {
            self.0.shared.wake.notify_one();
        }
    }

    fn fetch(&self, keys: Vec<Key>, done: WhenFetched) {
        let mut state = self.0.shared.state.lock();
        if state.is_stopping {
            return;
        }
        state.fetches.push((keys, done));
        drop(state);
        self.0.shared.wake.notify_one();
    }

    fn stop(&self, done: Box<dyn FnOnce() + Send>) {
        let mut state = self.0.shared.state.lock();
        if state.failed.is_some() {
            drop(state);
            return done();
        }
        state.stops.push(done);
        state.is_stopping = true;
        drop(state);
        self.0.shared.wake.notify_one();
    }
}

/// The thread that writes.
struct Worker {
    shared: Arc<Shared>,
    log: Log,
    /// How often it wrote since the disk was full.
    rounds: u32,
    /// The number of answers that the last sync gave, and how long it took.
    last_sync: (usize, Duration),
}

/// The longest wait for senders who were just answered, as a part of the last sync.
const GATHER_PART: u32 = 8;

/// The same in all.
const GATHER_TIME: Duration = Duration::from_millis(1);

/// A file whose room is there for acknowledgements and compaction when the disk is full.
const RESERVE: &str = "reserve";

/// The disk is tried again after so many writes.
const TRY_AGAIN: u32 = 256;

/// What the thread took to do.
#[derive(Default)]
struct Work {
    contents: Vec<u8>,
    /// The last record in `contents` or before.
    up_to: Ticket,
    waiting: Vec<Waiting>,
    fetches: Vec<(Vec<Key>, WhenFetched)>,
    is_stopping: bool,
}

impl Worker {
    fn run(mut self) {
        let mut problems = Vec::new();
        let mut may_compact = true;
        loop {
            let work = self.take(may_compact);
            let is_idle = work.contents.is_empty() && work.fetches.is_empty();
            if work.is_stopping && is_idle {
                return self.stop(work);
            }
            if let Err(error) = self.store(work, &mut problems) {
                return self.fail(&error);
            }
            let scarce = self.log.bytes() * 4 > self.shared.options.usable() * 3;
            match self.log.compact(scarce, &mut problems) {
                Ok(compacted) => may_compact = compacted,
                Err(error) => return self.fail(&error),
            }
            for problem in problems.drain(..) {
                tracing::error!("the store has lost something: {problem}");
            }
            self.shared.state.lock().used = self.log.bytes();
            self.rounds += 1;
            let is_disk_full = self.shared.state.lock().is_disk_full;
            if is_disk_full
                && (may_compact || self.rounds > TRY_AGAIN)
                && let Err(error) = self.fill_reserve()
            {
                return self.fail(&error);
            }
        }
    }

    /// Takes room for the time when the disk is full; while there is none, publishers are refused.
    fn fill_reserve(&mut self) -> io::Result<()> {
        let files = &*self.log.files;
        let length = self.log.file_bytes as usize;
        self.rounds = 0;
        if files.list()?.iter().any(|name| name == RESERVE) && files.size(RESERVE)? >= length as u64
        {
            return Ok(());
        }
        files.create(RESERVE)?;
        let filled = files.write(RESERVE, 0, &vec![0; length]);
        let filled = filled.and_then(|()| files.sync(RESERVE));
        let is_disk_full = match filled {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                files.remove(RESERVE)?;
                true
            }
            Err(error) => return Err(error),
        };
        self.shared.state.lock().is_disk_full = is_disk_full;
        Ok(())
    }

    /// Waits for something to do, unless there may be something to compact.
    fn take(&self, may_compact: bool) -> Work {
        let mut state = self.shared.state.lock();
        let is_idle = |state: &State| {
            state.contents.is_empty()
                && state.waiting.is_empty()
                && state.fetches.is_empty()
                && !state.is_stopping
        };
        while !may_compact && is_idle(&state) {
            self.shared.wake.wait(&mut state);
        }
        // Senders that were answered together send again about now: the first of them must not have a sync for itself,
        // and the others wait for two.
        let (answered, sync) = self.last_sync;
        if answered > 1 {
            let until = Instant::now() + GATHER_TIME.min(sync / GATHER_PART);
            state.gathers = answered;
            while state.waiting.len() < answered
                && !state.is_stopping
                && !self.shared.wake.wait_until(&mut state, until).timed_out()
            {}
            state.gathers = 0;
        }
        Work {
            contents: std::mem::take(&mut state.contents),
            up_to: Ticket(state.next_ticket - 1),
            waiting: std::mem::take(&mut state.waiting),
            fetches: std::mem::take(&mut state.fetches),
            is_stopping: state.is_stopping,
        }
    }

    /// Writes records, syncs them if an answer waits for that, and answers.
    fn store(&mut self, work: Work, problems: &mut Vec<Problem>) -> io::Result<()> {
        let mut rest = &work.contents[..];
        while let Some((length, behind)) = rest.split_first_chunk() {
            let (content, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
            self.log.append(content);
            rest = behind;
            if self.log.is_file_full() {
                self.write()?;
                self.log.rotate()?;
            }
        }
        let written = self.write();
        let wants_sync = |waiting: &Waiting| waiting.durability == Durability::Synced;
        let begun = Instant::now();
        let stored = match work.waiting.iter().any(wants_sync) {
            true => written.and_then(|()| self.log.sync()),
            false => written,
        };
        self.last_sync = (work.waiting.len(), begun.elapsed());
        if let Err(error) = stored {
            let reason = ByteString::from(error.to_string());
            self.shared.state.lock().failed = Some(reason.clone());
            for waiting in work.waiting {
                let reason = reason.clone();
                (waiting.done)(Err(JournalError::Failed { reason }));
            }
            return Err(error);
        }
        for waiting in work.waiting {
            debug_assert!(waiting.ticket <= work.up_to, "it was appended before");
            (waiting.done)(Ok(()));
        }
        for (keys, done) in work.fetches {
            done(self.log.fetch(&keys, problems));
        }
        Ok(())
    }

    /// Writes, a second time if the disk was full: what was not written then is still there.
    fn write(&mut self) -> io::Result<()> {
        match self.log.write() {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                self.shared.state.lock().is_disk_full = true;
                tracing::error!("the disk of the store is full; publishers are refused");
                self.log.files.remove(RESERVE)?;
                self.log.write()
            }
            written => written,
        }
    }

    fn stop(mut self, work: Work) {
        if let Err(error) = self.log.close() {
            return self.fail(&error);
        }
        for waiting in work.waiting {
            (waiting.done)(Ok(()));
        }
        self.end(&CLOSED.into());
    }

    /// Ends for good: confirms nothing more, and says so.
    fn fail(self, error: &io::Error) {
        tracing::error!(%error, "the store has failed; it confirms nothing more until it is opened again");
        self.end(&error.to_string().into());
    }

    fn end(self, reason: &ByteString) {
        let mut state = self.shared.state.lock();
        state.failed = Some(reason.clone());
        state.is_stopping = true;
        state.contents = Vec::new();
        let waiting = std::mem::take(&mut state.waiting);
        let stops = std::mem::take(&mut state.stops);
        let fetches: VecDeque<_> = std::mem::take(&mut state.fetches).into();
        drop(state);
        for waiting in waiting {
            let reason = reason.clone();
            (waiting.done)(Err(JournalError::Failed { reason }));
        }
        drop(fetches);
        // The files, and with them the lock, are free before anybody hears of it.
        drop(self.log);
        stops.into_iter().for_each(|done| done());
    }
}
