//! Batches, and the answers to them.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tramline_broker::{CommitError, Confirm, PublishError, Published, Refused};

use super::rules::{Rules, Slow};
use super::transactions::{Commit, Windowed};
use super::{Letter, Load, Message, To, World};

/// A publisher's work.
pub(super) enum Job {
    Batch(Batch),
    Commit(Commit),
}

/// Letters to publish one after the other.
pub(super) struct Batch {
    /// A message that found its queue full.
    waiting: Option<usize>,
    rest: VecDeque<Letter>,
    done: usize,
    receivers: usize,
    answer: usize,
}

/// The reason why something was not published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Destination,
    Full,
    Memory,
    Expiry,
    /// A delivery to settle does not exist.
    Delivery,
}

/// The reason why a message is not published now.
#[derive(Debug)]
pub(super) enum Stop {
    Full,
    Refused(Kind),
}

/// A pending answer, and its expected value.
pub(super) struct Answer {
    number: usize,
    confirm: Given,
    expected: Option<Said>,
    /// The deliveries of topics that a transaction settles after its queues, as far as they still exist.
    pub(super) windows: Vec<Windowed>,
}

enum Given {
    Batch(Confirm<Result<Published, Refused>>),
    Commit(Confirm<Result<Published, CommitError>>),
}

/// The number of receivers; or how many messages were published, and why not the next.
type Said = Result<usize, (usize, Kind)>;

impl Job {
    /// The message that waits for room.
    pub(super) fn waiting(&self) -> Option<usize> {
        match self {
            Self::Batch(batch) => batch.waiting,
            Self::Commit(_) => None,
        }
    }
}

impl World {
    pub(super) fn publish(&mut self, letters: Vec<Letter>) {
        let letters = self.written(letters);
        let batch = letters.iter().map(|letter| self.posted(letter)).collect();
        let confirm = self.broker.publish(batch, self.timestamp());
        let answer = self.await_answer(Given::Batch(confirm));
        let batch = Batch {
            waiting: None,
            rest: letters.into(),
            done: 0,
            receivers: 0,
            answer,
        };
        self.go_on(Job::Batch(batch), None);
        self.finish_up();
    }

    pub(super) fn await_commit(
        &mut self,
        confirm: Confirm<Result<Published, CommitError>>,
    ) -> usize {
        self.await_answer(Given::Commit(confirm))
    }

    fn await_answer(&mut self, confirm: Given) -> usize {
        let number = self.next_turn();
        self.answers.push(Answer {
            number,
            confirm,
            expected: None,
            windows: Vec::new(),
        });
        number
    }

    /// Settles what an answer leaves to be settled.
    pub(super) fn settle_windows(&mut self, number: usize) {
        let mut answers = self.answers.iter_mut();
        let answer = answers.find(|answer| answer.number == number);
        let Some(answer) = answer.filter(|answer| matches!(answer.expected, Some(Ok(_)))) else {
            return;
        };
        for (slot, delivery, outcome) in std::mem::take(&mut answer.windows) {
            self.settle_at(slot, &delivery, outcome);
        }
        self.finish_up();
    }

    pub(super) fn answer(&mut self, number: usize, said: Said) {
        let mut answers = self.answers.iter_mut();
        let answer = answers.find(|answer| answer.number == number);
        answer.expect("it is waited for").expected = Some(said);
    }

    /// Compares the answers with the expected ones.
    pub(super) fn check_answers(&mut self) {
        let mut at = 0;
        while let Some(answer) = self.answers.get_mut(at) {
            let said = match &mut answer.confirm {
                Given::Batch(confirm) => poll(confirm)
                    .map(|said| said.map_err(|refused| (refused.done, kind(&refused.error)))),
                Given::Commit(confirm) => poll(confirm).map(|said| {
                    said.map_err(|error| match error {
                        CommitError::Settle(_) => (0, Kind::Delivery),
                        CommitError::Publish(error) => (0, kind(&error)),
                        error => panic!("{error}"),
                    })
                }),
            };
            let said = said.map(|said| said.map(|published| published.local_receivers));
            assert_eq!(said, answer.expected);
            if said.is_none() {
                at += 1;
                continue;
            }
            let number = answer.number;
            self.settle_windows(number);
            self.answers.remove(at);
        }
    }

    /// Continues a job, which waited until `deadline` if it is set.
    pub(super) fn go_on(&mut self, job: Job, deadline: Option<u64>) {
        match job {
            Job::Batch(mut batch) => {
                let done = batch.done;
                match self.run(&mut batch) {
                    Ok(()) => self.answer(batch.answer, Ok(batch.receivers)),
                    Err(Stop::Refused(kind)) => self.answer(batch.answer, Err((batch.done, kind))),
                    Err(Stop::Full) => {
                        let deadline = deadline.filter(|_| batch.done == done);
                        let message = batch.waiting.expect("one is in the way");
                        let queue = self.messages[message].destination.clone();
                        let needs = self.load_of(message);
                        let deadline = deadline.unwrap_or_else(|| self.deadline(&queue));
                        let job = Job::Batch(batch);
                        self.park(&queue, job, needs, Load::default(), deadline);
                    }
                }
            }
            Job::Commit(commit) => self.go_on_with_commit(commit, deadline),
        }
    }

    /// Fails a job that waited in vain.
    pub(super) fn fail(&mut self, job: Job) {
        match job {
            Job::Batch(batch) => self.answer(batch.answer, Err((batch.done, Kind::Full))),
            Job::Commit(commit) => self.answer(commit.answer, Err((0, Kind::Full))),
        }
    }

    fn run(&mut self, batch: &mut Batch) -> Result<(), Stop> {
        if let Some(waiting) = batch.waiting.take() {
            self.enqueue(waiting, true, batch)?;
        }
        let mut turn = (String::new(), 0);
        while let Some(letter) = batch.rest.pop_front() {
            if turn.0 != letter.text() {
                turn = (letter.text().to_owned(), self.next_turn());
            }
            self.publish_one(letter, turn.1, batch)?;
        }
        Ok(())
    }

    fn publish_one(&mut self, letter: Letter, turn: usize, batch: &mut Batch) -> Result<(), Stop> {
        self.has_memory(letter.units).map_err(Stop::Refused)?;
        let text = letter.text().to_owned();
        let expiry = letter.expiry(self.now);
        let expiry = expiry.map_err(|()| Stop::Refused(Kind::Expiry));
        match letter.to {
            To::Destination(_) if Rules::is_queue(&text) => {
                self.queue(&text);
                let message = self.queued(letter).map_err(Stop::Refused)?;
                return self.enqueue(message, false, batch);
            }
            To::Destination(_) if !Rules::is_topic(&text) => {
                return Err(Stop::Refused(Kind::Destination));
            }
            To::Destination(_) => {
                expiry?;
                batch.receivers += self.publish_to_topic(letter, turn);
            }
            To::User(..) | To::Session(..) => {
                expiry?;
                batch.receivers += self.publish_to_sessions(letter);
            }
        }
        batch.done += 1;
        Ok(())
    }

    fn enqueue(&mut self, message: usize, waited: bool, batch: &mut Batch) -> Result<(), Stop> {
        let queue = self.messages[message].destination.clone();
        match self.push_to_queue(&queue, message, waited) {
            Ok(handed) => {
                batch.receivers += usize::from(handed);
                batch.done += 1;
                Ok(())
            }
            Err(Stop::Full) => {
                batch.waiting = Some(message);
                Err(Stop::Full)
            }
            Err(refused) => {
                self.count(&queue, |counts| counts.refused += 1);
                Err(refused)
            }
        }
    }

    /// Refuses a message that exceeds the broker's memory.
    pub(super) fn has_memory(&mut self, units: usize) -> Result<(), Kind> {
        self.has_memory_below(units, super::MEMORY)
    }

    pub(super) fn has_memory_below(&mut self, units: usize, limit: usize) -> Result<(), Kind> {
        if self.used() + units > limit {
            self.totals.refused += 1;
            return Err(Kind::Memory);
        }
        Ok(())
    }

    /// Fans a message out; returns the number of receivers.
    pub(super) fn publish_to_topic(&mut self, letter: Letter, turn: usize) -> usize {
        let name = letter.text().to_owned();
        if !self.topics.contains_key(&name) && !self.has_listeners(&name) {
            self.totals.published += 1;
            return 0;
        }
        let slow = Rules::slow(&name);
        let topic = self.topic(&name);
        topic.used = true;
        topic.sequence += 1;
        let sequence = Some((topic.life, topic.sequence));
        let message = self.make(letter, sequence, None);
        let listeners: Vec<u32> = self.listeners(&name).collect();
        let count = listeners.len();
        self.count_for(message, |counts| {
            counts.published += 1;
            counts.delivered += count as u64;
        });
        for slot in listeners {
            self.deliver(slot, message, slow, turn);
        }
        count
    }

    pub(super) fn publish_to_sessions(&mut self, letter: Letter) -> usize {
        let wanted = super::Source::User(letter.text().to_owned());
        let is_meant = |world: &Self, session: usize| match &letter.to {
            To::User(named, _) => world.sessions[session].user == world.sessions[*named].user,
            To::Session(named, _) => session == *named,
            To::Destination(_) => false,
        };
        let listeners = 0..self.subscriptions.len() as u32;
        let listeners: Vec<u32> = listeners
            .filter(|slot| {
                let held = &self.subscriptions[*slot as usize];
                held.active && held.source == wanted && is_meant(self, held.session)
            })
            .collect();
        self.totals.published += 1;
        self.totals.delivered += listeners.len() as u64;
        let message = self.make(letter, None, None);
        let turn = self.next_turn();
        let count = listeners.len();
        for slot in listeners {
            self.deliver(slot, message, Slow::Close, turn);
        }
        count
    }

    /// Creates a message for a queue.
    pub(super) fn queued(&mut self, letter: Letter) -> Result<usize, Kind> {
        let own = letter.expiry(self.now).map_err(|()| Kind::Expiry)?;
        let default = Rules::of(letter.text()).time_to_live;
        let expires_at = own.or_else(|| Some(self.now + default?));
        Ok(self.make(letter, None, expires_at))
    }

    fn make(
        &mut self,
        letter: Letter,
        sequence: Option<(usize, u64)>,
        expires_at: Option<u64>,
    ) -> usize {
        self.messages.push(Message {
            destination: letter.text().to_owned(),
            letter,
            expires_at,
            redeliveries: 0,
            sequence,
            place: 0,
            dead: None,
            seen: None,
        });
        self.messages.len() - 1
    }

    /// Sends a message that was given up to its dead-letter destination, if there is one.
    pub(super) fn bury(
        &mut self,
        message: usize,
        reason: &'static str,
        deliveries: u32,
        place: Option<&'static str>,
    ) -> bool {
        let Message {
            letter,
            destination,
            ..
        } = &self.messages[message];
        let Some(place) = place.filter(|place| place != destination) else {
            return false;
        };
        let dead = Some((reason, destination.clone(), deliveries));
        let letter = Letter {
            to: To::Destination(place.to_owned()),
            life: super::Life::Silent,
            ..letter.clone()
        };
        if self.has_memory(letter.units).is_err() {
            return false;
        }
        let before = self.messages.len();
        if Rules::is_topic(place) {
            let turn = self.next_turn();
            self.publish_to_topic(letter, turn);
            self.set_dead(before, dead);
            return true;
        }
        self.queue(place);
        let message = self.queued(letter).expect("dead letters say nothing");
        self.set_dead(before, dead);
        match self.push_to_queue(place, message, false) {
            Ok(_) => true,
            Err(Stop::Full) => false,
            Err(Stop::Refused(_)) => {
                self.count(place, |counts| counts.refused += 1);
                false
            }
        }
    }

    fn set_dead(&mut self, message: usize, dead: Option<(&'static str, String, u32)>) {
        if let Some(message) = self.messages.get_mut(message) {
            message.dead = dead;
        }
    }
}

fn poll<T>(confirm: &mut Confirm<T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(confirm).poll(&mut context) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn kind(error: &PublishError) -> Kind {
    match error {
        PublishError::UnknownDestination { .. } => Kind::Destination,
        PublishError::QueueFull { .. } => Kind::Full,
        PublishError::OutOfMemory { .. } => Kind::Memory,
        PublishError::InvalidExpiry { .. } => Kind::Expiry,
        error => panic!("{error}"),
    }
}
