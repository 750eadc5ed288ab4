//! Queue subscriptions and durable ones: each has a link, whose end gives back what is not settled.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;
use tramline_broker::{
    Consumer, Headers, Outcome, Promise, SettleError, SubscribeError, Subscribed, Token,
    UnsubscribeError,
};
use tramline_stomp::{AckMode, Message};

use super::state::{Answer, ConsumerState, End, Engine, Expected, Held, Role};
use crate::content;
use crate::kind::{BrokerKind, durable_name};
use crate::link::LinkId;

impl Engine {
    pub(super) fn consume(
        &mut self,
        number: u64,
        consumer: Arc<Consumer>,
        promise: Promise<Result<Subscribed, SubscribeError>>,
    ) {
        if self.stop.is_some() {
            promise.keep(Err(SubscribeError::BrokerUnavailable));
            return;
        }
        let state = ConsumerState {
            consumer,
            asked: Some(promise),
            since: Instant::now(),
            id: None,
            last_token: 0,
            unsettled: HashMap::new(),
            beyond: VecDeque::new(),
        };
        self.consumers.insert(number, state);
        self.open_slot(Role::Consumer(number));
    }

    /// Subscribes over the consumer's link, which is new.
    pub(super) fn begin_consuming(&mut self, link: LinkId, number: u64) {
        let (Some(kind), Some(state)) = (self.kind, self.consumers.get(&number)) else {
            return;
        };
        let consumer = &state.consumer;
        let queue = consumer.pattern().as_str();
        if state.id.is_some() || self.left_queues.values().any(|left| **left == *queue) {
            return;
        }
        let family = self.options.family(consumer.pattern().as_str());
        let spelled = match family.map(|family| family.pattern(kind, consumer.pattern())) {
            Some(Ok(spelled)) => spelled,
            Some(Err(reason)) => return self.refuse_consumer(number, reason),
            None => return self.refuse_consumer(number, "it is below no prefix".to_owned()),
        };
        if consumer.options().selector.is_some() && kind == BrokerKind::RabbitMq {
            let option = "selector";
            return self.end_asked(number, SubscribeError::Unsupported { option });
        }
        let headers = self.consumer_headers(consumer, kind);
        let id = self.send(link, Expected::Consumer(number), |machine, receipt| {
            machine.subscribe(
                &spelled.0,
                AckMode::ClientIndividual,
                headers,
                Some(receipt),
            )
        });
        if let Some(state) = self.consumers.get_mut(&number) {
            state.id = id;
        }
    }

    /// Goes on with the consumers that waited for another one of their queue to leave.
    pub(super) fn resume_consumers(&mut self) {
        let waits = |state: &ConsumerState| state.asked.is_some() && state.id.is_none();
        let waiting = self.consumers.iter().filter(|(_, state)| waits(state));
        let waiting: Vec<u64> = waiting.map(|(number, _)| *number).collect();
        for number in waiting {
            if let Some(link) = self.up(Role::Consumer(number)) {
                self.begin_consuming(link, number);
            }
        }
    }

    fn consumer_headers(&self, consumer: &Consumer, kind: BrokerKind) -> Headers {
        let durable = consumer.durable().map(durable_name);
        let mut headers = kind.consumer_headers(consumer.credit().get(), durable.as_deref());
        let own = self.options.subscribe_headers(consumer.pattern());
        for (name, value) in own.iter().flat_map(|own| own.iter()) {
            headers.replace(name, value);
        }
        if let Some(selector) = &consumer.options().selector {
            headers.push("selector", selector.clone());
        }
        headers
    }

    /// Handles the answer to a consumer's subscription.
    pub(super) fn consuming(&mut self, number: u64, answer: Answer) {
        match answer {
            Answer::Done => {
                let state = self.consumers.get_mut(&number);
                if let Some(asked) = state.and_then(|state| state.asked.take()) {
                    asked.keep(Ok(Subscribed::default()));
                }
            }
            Answer::Refused(reason) => self.refuse_consumer(number, reason),
            // It is asked for again over the next link.
            Answer::Unknown => {}
        }
    }

    /// Refuses a new consumer whose link the broker does not take: a durable subscription may be in use elsewhere.
    pub(super) fn not_let_in(&mut self, number: u64, reason: &str) {
        let state = self.consumers.get(&number);
        if state.is_some_and(|state| state.asked.is_some()) {
            self.refuse_consumer(number, reason.to_owned());
        }
    }

    fn refuse_consumer(&mut self, number: u64, reason: String) {
        let reason = reason.into();
        self.end_asked(number, SubscribeError::Refused { reason });
    }

    /// Ends a consumer that the broker does not take.
    fn end_asked(&mut self, number: u64, error: SubscribeError) {
        let Some(state) = self.consumers.remove(&number) else {
            return;
        };
        let slot = self.slots.remove(&Role::Consumer(number));
        if let Some(link) = slot.and_then(|slot| slot.link) {
            self.leave(link, Expected::Bye);
        }
        match state.asked {
            Some(asked) => asked.keep(Err(error)),
            None => {
                self.hub.end_consumer(&state.consumer, error.to_string());
            }
        }
    }

    /// Refuses the consumers that have waited too long for the broker.
    pub(super) fn give_up_consumers(&mut self, now: Instant) {
        let late = |state: &ConsumerState| state.asked.is_some() && self.is_late(state.since, now);
        let late: Vec<u64> = self
            .consumers
            .iter()
            .filter(|(_, state)| late(state))
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            self.end_asked(number, SubscribeError::BrokerUnavailable);
        }
    }

    pub(super) fn cancel(
        &mut self,
        number: u64,
        end: End,
        promise: Promise<Result<(), UnsubscribeError>>,
    ) {
        let state = self.consumers.remove(&number);
        for held in state.iter().flat_map(ConsumerState::delivered) {
            self.released.note(held);
        }
        let slot = self.slots.remove(&Role::Consumer(number));
        let Some(link) = slot.and_then(|slot| slot.link) else {
            promise.keep(Ok(()));
            return;
        };
        if let Some(ConsumerState {
            id: Some(id),
            consumer,
            ..
        }) = state
        {
            let queue = consumer.pattern().as_str().into();
            self.left_queues.insert(link, queue);
            let durable = consumer.durable().filter(|_| end == End::Subscription);
            if let (Some(durable), Some(kind)) = (durable, self.kind) {
                for headers in kind.end_headers(&durable_name(durable)) {
                    self.send_plain(link, |machine| machine.unsubscribe_with(&id, headers, None));
                }
                return self.leave(link, Expected::Cancel(promise));
            }
            // It stops the deliveries; the end of the link gives back what is not settled.
            self.send_plain(link, |machine| machine.unsubscribe(&id, None));
        }
        self.leave(link, Expected::Cancel(promise));
    }

    /// Drops a consumer's deliveries: their link is gone, and the broker has them again.
    pub(super) fn void(&mut self, number: u64) {
        if let Some(state) = self.consumers.get_mut(&number) {
            for held in state.delivered() {
                self.released.note(held);
            }
            state.id = None;
            state.unsettled.clear();
            state.beyond.clear();
            let consumer = Arc::clone(&state.consumer);
            consumer.void();
        }
    }

    /// Delivers a message to a consumer.
    pub(super) fn offer(&mut self, number: u64, message: &Message) {
        let (Some(kind), Some(state)) = (self.kind, self.consumers.get_mut(&number)) else {
            return;
        };
        let family = self.options.family(state.consumer.pattern().as_str());
        let Some(destination) = family.and_then(|family| family.read(kind, &message.destination))
        else {
            tracing::warn!(
                destination = &*message.destination,
                "a queue's message came from a destination that has no name here"
            );
            return;
        };
        let shared = self
            .hub
            .message(content::incoming(message, destination, true));
        let redeliveries = match (self.released.count(shared.id()), message.redelivered()) {
            // Another subscription to the same topic may have released it.
            (Some(_), false) if state.consumer.durable().is_some() => 0,
            (noted, marked) => noted.unwrap_or(marked.into()),
        };
        let held = Held {
            delivery: message.delivery(),
            message: shared,
            redeliveries,
        };
        state.hold(held);
    }

    pub(super) fn settle(
        &mut self,
        number: u64,
        tokens: &[Token],
        outcome: Outcome,
        promise: Promise<Result<(), SettleError>>,
    ) {
        let link = self.up(Role::Consumer(number));
        let (Some(link), Some(kind), Some(state)) =
            (link, self.kind, self.consumers.get_mut(&number))
        else {
            promise.keep(Err(SettleError::Gone));
            return;
        };
        let Some(held) = state.take(tokens) else {
            promise.keep(Err(SettleError::Gone));
            return;
        };
        if outcome == Outcome::Released && !kind.nack_releases() {
            for held in held {
                state.again(held);
            }
            promise.keep(Ok(()));
            return;
        }
        let settle = self.number();
        self.settles.insert(settle, promise);
        let last = held.len() - 1;
        for (at, held) in held.iter().enumerate() {
            if outcome == Outcome::Released {
                self.released.note(held);
            }
            let settled = match at == last {
                true => self.send(
                    link,
                    Expected::Settle(settle),
                    |machine, receipt| match outcome {
                        Outcome::Accepted => {
                            machine.ack(&held.delivery, Headers::new(), Some(receipt))
                        }
                        _ => {
                            machine.nack(&held.delivery, kind.nack_headers(outcome), Some(receipt))
                        }
                    },
                ),
                false => self.send_plain(link, |machine| match outcome {
                    Outcome::Accepted => machine.ack(&held.delivery, Headers::new(), None),
                    _ => machine.nack(&held.delivery, kind.nack_headers(outcome), None),
                }),
            };
            if let Some(Err(error)) = settled {
                // A broker that sends no `ack` with a message breaks the protocol.
                self.lost(link, &error.to_string(), None);
                return;
            }
        }
        if let Some(state) = self.consumers.get_mut(&number) {
            state.fill();
        }
    }

    /// Handles the confirmation of a settlement.
    pub(super) fn settled(&mut self, settle: u64, answer: &Answer) {
        let Some(promise) = self.settles.remove(&settle) else {
            return;
        };
        match answer {
            Answer::Done => promise.keep(Ok(())),
            Answer::Refused(_) | Answer::Unknown => promise.keep(Err(SettleError::OutcomeUnknown)),
        }
    }
}

impl ConsumerState {
    /// Delivers a message under a token of its own, or keeps it while the consumer has no credit for it.
    fn hold(&mut self, held: Held) {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.unsettled.insert(token, held);
        self.beyond.push_back(token);
        self.fill();
    }

    /// Delivers a message again, as one that was delivered before.
    pub(super) fn again(&mut self, mut held: Held) {
        held.redeliveries += 1;
        self.hold(held);
    }

    /// Returns what the subscription has received and not settled.
    fn delivered(&self) -> impl Iterator<Item = &Held> {
        // Tokens only grow, and are delivered in their order.
        let next = self.beyond.front();
        let received = move |token: &Token| next.is_none_or(|next| token < next);
        let all = self.unsettled.iter();
        all.filter_map(move |(token, held)| received(token).then_some(held))
    }

    /// Delivers what waits for credit.
    pub(super) fn fill(&mut self) {
        while let Some(token) = self.beyond.front() {
            let Some(held) = self.unsettled.get(token) else {
                self.beyond.pop_front();
                continue;
            };
            let message = Arc::clone(&held.message);
            if !self.consumer.deliver(*token, message, held.redeliveries) {
                return;
            }
            self.beyond.pop_front();
        }
    }

    /// Takes all of these deliveries, or none if one is gone.
    pub(super) fn take(&mut self, tokens: &[Token]) -> Option<Vec<Held>> {
        if tokens.is_empty()
            || !tokens
                .iter()
                .all(|token| self.unsettled.contains_key(token))
        {
            return None;
        }
        tokens
            .iter()
            .map(|token| self.unsettled.remove(token))
            .collect()
    }
}
