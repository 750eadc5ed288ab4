//! Transactions: each has a link for itself, or that of the consumer whose deliveries it settles.

use tramline_broker::{
    Commit, CommitError, Headers, Outcome, Promise, PublishError, Published, SettleError, Target,
};
use tramline_stomp::{ClientConnection, Delivery, NotAcknowledgeable};

use super::state::{Answer, CommitState, Engine, Expected, Role};
use crate::content;
use crate::kind::BrokerKind;
use crate::link::LinkId;

/// The most links that wait for the next transaction.
const IDLE: usize = 4;

impl Engine {
    pub(super) fn commit(
        &mut self,
        consumer: Option<u64>,
        commit: Commit,
        promise: Promise<Result<Published, CommitError>>,
    ) {
        if self.stop.is_some() {
            promise.keep(Err(PublishError::BrokerUnavailable.into()));
            return;
        }
        if let Err(error) = self.check_commit(&commit) {
            promise.keep(Err(error));
            return;
        }
        let has_work = |target: &Target| matches!(target, Target::Destination(_));
        let needs_link = consumer.is_some()
            || commit
                .publishes
                .iter()
                .any(|publish| has_work(&publish.target));
        let number = self.number();
        let state = CommitState {
            consumer,
            commit,
            promise,
            outstanding: 0,
        };
        self.commits.insert(number, state);
        match consumer {
            Some(consumer) => match self.up(Role::Consumer(consumer)) {
                Some(link) => self.begin_transaction(link, number),
                None => self.end_commit(number, Err(SettleError::Gone.into())),
            },
            None if !needs_link => self.complete(number),
            None => match self.idle.pop() {
                Some(link) => {
                    if let Some(idle) = self.links.get_mut(&link) {
                        idle.role = Role::Transaction(number);
                    }
                    self.begin_transaction(link, number);
                }
                None => {
                    self.open(Role::Transaction(number));
                }
            },
        }
    }

    /// Checks what the broker is not to find out in the middle.
    fn check_commit(&self, commit: &Commit) -> Result<(), CommitError> {
        for publish in &commit.publishes {
            if let Target::Destination(destination) = &publish.target
                && self.options.family(destination).is_none()
            {
                return Err(self.hub.unknown_destination(destination).into());
            }
            content::check(publish)?;
            if self.must_reach_others(&publish.target) && self.nodes_link().is_none() {
                return Err(PublishError::BrokerUnavailable.into());
            }
        }
        let rejects = |outcome| matches!(outcome, Outcome::Rejected | Outcome::Expired);
        let mut settlements = commit.settlements.iter();
        if self.kind == Some(BrokerKind::ActiveMq)
            && settlements.any(|settlement| rejects(settlement.outcome))
        {
            let reason = "ActiveMQ takes no NACK in a transaction; send it outside".into();
            return Err(PublishError::Refused { reason }.into());
        }
        Ok(())
    }

    /// Sends a whole transaction over a link.
    pub(super) fn begin_transaction(&mut self, link: LinkId, number: u64) {
        match self.send_transaction(link, number) {
            Ok(outstanding) => {
                if let Some(state) = self.commits.get_mut(&number) {
                    state.outstanding = outstanding;
                }
            }
            Err(error) => {
                self.end_commit(number, Err(error));
                self.let_go(link);
            }
        }
    }

    fn send_transaction(&mut self, link: LinkId, number: u64) -> Result<usize, CommitError> {
        let unavailable = || CommitError::from(PublishError::BrokerUnavailable);
        let kind = self.kind.ok_or_else(unavailable)?;
        let state = self.commits.get(&number).ok_or_else(unavailable)?;
        let mut sends = Vec::new();
        for publish in &state.commit.publishes {
            let Target::Destination(destination) = &publish.target else {
                continue;
            };
            let spelled = self.spelled(kind, destination)?;
            let to = self.options.family(destination).map(|family| family.kind);
            let to = to.ok_or_else(unavailable)?;
            let message = self.hub.message(publish.clone());
            let defaults = self.options.send_headers(destination);
            let headers = content::outgoing(&message, defaults, (kind, to), self.hub.now());
            sends.push((spelled, headers, message));
        }
        let settles = self.transaction_settles(number, kind)?;
        let begun = self.send_plain(link, |machine| machine.begin(None));
        let transaction = begun.ok_or_else(unavailable)?;
        for (delivery, outcome) in settles {
            let settled = self.send_plain(link, |machine| {
                settle_in(machine, kind, &transaction, &delivery, outcome)
            });
            if let Some(Err(error)) = settled {
                let reason = error.to_string().into();
                return Err(PublishError::Refused { reason }.into());
            }
        }
        let mut outstanding = 1;
        for (spelled, headers, message) in sends {
            let body = message.body().clone();
            self.send(link, Expected::Commit(number), |machine, receipt| {
                machine.send_in(&transaction, &spelled.0, headers, body, Some(receipt));
            });
            outstanding += 1;
        }
        self.send(link, Expected::Commit(number), |machine, receipt| {
            machine.commit(&transaction, Some(receipt));
        });
        Ok(outstanding)
    }

    /// The deliveries that a transaction settles at the broker.
    fn transaction_settles(
        &self,
        number: u64,
        kind: BrokerKind,
    ) -> Result<Vec<(Delivery, Outcome)>, CommitError> {
        let gone = || CommitError::from(SettleError::Gone);
        let state = self.commits.get(&number).ok_or_else(gone)?;
        let Some(consumer) = state.consumer else {
            return Ok(Vec::new());
        };
        let consumer = self.consumers.get(&consumer).ok_or_else(gone)?;
        let mut settles = Vec::new();
        for settlement in &state.commit.settlements {
            for token in settlement.tokens.iter() {
                let held = consumer.unsettled.get(token).ok_or_else(gone)?;
                let here = settlement.outcome == Outcome::Released && !kind.nack_releases();
                if !here {
                    settles.push((held.delivery.clone(), settlement.outcome));
                }
            }
        }
        Ok(settles)
    }

    /// Handles one of a transaction's confirmations.
    pub(super) fn committed(&mut self, link: LinkId, number: u64, answer: Answer) {
        let Some(state) = self.commits.get_mut(&number) else {
            return;
        };
        match answer {
            Answer::Done => {
                state.outstanding -= 1;
                if state.outstanding == 0 {
                    self.complete(number);
                    self.let_go(link);
                }
            }
            // The broker closes a transaction that it refuses a part of.
            Answer::Refused(reason) => {
                let reason = reason.into();
                self.end_commit(number, Err(PublishError::Refused { reason }.into()));
            }
            // More than one is outstanding, and RabbitMQ does not say which it refuses.
            Answer::Unknown => self.end_commit(number, Err(PublishError::OutcomeUnknown.into())),
        }
    }

    /// Does what follows the broker's confirmation.
    fn complete(&mut self, number: u64) {
        let Some(state) = self.commits.remove(&number) else {
            return;
        };
        let CommitState {
            consumer,
            commit,
            promise,
            ..
        } = state;
        if let Some(consumer) = consumer.and_then(|number| self.consumers.get_mut(&number)) {
            for settlement in &commit.settlements {
                let held = consumer.take(&settlement.tokens).unwrap_or_default();
                let again = settlement.outcome == Outcome::Released
                    && self.kind.is_some_and(|kind| !kind.nack_releases());
                for held in held {
                    match (again, settlement.outcome) {
                        (true, _) => consumer.again(held),
                        (false, Outcome::Released) => self.released.note(&held),
                        (false, _) => {}
                    }
                }
            }
            consumer.fill();
        }
        let mut receivers = 0;
        for publish in commit.publishes {
            if !matches!(publish.target, Target::Destination(_)) {
                let (here, _) = self.broadcast(publish, Expected::Bye);
                receivers += here;
            }
        }
        promise.keep(Ok(Published::new(receivers)));
    }

    fn end_commit(&mut self, number: u64, answer: Result<Published, CommitError>) {
        if let Some(state) = self.commits.remove(&number) {
            state.promise.keep(answer);
        }
    }

    /// Keeps a transaction's link for the next one, or closes it.
    fn let_go(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !matches!(link.role, Role::Transaction(_)) {
            return;
        }
        link.role = Role::Idle;
        match self.idle.len() < IDLE {
            true => self.idle.push(id),
            false => self.leave(id, Expected::Bye),
        }
    }

    /// Answers a transaction whose link ended before everything was sent.
    pub(super) fn transaction_failed(
        &mut self,
        number: u64,
        connected: bool,
        (reason, refused): (&str, bool),
    ) {
        let error = match (connected, refused) {
            (true, _) => PublishError::OutcomeUnknown,
            (false, true) => PublishError::Refused {
                reason: reason.into(),
            },
            (false, false) => PublishError::BrokerUnavailable,
        };
        self.end_commit(number, Err(error.into()));
    }
}

fn settle_in(
    machine: &mut ClientConnection,
    kind: BrokerKind,
    transaction: &str,
    delivery: &Delivery,
    outcome: Outcome,
) -> Result<(), NotAcknowledgeable> {
    match outcome {
        Outcome::Accepted => machine.ack_in(transaction, delivery, Headers::new(), None),
        _ => machine.nack_in(transaction, delivery, kind.nack_headers(outcome), None),
    }
}
