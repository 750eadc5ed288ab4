//! The directory of a store, as far as a store needs one.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io::ErrorKind};

use parking_lot::Mutex;

/// Where a store keeps its files: a directory, or a test's own.
///
/// Nothing written is durable before [`sync`](Self::sync) has returned for that file; no new, renamed or removed name is
/// durable before [`sync_directory`](Self::sync_directory) has.
pub trait Files: fmt::Debug + Send + Sync + 'static {
    /// The names of all files.
    ///
    /// # Errors
    ///
    /// What the operating system says; so for all methods.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The size of a file in bytes.
    fn size(&self, name: &str) -> io::Result<u64>;

    /// Creates an empty file; one of that name is emptied.
    fn create(&self, name: &str) -> io::Result<()>;

    /// Reads at most `length` bytes: fewer at the end of the file.
    fn read(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Writes all of `bytes`.
    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file.
    fn truncate(&self, name: &str, length: u64) -> io::Result<()>;

    /// Makes a file's content durable.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Renames a file; one that has the new name is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names in the directory durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// A directory of the file system.
pub(crate) struct Directory {
    path: PathBuf,
    open: Mutex<HashMap<String, Arc<File>>>,
    /// Held while the directory is open for writing.
    _lock: Option<File>,
}

/// The file whose lock keeps a second process out.
const LOCK: &str = "lock";

impl Directory {
    /// Opens a directory for writing, and creates it if there is none; `None` if another process has it.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        if !path.is_dir() {
            fs::create_dir_all(path)?;
            if let Some(parent) = path.parent().filter(|parent| parent.is_dir()) {
                sync_directory(parent)?;
            }
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self::new(path, Some(lock)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Opens a directory to look at.
    pub(crate) fn read_only(path: &Path) -> io::Result<Self> {
        fs::read_dir(path)?;
        Ok(Self::new(path, None))
    }

    fn new(path: &Path, lock: Option<File>) -> Self {
        Self {
            path: path.to_owned(),
            open: Mutex::new(HashMap::new()),
            _lock: lock,
        }
    }

    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        let mut open = self.open.lock();
        if let Some(file) = open.get(name) {
            return Ok(Arc::clone(file));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(self._lock.is_some());
        let file = Arc::new(options.open(self.path.join(name))?);
        open.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.file(name)?.metadata()?.len())
    }

    fn create(&self, name: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(self.path.join(name))?;
        self.open.lock().insert(name.to_owned(), Arc::new(file));
        Ok(())
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.file(name)?;
        let mut file = &*file;
        let left = file.metadata()?.len().saturating_sub(offset);
        let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut bytes = Vec::with_capacity(length);
        file.seek(SeekFrom::Start(offset))?;
        file.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(name)?;
        let mut file = &*file;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.file(name)?.set_len(length)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut open = self.open.lock();
        fs::rename(self.path.join(from), self.path.join(to))?;
        open.remove(to);
        if let Some(file) = open.remove(from) {
            open.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.open.lock().remove(name);
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({})", self.path.display())
    }
}

/// Only Unix opens directories as files; elsewhere the file system keeps names in order by itself.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}
