//! Answers of checks that a session keeps for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::decision::Action;
use crate::model::clock::now;
use crate::model::inbound::SessionRecord;

/// Answers that one session keeps: a client chooses the destinations that it asks about.
pub(super) const KEPT: usize = 64;

/// The answers that a session keeps, in the order in which they were given.
#[derive(Debug, Default)]
struct KeptAnswers(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    list: Vec<Kept>,
    /// How often they were dropped: the answer of a check that began before that is not kept.
    dropped: u64,
}

#[derive(Debug)]
struct Kept {
    is_send: bool,
    destination: Box<str>,
    is_permitted: bool,
    until: Instant,
}

/// The place of one answer.
pub(super) struct Place {
    answers: Arc<KeptAnswers>,
    dropped: u64,
    is_send: bool,
    destination: Box<str>,
}

impl Place {
    /// The place for the answer about `action`; CONNECT is asked once, and has none.
    pub(super) fn of(session: &SessionRecord, action: Action<'_>) -> Option<Self> {
        let (is_send, destination) = match action {
            Action::Connect => return None,
            Action::Message(destination) => (true, destination),
            Action::Subscribe(destination) => (false, destination),
        };
        let answers = session.attributes.get::<KeptAnswers>();
        let dropped = answers.0.lock().dropped;
        Some(Self {
            answers,
            dropped,
            is_send,
            destination: destination.into(),
        })
    }

    /// The answer, while it is kept.
    pub(super) fn find(&self) -> Option<bool> {
        let answers = self.answers.0.lock();
        let kept = answers.list.iter().find(|kept| self.is_of(kept))?;
        (kept.until > now()).then_some(kept.is_permitted)
    }

    /// The time until which the answer is or was kept, if the session still has it.
    pub(super) fn until(&self) -> Option<Instant> {
        let answers = self.answers.0.lock();
        let kept = answers.list.iter().find(|kept| self.is_of(kept))?;
        Some(kept.until)
    }

    /// Keeps an answer.
    pub(super) fn keep(self, is_permitted: bool, time: Duration) {
        let mut answers = self.answers.0.lock();
        if answers.dropped != self.dropped {
            return;
        }
        answers.list.retain(|kept| !self.is_of(kept));
        if answers.list.len() >= KEPT {
            answers.list.remove(0);
        }
        answers.list.push(Kept {
            is_send: self.is_send,
            destination: self.destination,
            is_permitted,
            until: now() + time,
        });
    }

    fn is_of(&self, kept: &Kept) -> bool {
        (kept.is_send, &kept.destination) == (self.is_send, &self.destination)
    }
}

/// Drops the answers that a session keeps: its user's rights may have changed.
pub(super) fn drop_all(session: &SessionRecord) {
    let answers = session.attributes.get::<KeptAnswers>();
    let mut answers = answers.0.lock();
    answers.list.clear();
    answers.dropped += 1;
}
