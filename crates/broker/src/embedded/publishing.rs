//! Publishing to topics, queues and sessions, and a queue's dead letters.

use std::sync::Arc;

use super::Engine;
use super::job::{Batch, Job, ParkedMessage, Work};
use super::journal::Awaited;
use super::ledger::Load;
use super::queue::{Aftermath, Dead, Needs, NotTaken, Queue};
use super::settings::WhenFull;
use crate::Headers;
use crate::confirm::Promise;
use crate::destination::{Destination, Target};
use crate::errors::{PublishError, Refused};
use crate::expiry::expiry;
use crate::feed::Feed;
use crate::message::{DeadLetterReason, Publish};
use crate::request::Published;
use crate::statistics::{Count, DestinationKind};
use crate::timestamp::Timestamp;

impl Engine {
    /// Publishes the rest of a batch, as far as possible.
    pub(super) fn run(&self, batch: &mut Batch, after: &mut Aftermath) -> Result<(), NotTaken> {
        if let Some(waiting) = batch.waiting.take() {
            let name = waiting.queue.name().clone();
            self.enqueue(waiting, true, batch, after)
                .inspect_err(|_| batch.refused = Some(name))?;
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
        let check_memory = |kind| {
            let memory = self
                .hub
                .check_memory_for(publish.account(), publish.memory(), kind);
            memory.map_err(NotTaken::Refused)
        };
        let Target::Destination(destination) = &publish.target else {
            check_memory(DestinationKind::Topic)?;
            self.check_expiry(&publish)?;
            batch.receivers += self.hub.deliver_here(publish);
            batch.done += 1;
            return Ok(());
        };
        let destination = destination.clone();
        let kind = self.hub.settings().kind(&destination).map(|(kind, _)| kind);
        let memory = check_memory(kind.unwrap_or(DestinationKind::Topic));
        let answer =
            memory.and_then(|()| self.publish_to((&destination, kind), publish, batch, after));
        answer.inspect_err(|_| batch.refused = Some(destination.as_bytestring().clone()))
    }

    fn check_expiry(&self, publish: &Publish) -> Result<(), NotTaken> {
        let expiry = expiry(&publish.headers, self.hub.now());
        expiry.map(drop).map_err(NotTaken::Refused)
    }

    fn publish_to(
        &self,
        (destination, kind): (&Destination, Option<DestinationKind>),
        publish: Publish,
        batch: &mut Batch,
        after: &mut Aftermath,
    ) -> Result<(), NotTaken> {
        match kind {
            None => Err(NotTaken::Refused(self.hub.unknown_destination(destination))),
            Some(kind @ DestinationKind::Topic) => {
                self.check_expiry(&publish)?;
                if self.may_keep(destination) {
                    let delivered = self.deliver_durable(destination, publish, None, after);
                    batch.receivers +=
                        delivered.map_err(|refused| NotTaken::Refused(refused.error))?;
                    batch.done += 1;
                    return Ok(());
                }
                // Consecutive messages for the same destination share its turn, and one wake of each subscriber.
                let mut bytes = publish.memory();
                let mut run = vec![publish];
                while let Some(next) = batch.rest.next_if(|next| {
                    bytes += next.memory();
                    next.destination() == Some(destination)
                        && self.hub.room_for(next.account(), bytes, kind).is_ok()
                        && self.check_expiry(next).is_ok()
                }) {
                    run.push(next);
                }
                let messages = run.len();
                match self.hub.deliver_run(Feed::NODE, destination, run) {
                    Ok(delivered) => batch.receivers += delivered,
                    Err(refused) => {
                        batch.give_back(refused.rest);
                        return Err(NotTaken::Refused(refused.error));
                    }
                }
                batch.done += messages;
                Ok(())
            }
            Some(DestinationKind::Queue) => {
                let waiting = self.waiting(destination, publish)?;
                let size = waiting.message.size();
                waiting.queue.check_store(size).map_err(NotTaken::Refused)?;
                self.enqueue(waiting, false, batch, after)
            }
        }
    }

    /// Makes the message that a queue stores for `publish`.
    pub(super) fn waiting(
        &self,
        destination: &Destination,
        publish: Publish,
    ) -> Result<ParkedMessage, NotTaken> {
        let queue = self
            .queue(destination, &|| publish.account().cloned())
            .map_err(|error| NotTaken::Refused(self.hub.refused_name(&error)))?;
        let expires_at = self
            .expires_at(&queue, &publish.headers)
            .map_err(NotTaken::Refused)?;
        Ok(ParkedMessage {
            immediate: publish.is_immediate(),
            message: self.hub.message(expiring(publish, expires_at)),
            queue,
            expires_at,
            replaces: None,
        })
    }

    pub(super) fn enqueue(
        &self,
        mut waiting: ParkedMessage,
        waited: bool,
        batch: &mut Batch,
        after: &mut Aftermath,
    ) -> Result<(), NotTaken> {
        loop {
            let ParkedMessage {
                queue,
                message,
                expires_at,
                immediate,
                replaces,
            } = &waiting;
            let times = (*expires_at, *replaces);
            match queue.push(message, times, waited, self.hub.now(), after) {
                Ok(handed) => {
                    batch.receivers += usize::from(handed);
                    batch.done += 1;
                    return Ok(());
                }
                Err(NotTaken::Removed) => waiting.queue = self.same_queue(queue)?,
                Err(NotTaken::Full) if *immediate => {
                    queue.meter.count(Count::Refused, 1);
                    return Err(NotTaken::Refused(queue.full_error()));
                }
                Err(NotTaken::Full) => {
                    batch.waiting = Some(waiting);
                    return Err(NotTaken::Full);
                }
                Err(refused) => {
                    queue.meter.count(Count::Refused, 1);
                    return Err(refused);
                }
            }
        }
    }

    /// Looks up the current queue with the name of a removed one.
    pub(super) fn same_queue(&self, queue: &Queue) -> Result<Arc<Queue>, NotTaken> {
        let destination = Destination::parse(queue.name().clone())
            .map_err(|_| NotTaken::Refused(self.hub.unknown_destination(queue.name())))?;
        // Its name had a place until now, by whichever client's share.
        self.queue(&destination, &|| None)
            .map_err(|error| NotTaken::Refused(self.hub.refused_name(&error)))
    }

    /// Continues work that waited for room, or parks it again.
    pub(super) fn go_on(&self, job: Box<Job>, after: &mut Aftermath) {
        let Job { work, deadline } = *job;
        match work {
            Work::Batch { mut batch, promise } => {
                let done = batch.done;
                let ran = self.run(&mut batch, after);
                batch.awaited = batch.awaited | after.awaited;
                let awaited = batch.awaited;
                match ran {
                    Ok(()) => self.answer(promise, Ok(Published::new(batch.receivers)), awaited),
                    Err(NotTaken::Refused(error)) => {
                        self.answer(promise, Err(batch.refused(error)), awaited);
                    }
                    Err(NotTaken::Full | NotTaken::Removed) => {
                        let fresh = batch.done > done;
                        let deadline = (!fresh).then_some(deadline);
                        self.park(batch, promise, deadline, after);
                    }
                }
            }
            Work::Commit { commit, promise } => {
                self.go_on_with_commit(commit, promise, deadline, after);
            }
        }
    }

    /// Parks a batch until there is room; each of its messages has its own deadline.
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
            load: Load::one(waiting.message.size()),
            frees: Load::default(),
        };
        let deadline = deadline.unwrap_or_else(|| self.deadline(&queue));
        let work = Work::Batch { batch, promise };
        self.wait_in(&queue, Job { work, deadline }, needs, after);
    }

    /// Parks work until there is room in `queue`, or continues it if there is room by now.
    pub(super) fn wait_in(&self, queue: &Queue, job: Job, needs: Needs, after: &mut Aftermath) {
        if let Err(job) = queue.park(Box::new(job), needs) {
            self.go_on(job, after);
        }
    }

    /// Returns the time when a message with these headers expires in `queue`.
    pub(super) fn expires_at(
        &self,
        queue: &Queue,
        headers: &Headers,
    ) -> Result<Option<Timestamp>, PublishError> {
        let now = self.hub.now();
        Ok(expiry(headers, now)?.or_else(|| queue.expiry_by_default(now)))
    }

    pub(super) fn deadline(&self, queue: &Queue) -> Timestamp {
        match queue.settings.when_full {
            WhenFull::Wait(time) => self.hub.steady() + time,
            WhenFull::DropOldest | WhenFull::DropNewest => self.hub.steady(),
        }
    }

    /// Does the follow-up work, with no lock held; returns the records to wait for before anything is confirmed.
    pub(super) fn finish(&self, mut after: Aftermath) -> Awaited {
        loop {
            if let Some(dead) = after.dead.pop_front() {
                self.bury(&dead, &mut after);
            } else if let Some((job, queue)) = after.overdue.pop_front() {
                queue.meter.count(Count::Refused, 1);
                job.fail(queue.full_error());
            } else if let Some(queue) = after.room.pop_front() {
                while let Some(job) = queue.next_publisher() {
                    self.go_on(job, &mut after);
                }
            } else {
                break;
            }
        }
        for (queue, keys) in after.fetches {
            self.fetch(queue, keys);
        }
        after.awaited
    }

    /// Publishes a message that a queue gave up as a dead letter, if the queue has a destination for dead letters.
    fn bury(&self, dead: &Dead, after: &mut Aftermath) {
        let Dead {
            message,
            reason,
            deliveries,
            queue,
            key,
        } = dead;
        let to = queue.settings.dead_letters.as_ref();
        // A message that dies in the dead-letter queue itself is dropped.
        let to = to.filter(|to| *to != queue.name());
        let to = to.and_then(|to| Destination::parse(to.clone()).ok());
        let mut key = *key;
        let buried = to.map(|to| {
            let letter = message.dead_letter(to.clone(), *reason, *deliveries);
            let mut batch = Batch::new(Vec::new());
            match self.is_durable(&to) {
                // One record: it is never in both queues, nor in none.
                true => {
                    let mut waiting = self.waiting(&to, letter)?;
                    waiting.replaces = key;
                    self.enqueue(waiting, false, &mut batch, after)?;
                    key = None;
                    Ok(())
                }
                false => self.publish_one(letter, &mut batch, after),
            }
        });
        if let Some(key) = key {
            queue.forget(&[key], after);
        }
        match buried {
            Some(Ok(())) => queue.meter.count(Count::DeadLettered, 1),
            None if *reason == DeadLetterReason::Expired => {}
            Some(Err(_)) | None => queue.meter.count(Count::Discarded, 1),
        }
    }
}

/// Lets a message expire at the time that its queue gives it.
pub(super) fn expiring(publish: Publish, at: Option<Timestamp>) -> Publish {
    match at {
        Some(at) => publish.expires_at(at),
        None => publish,
    }
}
