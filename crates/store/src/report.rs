//! What was found when a store was opened.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytestring::ByteString;
use tramline_broker::RecoveredQueue;

/// What a store had when it was opened, and what is wrong with it. `Display` is a line for the log, and one more for
/// each [`Problem`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// True if there was no store: it begins empty.
    pub is_new: bool,
    /// True if the store was closed in order the last time. If not, its process or machine ended without it, and every
    /// message counts as perhaps delivered.
    pub was_closed: bool,
    /// The number of its files.
    pub files: usize,
    /// Their bytes.
    pub file_bytes: u64,
    /// The queues with messages, by name; and the durable subscriptions, with messages or without, as
    /// `subscription:USER:ID:DESTINATION`.
    pub queues: Vec<QueueReport>,
    /// What is wrong, by file and offset.
    pub problems: Vec<Problem>,
    /// How long opening took.
    pub elapsed: Duration,
}

/// A queue of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueReport {
    /// Its name.
    pub name: ByteString,
    /// Its messages.
    pub messages: usize,
    /// Their bytes, as queues count them.
    pub bytes: usize,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The last write is incomplete, or damaged. No receipt waited for it to be synced, if the process or the machine
    /// ended at that time; it is cut off.
    Cut {
        /// The file.
        file: String,
        /// Where the first bad byte is.
        offset: u64,
        /// The number of bad bytes.
        bytes: u64,
    },
    /// Bytes in a file are damaged; what is before and behind them is read.
    Damaged {
        /// The file.
        file: String,
        /// Where the damage begins.
        offset: u64,
        /// The number of bytes that are no record.
        bytes: u64,
        /// The index of the first record that is gone.
        first_record: u32,
        /// The number of records that are gone; `None` if it is not known.
        records: Option<u32>,
    },
    /// Both copies of a file's header are damaged: nothing in it can be read.
    Unrecognized {
        /// The file.
        file: String,
        /// Its bytes.
        bytes: u64,
    },
    /// A file is not there.
    Missing {
        /// The file.
        file: String,
    },
    /// The last record of a complete file is not there; records before it may be gone too.
    CutShort {
        /// The file.
        file: String,
        /// Where it ends.
        offset: u64,
    },
    /// A message that was readable before is not now.
    Unreadable {
        /// The file.
        file: String,
        /// The offset of its record.
        offset: u64,
        /// The reason.
        reason: String,
    },
}

impl Problem {
    /// True if something that was confirmed may be gone.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Self::Cut { .. })
    }

    /// The file that it is about.
    pub fn file(&self) -> &str {
        match self {
            Self::Cut { file, .. }
            | Self::Damaged { file, .. }
            | Self::Unrecognized { file, .. }
            | Self::Missing { file }
            | Self::CutShort { file, .. }
            | Self::Unreadable { file, .. } => file,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut {
                file,
                offset,
                bytes,
            } => write!(
                f,
                "{file}: the last write, {bytes} bytes at offset {offset}, is incomplete and does not count"
            ),
            Self::Damaged {
                file,
                offset,
                bytes,
                first_record,
                records,
            } => {
                write!(f, "{file}: {bytes} bytes at offset {offset} are damaged: ")?;
                match records {
                    Some(records) => {
                        let last = u64::from(*first_record) + u64::from(*records);
                        write!(
                            f,
                            "{records} records are gone, {first_record} up to before {last}"
                        )
                    }
                    None => write!(f, "everything from record {first_record} on is gone"),
                }
            }
            Self::Unrecognized { file, bytes } => write!(
                f,
                "{file}: its header is damaged, so that none of its {bytes} bytes can be read: all of it is gone"
            ),
            Self::Missing { file } => {
                write!(f, "{file}: it is not there; all that was in it is gone")
            }
            Self::CutShort { file, offset } => write!(
                f,
                "{file}: it ends at offset {offset} before its last record; what was behind is gone"
            ),
            Self::Unreadable {
                file,
                offset,
                reason,
            } => write!(
                f,
                "{file}: a message at offset {offset} cannot be read: {reason}; it is gone"
            ),
        }
    }
}

/// Lists what a store has, by name. Of a durable subscription it has up to three queues: see `FORMAT.md`.
pub(crate) fn queues(recovered: &[RecoveredQueue]) -> Vec<QueueReport> {
    let mut queues = BTreeMap::new();
    for queue in recovered {
        let (name, messages, bytes) = match kind_of(&queue.name) {
            Kind::Queue => (queue.name.clone(), queue.keys.len(), queue.bytes),
            Kind::Exists(name) => (format!("{SUBSCRIPTION}{name}").into(), 0, 0),
            Kind::Missed => continue,
        };
        let report = QueueReport {
            name: name.clone(),
            messages,
            bytes,
        };
        let known: &mut QueueReport = queues.entry(name).or_insert(report.clone());
        if messages > 0 {
            *known = report;
        }
    }
    queues.into_values().collect()
}

/// The meaning of a queue's name.
pub(crate) enum Kind<'a> {
    /// A queue's messages, or those of a durable subscription.
    Queue,
    /// The durable subscription of this name exists.
    Exists(&'a str),
    /// A durable subscription has missed messages.
    Missed,
}

pub(crate) fn kind_of(name: &str) -> Kind<'_> {
    let exists = name.strip_prefix("subscribed:");
    match exists.and_then(|rest| rest.split_once(':')) {
        Some((_since, name)) => Kind::Exists(name),
        None if name.starts_with("missed:") => Kind::Missed,
        None => Kind::Queue,
    }
}

/// The beginning of the name of a queue that has a durable subscription's messages.
pub(crate) const SUBSCRIPTION: &str = "subscription:";

impl Report {
    /// The number of messages in all queues.
    pub fn messages(&self) -> usize {
        self.queues.iter().map(|queue| queue.messages).sum()
    }

    /// True if something that was confirmed may be gone: see [`problems`](Self::problems).
    pub fn has_losses(&self) -> bool {
        self.problems.iter().any(Problem::is_loss)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_new {
            return f.write_str("a new store, empty");
        }
        let bytes: usize = self.queues.iter().map(|queue| queue.bytes).sum();
        write!(
            f,
            "{} messages of {bytes} bytes in {} queues, from {} files of {} bytes in {:.3} s; ",
            self.messages(),
            self.queues.len(),
            self.files,
            self.file_bytes,
            self.elapsed.as_secs_f64(),
        )?;
        f.write_str(match self.was_closed {
            true => "it was closed in order",
            false => "it was not closed, so messages count as perhaps delivered",
        })?;
        match self.has_losses() {
            true => f.write_str("; SOMETHING IS GONE:")?,
            false => f.write_str("; nothing that was confirmed is missing")?,
        }
        for problem in &self.problems {
            write!(f, "\n{problem}")?;
        }
        Ok(())
    }
}
