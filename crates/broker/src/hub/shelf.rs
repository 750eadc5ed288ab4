//! The messages that one topic keeps.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::history::History;
use super::window::Origin;
use crate::message::{Gap, Message, Position};
use crate::sync::{Mutex, MutexGuard};
use crate::timestamp::Timestamp;

/// The kept messages of a topic. Its lock is held while messages are added and queued to the subscribers, so that a
/// [`Reader`](super::reader::Reader) finds each message either here or in its outbox.
#[derive(Debug)]
pub(super) struct Shelf {
    kept: Mutex<Kept>,
    pub(super) origin: Arc<Origin>,
}

/// What all shelves of a hub share.
#[derive(Debug)]
pub(super) struct Shelves {
    /// The size of all kept messages.
    bytes: AtomicUsize,
    limit: usize,
    /// Counts the batches that any of them added: a position for what a subscriber has of *all* its topics.
    mark: AtomicU64,
    /// The epoch of marks.
    pub(super) epoch: u64,
}

/// The content of a [`Shelf`].
#[derive(Debug)]
pub(super) struct Kept {
    history: Arc<History>,
    shelves: Arc<Shelves>,
    epoch: u64,
    /// By sequence; neither the first nor the last is empty.
    entries: VecDeque<Entry>,
    /// The number of entries whose message was replaced.
    empty: usize,
    bytes: usize,
    /// The sequence of the last message that was added.
    last: u64,
    /// The last sequence and mark that a bound has removed.
    removed: (u64, u64),
    /// The sequence of the latest message of each key.
    latest: HashMap<Box<str>, u64>,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    mark: u64,
    at: Timestamp,
    /// `None` once a later message of the same key has replaced it.
    message: Option<Arc<Message>>,
}

/// Where to begin with a topic's kept messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadFrom {
    /// After a position that the subscriber has.
    Position(Position),
    /// With what was added after this mark.
    Mark(u64),
    /// With the first that is kept.
    First,
    /// With the last value, or the last of each key.
    Last,
}

/// The place from which a subscriber reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The sequence of the last message that it does not receive.
    pub(super) after: u64,
    pub(super) gap: Option<Gap>,
}

/// How many more of a shelf's entries may be empty than full.
const SPARE: usize = 64;

impl Shelves {
    pub(super) fn new(limit: usize, epoch: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            limit,
            mark: AtomicU64::new(0),
            epoch,
        })
    }

    /// The mark of the last addition, as a position.
    pub(super) fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            sequence: self.mark.load(Ordering::SeqCst),
        }
    }

    fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.limit
    }
}

impl Shelf {
    pub(super) fn new(
        history: Arc<History>,
        shelves: Arc<Shelves>,
        epoch: u64,
        origin: Arc<Origin>,
    ) -> Self {
        Self {
            kept: Mutex::new(Kept {
                history,
                shelves,
                epoch,
                entries: VecDeque::new(),
                empty: 0,
                bytes: 0,
                last: 0,
                removed: (0, 0),
                latest: HashMap::new(),
            }),
            origin,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock()
    }
}

impl Kept {
    /// Adds the messages that are to be kept, and removes what exceeds the bounds.
    pub(super) fn add(&mut self, messages: &[Arc<Message>], now: Timestamp) {
        let before = self.bytes;
        let mark = self.shelves.mark.fetch_add(1, Ordering::SeqCst) + 1;
        for message in messages.iter().filter(|message| message.is_kept()) {
            let Some(position) = message.position() else {
                continue;
            };
            self.replace(message, position.sequence);
            self.last = position.sequence;
            self.bytes += message.size();
            self.entries.push_back(Entry {
                sequence: position.sequence,
                mark,
                at: now,
                message: Some(Arc::clone(message)),
            });
        }
        self.account(before);
        self.trim(now);
    }

    /// Removes what exceeds the bounds by now.
    pub(super) fn trim(&mut self, now: Timestamp) {
        let before = self.bytes;
        while let Some(first) = self.entries.front() {
            let live = self.entries.len() - self.empty;
            let exceeds = live > self.history.messages
                || self.bytes > self.history.bytes
                || first.at + self.history.time <= now;
            // What this round has removed is not accounted for yet.
            let over = || {
                let others = before - self.bytes;
                let all = self.shelves.bytes.load(Ordering::Relaxed);
                all.saturating_sub(others) > self.shelves.limit
            };
            if !(exceeds || self.shelves.is_over() && over()) {
                break;
            }
            self.remove_first();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
        self.account(before);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The position of the last message.
    pub(super) fn last(&self) -> Position {
        self.position(self.last)
    }

    /// The messages after a sequence, in order.
    pub(super) fn after(&self, sequence: u64) -> impl Iterator<Item = (u64, &Arc<Message>)> {
        let from = self
            .entries
            .partition_point(|entry| entry.sequence <= sequence);
        let entries = self.entries.range(from..);
        entries.filter_map(|entry| Some((entry.sequence, entry.message.as_ref()?)))
    }

    /// Returns where to read on, and what is missing there. `Err` is the last position of the topic, if `from` is ahead
    /// of it.
    pub(super) fn find(&self, from: ReadFrom) -> Result<Found, Position> {
        let (removed, removed_mark) = self.removed;
        let gap = |after: Position, is_missing: bool| {
            is_missing.then(|| Gap {
                after,
                up_to: self.position(removed),
            })
        };
        Ok(match from {
            ReadFrom::First => Found {
                after: removed,
                gap: None,
            },
            ReadFrom::Last if self.history.key.is_some() => self.find(ReadFrom::First)?,
            ReadFrom::Last => {
                let last = self.entries.back().map(|last| last.sequence - 1);
                Found {
                    after: last.unwrap_or(self.last),
                    gap: None,
                }
            }
            ReadFrom::Mark(mark) => {
                let at = self.entries.partition_point(|entry| entry.mark <= mark);
                let before = at.checked_sub(1).map(|at| self.entries[at].sequence);
                let after = before.unwrap_or(removed);
                Found {
                    after,
                    gap: gap(self.position(0), removed_mark > mark),
                }
            }
            ReadFrom::Position(position) if position == Position::START => Found {
                after: removed,
                gap: gap(position, removed > 0),
            },
            ReadFrom::Position(position) if position.epoch != self.epoch => Found {
                after: removed,
                gap: gap(position, true),
            },
            ReadFrom::Position(position) if position.sequence > self.last => {
                return Err(self.last());
            }
            ReadFrom::Position(position) => Found {
                after: position.sequence.max(removed),
                gap: gap(position, position.sequence < removed),
            },
        })
    }

    /// Returns what is missing after a sequence.
    pub(super) fn gap_after(&self, sequence: u64) -> Option<Gap> {
        let (removed, _) = self.removed;
        (sequence < removed).then(|| Gap {
            after: self.position(sequence),
            up_to: self.position(removed),
        })
    }

    fn position(&self, sequence: u64) -> Position {
        Position {
            epoch: self.epoch,
            sequence,
        }
    }

    /// Empties the entry of an older message of the same key.
    fn replace(&mut self, message: &Message, sequence: u64) {
        let Some(header) = self.history.key.clone() else {
            return;
        };
        let key = message.headers().get(&header).unwrap_or_default();
        let older = match self.latest.get_mut(key) {
            Some(latest) => std::mem::replace(latest, sequence),
            None => {
                self.latest.insert(key.into(), sequence);
                return;
            }
        };
        let at = self
            .entries
            .binary_search_by_key(&older, |entry| entry.sequence);
        if let Ok(at) = at
            && let Some(older) = self.entries[at].message.take()
        {
            self.bytes -= older.size();
            self.empty += 1;
        }
        self.close_up();
    }

    /// Removes empty entries: those in front at once, others when they are many.
    fn close_up(&mut self) {
        while self
            .entries
            .front()
            .is_some_and(|first| first.message.is_none())
        {
            self.entries.pop_front();
            self.empty -= 1;
        }
        if self.empty > self.entries.len() - self.empty + SPARE {
            self.entries.retain(|entry| entry.message.is_some());
            self.empty = 0;
        }
    }

    fn remove_first(&mut self) {
        let Some(first) = self.entries.pop_front() else {
            return;
        };
        self.removed = (first.sequence, first.mark);
        match &first.message {
            Some(message) => {
                self.bytes -= message.size();
                if let Some(header) = &self.history.key {
                    let key = message.headers().get(header).unwrap_or_default();
                    self.latest.remove(key);
                }
            }
            None => self.empty -= 1,
        }
        self.close_up();
    }

    /// Counts the change of `bytes` since it was `before` in the sum of all.
    fn account(&self, before: usize) {
        let all = &self.shelves.bytes;
        if self.bytes > before {
            all.fetch_add(self.bytes - before, Ordering::Relaxed);
        } else if self.bytes < before {
            all.fetch_sub(before - self.bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shelves.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
