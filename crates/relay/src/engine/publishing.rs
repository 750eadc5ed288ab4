//! Batches of messages: sent in order, answered when the broker has confirmed each.

use tokio::time::Instant;
use tramline_broker::{Destination, Promise, Publish, PublishError, Published, Refused, Target};

use super::state::{Answer, Batch, Engine, Expected, Job, Role, remember};
use crate::content;
use crate::kind::BrokerKind;
use crate::link::LinkId;
use crate::names::Spelled;

/// What is to be done with the next message of a batch.
enum Next {
    /// All are confirmed.
    Finished,
    /// Answers are outstanding.
    Await,
    /// It needs a link that is not there.
    Wait,
    /// Its destination is tried first.
    Probe(Spelled),
    Send(LinkId, BrokerKind),
    /// It has no receiver but here, or the link of the nodes is there.
    Nodes,
    Refuse(PublishError),
}

impl Engine {
    pub(super) fn publish(
        &mut self,
        items: Vec<Publish>,
        promise: Promise<Result<Published, Refused>>,
    ) {
        let bytes: usize = items.iter().map(Publish::size_hint).sum();
        if self.stop.is_some() || self.waiting_bytes + bytes > self.options.max_waiting {
            let refused = Refused::first_of(items, PublishError::BrokerUnavailable);
            promise.keep(Err(refused));
            return;
        }
        self.waiting_bytes += bytes;
        let number = self.number();
        let batch = Batch {
            promise,
            items: items.into(),
            done: 0,
            receivers: 0,
            outstanding: 0,
            bytes,
            since: Instant::now(),
            waits: false,
            probes: false,
        };
        self.batches.insert(number, batch);
        self.advance(number);
    }

    /// Sends what can be sent of a batch.
    fn advance(&mut self, number: u64) {
        loop {
            let Some(batch) = self.batches.get(&number) else {
                return;
            };
            if batch.probes {
                return;
            }
            let next = self.next(batch);
            let unanswered = batch.outstanding > 0;
            match next {
                Next::Finished => return self.finish(number, None),
                Next::Await => return,
                Next::Wait => return self.wait(number),
                // What is behind a refused message is not sent, so those before it are awaited first.
                Next::Probe(_) | Next::Refuse(_) if unanswered => return,
                Next::Probe(spelled) => {
                    if let Some(batch) = self.batches.get_mut(&number) {
                        batch.probes = true;
                    }
                    self.probe(Job::Send(number, spelled));
                    return;
                }
                Next::Refuse(error) => return self.finish(number, Some(error)),
                Next::Nodes => self.send_to_nodes(number),
                Next::Send(link, kind) => {
                    self.send_next(number, link, kind, Expected::Sent(number));
                }
            }
        }
    }

    fn next(&self, batch: &Batch) -> Next {
        let Some(publish) = batch.items.front() else {
            return match batch.outstanding {
                0 => Next::Finished,
                _ => Next::Await,
            };
        };
        let Target::Destination(destination) = &publish.target else {
            let waits = self.must_reach_others(&publish.target) && self.nodes_link().is_none();
            return if waits { Next::Wait } else { Next::Nodes };
        };
        if self.options.family(destination).is_none() {
            return Next::Refuse(self.hub.unknown_destination(destination));
        }
        if let Err(error) = content::check(publish) {
            return Next::Refuse(error);
        }
        let (Some(link), Some(kind)) = (self.up(Role::Publish), self.kind) else {
            return Next::Wait;
        };
        if self
            .left_queues
            .values()
            .any(|queue| **queue == **destination)
        {
            return Next::Wait;
        }
        match self.spelled(kind, destination) {
            Err(error) => Next::Refuse(error),
            Ok(spelled) if self.sent_to.contains(&spelled) => Next::Send(link, kind),
            Ok(spelled) => Next::Probe(spelled),
        }
    }

    pub(super) fn spelled(
        &self,
        kind: BrokerKind,
        destination: &Destination,
    ) -> Result<Spelled, PublishError> {
        match self.options.spell(kind, destination) {
            None => Err(self.hub.unknown_destination(destination)),
            Some(Ok((spelled, _))) => Ok(spelled),
            Some(Err(reason)) => Err(PublishError::Refused {
                reason: reason.into(),
            }),
        }
    }

    /// Sends the next message of a batch over `link`; returns false if there is none.
    fn send_next(
        &mut self,
        number: u64,
        link: LinkId,
        kind: BrokerKind,
        expected: Expected,
    ) -> bool {
        let Some(batch) = self.batches.get_mut(&number) else {
            return false;
        };
        let Some(publish) = batch.items.pop_front() else {
            return false;
        };
        batch.outstanding += 1;
        self.send_message(link, kind, publish, expected);
        true
    }

    /// Sends one message with a receipt.
    fn send_message(
        &mut self,
        link: LinkId,
        kind: BrokerKind,
        publish: Publish,
        expected: Expected,
    ) {
        let Target::Destination(destination) = &publish.target else {
            return;
        };
        let Some(Ok((spelled, to))) = self.options.spell(kind, destination) else {
            return;
        };
        let defaults = self.options.send_headers(destination).cloned();
        let message = self.hub.message(publish);
        let now = self.hub.now();
        let headers = content::outgoing(&message, defaults.as_ref(), (kind, to), now);
        let body = message.body().clone();
        self.send(link, expected, |machine, receipt| {
            machine.send(&spelled.0, headers, body, Some(receipt));
        });
    }

    /// Delivers the next message here, if it is for a user or session, and sends it to the other nodes.
    fn send_to_nodes(&mut self, number: u64) {
        let Some(batch) = self.batches.get_mut(&number) else {
            return;
        };
        let Some(publish) = batch.items.pop_front() else {
            return;
        };
        batch.outstanding += 1;
        let sent = self.broadcast(publish, Expected::Sent(number));
        let Some(batch) = self.batches.get_mut(&number) else {
            return;
        };
        let (receivers, sent) = sent;
        batch.receivers += receivers;
        if !sent {
            batch.outstanding -= 1;
            batch.done += 1;
        }
    }

    /// Handles the confirmation of one message.
    pub(super) fn sent(&mut self, number: u64, answer: Answer) {
        let Some(batch) = self.batches.get_mut(&number) else {
            return;
        };
        batch.outstanding -= 1;
        let alone = batch.outstanding == 0;
        match answer {
            Answer::Done => {
                batch.done += 1;
                self.advance(number);
            }
            Answer::Refused(reason) if alone => {
                let reason = reason.into();
                self.fail(number, PublishError::Refused { reason });
            }
            Answer::Refused(_) | Answer::Unknown => {
                self.fail(number, PublishError::OutcomeUnknown);
            }
        }
    }

    /// Answers a batch. With an `error`, that is of the next message, which is not sent.
    fn finish(&mut self, number: u64, error: Option<PublishError>) {
        let Some(batch) = self.take_batch(number) else {
            return;
        };
        let answer = match error {
            None => Ok(Published::new(batch.receivers)),
            Some(error) => {
                let mut refused = Refused::first_of(batch.items.into(), error);
                refused.done = batch.done;
                Err(refused)
            }
        };
        batch.promise.keep(answer);
    }

    /// Answers a batch with the error of a message that was sent.
    fn fail(&mut self, number: u64, error: PublishError) {
        if let Some(batch) = self.take_batch(number) {
            let refused = Refused::new(batch.done, error).with_rest(batch.items);
            batch.promise.keep(Err(refused));
        }
    }

    fn take_batch(&mut self, number: u64) -> Option<Batch> {
        let batch = self.batches.remove(&number)?;
        self.waiting_bytes -= batch.bytes;
        Some(batch)
    }

    /// Lets a batch wait for its link.
    fn wait(&mut self, number: u64) {
        if let Some(batch) = self.batches.get_mut(&number)
            && !batch.waits
        {
            batch.waits = true;
            batch.since = Instant::now();
            self.waiting.push_back(number);
        }
    }

    /// Goes on with the batches that wait for a link.
    pub(super) fn resume_batches(&mut self) {
        for number in std::mem::take(&mut self.waiting) {
            if let Some(batch) = self.batches.get_mut(&number) {
                batch.waits = false;
                self.advance(number);
            }
        }
    }

    /// Refuses the batches that have waited too long.
    pub(super) fn give_up_batches(&mut self, now: Instant) {
        let late = |number: &u64| {
            let batch = self.batches.get(number);
            batch.is_none_or(|batch| self.is_late(batch.since, now))
        };
        let late: Vec<u64> = self.waiting.iter().copied().filter(late).collect();
        self.waiting.retain(|number| !late.contains(number));
        for number in late {
            self.finish(number, Some(PublishError::BrokerUnavailable));
        }
        let is_late = |job: &Job| match job {
            Job::Send(number, _) => {
                let batch = self.batches.get(number);
                batch.is_none_or(|batch| self.is_late(batch.since, now))
            }
            // Its source gives up.
            Job::Subscribe(..) => false,
        };
        let late: Vec<Job> = self
            .jobs
            .iter()
            .filter(|job| is_late(job))
            .cloned()
            .collect();
        self.jobs.retain(|job| !late.contains(job));
        for job in late {
            if let Job::Send(number, _) = job {
                self.finish(number, Some(PublishError::BrokerUnavailable));
            }
        }
    }

    /// Refuses whatever waits: the relay stops.
    pub(super) fn give_up_all(&mut self) {
        let unsent = |batch: &&u64| self.batches[batch].outstanding == 0;
        let numbers: Vec<u64> = self.batches.keys().filter(unsent).copied().collect();
        for number in numbers {
            self.finish(number, Some(PublishError::BrokerUnavailable));
        }
    }

    /// Queues a job for the probe.
    pub(super) fn probe(&mut self, job: Job) {
        self.jobs.push_back(job);
        self.next_job();
    }

    /// Begins the next job, one at a time: so the broker's refusal can only mean that one.
    pub(super) fn next_job(&mut self) {
        while self.probing.is_none() {
            let (Some(link), Some(kind)) = (self.up(Role::Probe), self.kind) else {
                return;
            };
            let Some(job) = self.jobs.pop_front() else {
                return;
            };
            match &job {
                Job::Send(number, spelled) => {
                    if self.sent_to.contains(spelled) {
                        self.probe_ended(*number);
                        continue;
                    }
                    // Set first: the answer may come before `send_next` returns.
                    self.probing = Some(job.clone());
                    if !self.send_next(*number, link, kind, Expected::Probe) {
                        self.probing = None;
                    }
                }
                Job::Subscribe(number, spelled) => {
                    if self.subscribed_to.contains(spelled) {
                        self.subscribe_one(*number);
                    } else if self.try_subscription(*number, link, kind) {
                        self.probing = Some(job);
                    }
                }
            }
        }
    }

    /// Handles the answer to the job of the probe.
    pub(super) fn probed(&mut self, answer: Answer) {
        match (self.probing.take(), answer) {
            (Some(Job::Send(number, spelled)), answer) => {
                if matches!(answer, Answer::Done) {
                    remember(&mut self.sent_to, spelled);
                }
                if let Some(batch) = self.batches.get_mut(&number) {
                    batch.probes = false;
                }
                self.sent(number, answer);
            }
            (Some(Job::Subscribe(number, spelled)), Answer::Done) => {
                remember(&mut self.subscribed_to, spelled);
                self.end_trial();
                self.subscribe_one(number);
            }
            (Some(Job::Subscribe(number, _)), Answer::Refused(reason)) => {
                self.subscribed(number, Answer::Refused(reason));
            }
            // To subscribe again does no harm.
            (Some(job @ Job::Subscribe(..)), Answer::Unknown) => self.jobs.push_front(job),
            (None, _) => {}
        }
        self.next_job();
    }

    /// Goes on with a batch whose destination was found good meanwhile.
    fn probe_ended(&mut self, number: u64) {
        if let Some(batch) = self.batches.get_mut(&number) {
            batch.probes = false;
            self.advance(number);
        }
    }
}
