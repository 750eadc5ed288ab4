//! The work of publishers, and the rest of it while they wait for room.

use std::sync::Arc;
use std::{iter::Peekable, vec};

use bytestring::ByteString;

use super::journal::{Awaited, Key};
use super::queue::Queue;
use crate::broker::Commit;
use crate::confirm::Promise;
use crate::errors::{CommitError, PublishError, Refused};
use crate::message::{Message, Publish};
use crate::request::Published;
use crate::timestamp::Timestamp;

/// Work that waits for room in a queue.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    /// The [steady](crate::LocalHub::steady) time at which it fails.
    pub(super) deadline: Timestamp,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a job is boxed, and only made to wait"
)]
pub(super) enum Work {
    Batch {
        batch: Batch,
        promise: Promise<Result<Published, Refused>>,
    },
    Commit {
        commit: Commit,
        promise: Promise<Result<Published, CommitError>>,
    },
}

/// Messages to publish one after the other, with the progress so far.
#[derive(Debug)]
pub(super) struct Batch {
    /// The message that found no room.
    pub(super) waiting: Option<ParkedMessage>,
    pub(super) rest: Peekable<vec::IntoIter<Publish>>,
    pub(super) done: usize,
    pub(super) receivers: usize,
    /// The destination of a message that is refused.
    pub(super) refused: Option<ByteString>,
    /// The records of the messages done before it was parked.
    pub(super) awaited: Awaited,
}

/// A message for a queue that is full.
#[derive(Debug)]
pub(super) struct ParkedMessage {
    pub(super) queue: Arc<Queue>,
    pub(super) message: Arc<Message>,
    pub(super) expires_at: Option<Timestamp>,
    /// True if it is refused instead of waiting.
    pub(super) immediate: bool,
    /// The message of a durable queue whose dead letter it is.
    pub(super) replaces: Option<Key>,
}

impl Batch {
    pub(super) fn new(messages: Vec<Publish>) -> Self {
        Self {
            waiting: None,
            rest: messages.into_iter().peekable(),
            done: 0,
            receivers: 0,
            refused: None,
            awaited: Awaited::default(),
        }
    }

    /// Puts messages in front of the rest again.
    pub(super) fn give_back(&mut self, mut messages: Vec<Publish>) {
        messages.extend(self.rest.by_ref());
        self.rest = messages.into_iter().peekable();
    }

    pub(super) fn refused(self, error: PublishError) -> Refused {
        let waited = self.waiting.map(|waiting| waiting.queue.name().clone());
        let mut refused = Refused::new(self.done, error).with_rest(self.rest);
        refused.destination = self.refused.or(waited).map(|name| (*name).into());
        refused
    }
}

impl Job {
    /// Answers the publisher with `error` after it waited in vain.
    pub(super) fn fail(self, error: PublishError) {
        match self.work {
            Work::Batch { batch, promise } => promise.keep(Err(batch.refused(error))),
            Work::Commit { promise, .. } => promise.keep(Err(error.into())),
        }
    }
}
