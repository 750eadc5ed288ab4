//! Where the messages of one file are.

/// The messages of a file: eight bytes each, and a bit that says whether it was removed.
#[derive(Debug, Default)]
pub(crate) struct FileIndex {
    first_key: u64,
    /// By key, ascending.
    entries: Vec<Entry>,
    dead: Vec<u64>,
    live: usize,
    /// The bytes of the live messages' records, about.
    live_bytes: u64,
    /// The file's length.
    pub(crate) length: u64,
    /// The bytes of other records that compaction found to be needed.
    pub(crate) kept_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The key, less the first.
    key: u32,
    /// The offset of its record.
    offset: u32,
}

impl FileIndex {
    /// Adds a message; returns false, and does not, if its key is not greater than the last one or too far from the first.
    pub(crate) fn add(&mut self, key: u64, offset: u64, bytes: usize) -> bool {
        if self.entries.is_empty() {
            self.first_key = key;
        }
        let relative = key.checked_sub(self.first_key).map(u32::try_from);
        let (Some(Ok(key)), Ok(offset)) = (relative, u32::try_from(offset)) else {
            return false;
        };
        if self.entries.last().is_some_and(|last| last.key >= key) {
            return false;
        }
        self.entries.push(Entry { key, offset });
        self.dead.resize(self.entries.len().div_ceil(64), 0);
        self.live += 1;
        self.live_bytes += bytes as u64;
        true
    }

    /// The first and last key; `None` without messages.
    pub(crate) fn keys(&self) -> Option<(u64, u64)> {
        let last = self.entries.last()?;
        Some((self.first_key, self.first_key + u64::from(last.key)))
    }

    fn place(&self, key: u64) -> Option<usize> {
        let key = u32::try_from(key.checked_sub(self.first_key)?).ok()?;
        self.entries.last().filter(|last| key <= last.key)?;
        let place = self.entries.binary_search_by_key(&key, |entry| entry.key);
        place.ok()
    }

    /// True if the message is in the file, removed or not.
    pub(crate) fn holds(&self, key: u64) -> bool {
        self.place(key).is_some()
    }

    /// The offset of a live message's record.
    pub(crate) fn offset(&self, key: u64) -> Option<u64> {
        let place = self.place(key)?;
        let is_live = self.dead[place / 64] >> (place % 64) & 1 == 0;
        is_live.then(|| self.entries[place].offset.into())
    }

    /// Marks a message as removed; returns false if it is not here, or was removed before.
    pub(crate) fn remove(&mut self, key: u64) -> bool {
        let Some(place) = self.place(key) else {
            return false;
        };
        let (word, bit) = (&mut self.dead[place / 64], 1 << (place % 64));
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.live_bytes -= self.live_bytes / self.live as u64;
        self.live -= 1;
        true
    }

    /// The number of messages that were not removed.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// The bytes that the live messages take, about.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.min(self.length)
    }
}
