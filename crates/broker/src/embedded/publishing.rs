//! From a publisher into topics, queues and sessions, and from a queue to where dead letters go.

use std::sync::Arc;

use bytestring::ByteString;

use super::job::{Batch, Job, Waiting, Work};
use super::names::NoMoreNames;
use super::queue::{Aftermath, Dead, DeadReason, Load, Needs, NotTaken, Queue};
use super::settings::WhenFull;
use super::{EmbeddedBroker, Place};
use crate::confirm::Promise;
use crate::registry::Session;
use crate::statistics::{DestinationKind, Meter};
use crate::{
    Destination, Headers, Message, Publish, PublishError, Published, Refused, Separator, Target,
    Timestamp,
};

impl EmbeddedBroker {
    /// Publishes what is left of a batch, as far as that goes.
    pub(super) fn run(&self, batch: &mut Batch, after: &mut Aftermath) -> Result<(), NotTaken> {
        if let Some(waiting) = batch.waiting.take() {
            self.enqueue(waiting, true, batch, after)?;
        }
        while let Some(publish) = batch.rest.next() {
            self.publish_one(publish, batch, after)?;
        }
        Ok(())
    }

    pub(super) fn publish_one(
        &self,
        publish: Publish,
        batch: &mut Batch,
        after: &mut Aftermath,
    ) -> Result<(), NotTaken> {
        if !self.budget.has_room(publish.size_hint()) {
            self.count_refused();
            return Err(NotTaken::Refused(PublishError::OutOfMemory {
                limit: self.budget.limit(),
            }));
        }
        match publish.target.clone() {
            Target::Destination(destination) => match self.kind(&destination) {
                None => Err(NotTaken::Refused(self.unknown(&destination))),
                Some((DestinationKind::Topic, separator)) => {
                    // What follows for the same destination shares its turn, and one wake of each subscriber.
                    let mut bytes = publish.size_hint();
                    let mut run = vec![publish];
                    while let Some(next) = batch.rest.next_if(|next| {
                        bytes += next.size_hint();
                        next.destination() == Some(&destination) && self.budget.has_room(bytes)
                    }) {
                        run.push(next);
                    }
                    let messages = run.len();
                    let receivers = self.publish_to_topic(&destination, separator, run)?;
                    batch.receivers += receivers;
                    batch.done += messages;
                    Ok(())
                }
                Some((DestinationKind::Queue, _)) => {
                    let waiting = self.waiting(&destination, publish)?;
                    self.enqueue(waiting, false, batch, after)
                }
            },
            Target::User { name, path } => {
                let sessions = self.registry.sessions_of(&name);
                batch.receivers += self.publish_to_sessions(sessions, &path, publish);
                batch.done += 1;
                Ok(())
            }
            Target::Session { id, path } => {
                let session = self.registry.session(id);
                batch.receivers += self.publish_to_sessions(session, &path, publish);
                batch.done += 1;
                Ok(())
            }
        }
    }

    pub(super) fn publish_to_topic(
        &self,
        destination: &Destination,
        separator: Separator,
        messages: Vec<Publish>,
    ) -> Result<usize, NotTaken> {
        let count = messages.len();
        let receivers = self.topics.publish(
            destination,
            separator,
            messages,
            |destination| self.topic_details(destination),
            |publish, position| self.message(publish, Some(position)),
        );
        match receivers {
            Ok(Some(receivers)) => Ok(receivers),
            Ok(None) => {
                self.totals.add(|counters| &counters.published, count);
                Ok(0)
            }
            Err(NoMoreNames) => Err(NotTaken::Refused(self.no_more_names())),
        }
    }

    pub(super) fn publish_to_sessions(
        &self,
        sessions: impl IntoIterator<Item = Arc<Session<Place>>>,
        path: &Destination,
        publish: Publish,
    ) -> usize {
        let message = self.message(publish, None);
        let mut receivers = 0;
        for session in sessions {
            let (delivered, lost) = session.deliver(path, &message);
            receivers += delivered;
            self.totals.lost(lost, session.outbox.policy());
        }
        self.totals.add(|counters| &counters.published, 1);
        self.totals.add(|counters| &counters.delivered, receivers);
        receivers
    }

    /// A message on its way into a queue.
    pub(super) fn waiting(
        &self,
        destination: &Destination,
        publish: Publish,
    ) -> Result<Waiting, NotTaken> {
        let queue = self
            .queue(destination)
            .map_err(|NoMoreNames| NotTaken::Refused(self.no_more_names()))?;
        let expires_at = self
            .expires_at(&queue, &publish.headers)
            .map_err(NotTaken::Refused)?;
        Ok(Waiting {
            message: self.message(publish, None),
            queue,
            expires_at,
        })
    }

    pub(super) fn enqueue(
        &self,
        mut waiting: Waiting,
        waited: bool,
        batch: &mut Batch,
        after: &mut Aftermath,
    ) -> Result<(), NotTaken> {
        loop {
            let Waiting {
                queue,
                message,
                expires_at,
            } = &waiting;
            match queue.push(message, *expires_at, waited, self.now(), after) {
                Ok(handed) => {
                    batch.receivers += usize::from(handed);
                    batch.done += 1;
                    return Ok(());
                }
                Err(NotTaken::Forgotten) => waiting.queue = self.same_queue(queue)?,
                Err(NotTaken::Full) => {
                    batch.waiting = Some(waiting);
                    return Err(NotTaken::Full);
                }
                Err(refused) => {
                    queue.meter.add(|counters| &counters.refused, 1);
                    return Err(refused);
                }
            }
        }
    }

    /// The queue that has the name of one which was forgotten.
    pub(super) fn same_queue(&self, queue: &Queue) -> Result<Arc<Queue>, NotTaken> {
        let destination = Destination::parse(queue.name().clone())
            .map_err(|_| NotTaken::Refused(self.unknown(queue.name())))?;
        self.queue(&destination)
            .map_err(|NoMoreNames| NotTaken::Refused(self.no_more_names()))
    }

    /// Goes on with work that waited for room, or has it wait.
    pub(super) fn go_on(&self, job: Box<Job>, after: &mut Aftermath) {
        let Job { work, deadline } = *job;
        match work {
            Work::Batch { mut batch, promise } => {
                let done = batch.done;
                match self.run(&mut batch, after) {
                    Ok(()) => promise.keep(Ok(Published::new(batch.receivers))),
                    Err(NotTaken::Refused(error)) => promise.keep(Err(batch.refused(error))),
                    Err(NotTaken::Full | NotTaken::Forgotten) => {
                        let fresh = batch.done > done;
                        let deadline = (!fresh).then_some(deadline);
                        self.park(batch, promise, deadline, after);
                    }
                }
            }
            Work::Commit {
                session,
                transaction,
                promise,
            } => self.go_on_with_commit(session, transaction, promise, deadline, after),
        }
    }

    /// Has a batch wait for room, each of its messages for its own time.
    pub(super) fn park(
        &self,
        batch: Batch,
        promise: Promise<Result<Published, Refused>>,
        deadline: Option<Timestamp>,
        after: &mut Aftermath,
    ) {
        let Some(waiting) = &batch.waiting else {
            return promise.keep(Ok(Published::new(batch.receivers)));
        };
        let queue = Arc::clone(&waiting.queue);
        let needs = Needs {
            load: Load::of(&waiting.message),
            frees: Load::default(),
        };
        let deadline = deadline.unwrap_or_else(|| self.deadline(&queue));
        let work = Work::Batch { batch, promise };
        self.wait_in(&queue, Job { work, deadline }, needs, after);
    }

    /// Has work wait for room in `queue`, or goes on with it where there is some meanwhile.
    pub(super) fn wait_in(&self, queue: &Queue, job: Job, needs: Needs, after: &mut Aftermath) {
        if let Err(job) = queue.park(Box::new(job), needs) {
            self.go_on(job, after);
        }
    }

    /// When a message with these headers expires in `queue`.
    pub(super) fn expires_at(
        &self,
        queue: &Queue,
        headers: &Headers,
    ) -> Result<Option<Timestamp>, PublishError> {
        let now = self.now();
        Ok(expiry(headers, now)?.or_else(|| queue.expiry_by_default(now)))
    }

    pub(super) fn deadline(&self, queue: &Queue) -> Timestamp {
        match queue.settings.when_full {
            WhenFull::Wait(time) => self.clock.steady() + time,
            WhenFull::DropOldest | WhenFull::DropNewest => self.clock.steady(),
        }
    }

    /// Does what is left to be done when no lock is held.
    pub(super) fn finish(&self, mut after: Aftermath) {
        loop {
            if let Some(dead) = after.dead.pop_front() {
                self.bury(&dead, &mut after);
            } else if let Some((job, queue)) = after.overdue.pop_front() {
                queue.meter.add(|counters| &counters.refused, 1);
                job.fail(queue.full_error());
            } else if let Some(queue) = after.room.pop_front() {
                while let Some(job) = queue.next_publisher() {
                    self.go_on(job, &mut after);
                }
            } else {
                return;
            }
        }
    }

    /// Sends a message that a queue gave up where dead letters go.
    pub(super) fn bury(&self, dead: &Dead, after: &mut Aftermath) {
        let Dead {
            message,
            reason,
            queue,
        } = dead;
        // What dies among the dead letters is gone.
        let place = queue.settings.dead_letters.as_ref();
        let place = place.filter(|place| *place != queue.name());
        let deliveries = message.redeliveries();
        self.bury_at(message, *reason, deliveries, place, &queue.meter, after);
    }

    pub(super) fn bury_at(
        &self,
        message: &Arc<Message>,
        reason: DeadReason,
        deliveries: u32,
        place: Option<&ByteString>,
        meter: &Meter,
        after: &mut Aftermath,
    ) {
        let publish = place.and_then(|place| {
            let destination = Destination::parse(place.clone()).ok()?;
            let headers = dead_letter_headers(message, reason, deliveries);
            Some(Publish::new(destination, headers, message.body().clone()))
        });
        let mut batch = Batch::new(Vec::new());
        let buried = publish.map(|publish| self.publish_one(publish, &mut batch, after));
        match buried {
            Some(Ok(())) => meter.add(|counters| &counters.dead_lettered, 1),
            // Dead letters wait for no room: they have no publisher to be told.
            Some(Err(_)) => meter.add(|counters| &counters.discarded, 1),
            None if reason == DeadReason::Expired => {}
            None => meter.add(|counters| &counters.discarded, 1),
        }
    }
}

/// When a message says that it expires; the earlier where it says two things. ActiveMQ's `expires:0` says nothing.
pub(super) fn expiry(headers: &Headers, now: Timestamp) -> Result<Option<Timestamp>, PublishError> {
    let number = |header: &'static str| {
        let Some(value) = headers.get_bytestring(header) else {
            return Ok(None);
        };
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.parse::<u64>().ok().filter(|_| digits);
        number.map(Some).ok_or(PublishError::InvalidExpiry {
            header,
            value: value.chars().take(32).collect::<String>().into(),
        })
    };
    let at = number("expires")?
        .filter(|at| *at > 0)
        .map(Timestamp::from_millis);
    let after = number("expiration")?.map(|millis| now + std::time::Duration::from_millis(millis));
    Ok(at.into_iter().chain(after).min())
}

/// The headers of a dead letter: those of the message, without its time, and why it is one.
fn dead_letter_headers(message: &Message, reason: DeadReason, deliveries: u32) -> Headers {
    let mut headers = message.headers().clone();
    headers.retain(|name, _| {
        !matches!(
            name,
            "expires"
                | "expiration"
                | "dead-letter-reason"
                | "original-destination"
                | "original-delivery-count"
        )
    });
    let name = ByteString::from_static;
    headers.push(name("dead-letter-reason"), reason.as_str());
    headers.push(name("original-destination"), message.destination());
    headers.push(name("original-delivery-count"), deliveries.to_string());
    headers
}
