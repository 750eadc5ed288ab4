//! The hub's half of a queue subscription.

use std::any::Any;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock, Weak};

use bytestring::ByteString;

use super::unsettled::{Identified, Unsettled};
use crate::AckMode;
use crate::destination::Pattern;
use crate::feed::Token;
use crate::hub::outbox::{Control, Outbox};
use crate::message::{Gap, Message};
use crate::request::{DeliveryRef, DurableName, SubscribeOptions};
use crate::session_id::SessionId;
use crate::sync::Mutex;

/// A session's subscription to a queue, or a durable subscription: an engine delivers to it, and receives its
/// settlements.
///
/// The engine numbers its deliveries with its own [`Token`]s and has at most [`credit`](Self::credit) of them
/// unsettled. An engine in the same process [offers](Self::offer) messages, and keeps refused ones for other consumers;
/// a remote one has sent them already and [delivers](Self::deliver) them.
pub struct Consumer {
    session: SessionId,
    slot: u32,
    pattern: Pattern,
    durable: Option<DurableName>,
    ack: AckMode,
    credit: NonZeroU32,
    options: SubscribeOptions,
    outbox: Arc<Outbox>,
    state: Mutex<Deliveries>,
    record: OnceLock<Box<dyn Any + Send + Sync>>,
}

#[derive(Debug)]
struct Deliveries {
    unsettled: Unsettled<ConsumerDelivery>,
    /// Delivered by a remote engine, and not in the outbox for lack of room; at most the credit.
    waiting: VecDeque<WaitingDelivery>,
    /// The unsettled deliveries in a commit that the engine has not answered.
    committing: HashSet<Token>,
    /// True after the call that asked the engine to deliver has returned, or the engine has ended the consumer.
    asked: bool,
    ended: bool,
}

/// A delivery that the session has.
#[derive(Debug)]
struct ConsumerDelivery {
    token: Token,
    message: Kept,
}

/// A message. One that the engine offered is held weakly, so that settling it frees its memory.
#[derive(Debug)]
enum Kept {
    ByEngine(Weak<Message>),
    Here(Arc<Message>),
}

impl Identified for ConsumerDelivery {
    fn id(&self) -> Option<ByteString> {
        match &self.message {
            Kept::ByEngine(message) => Some(message.upgrade()?.id().clone()),
            Kept::Here(message) => Some(message.id().clone()),
        }
    }
}

#[derive(Debug)]
struct WaitingDelivery {
    token: Token,
    message: Arc<Message>,
    redeliveries: u32,
}

impl Consumer {
    pub(crate) fn new(
        (session, slot): (SessionId, u32),
        (pattern, durable): (Pattern, Option<DurableName>),
        ack: AckMode,
        credit: NonZeroU32,
        options: SubscribeOptions,
        outbox: Arc<Outbox>,
    ) -> Self {
        Self {
            session,
            slot,
            pattern,
            durable,
            ack,
            credit,
            options,
            outbox,
            state: Mutex::new(Deliveries {
                unsettled: Unsettled::new(ack),
                waiting: VecDeque::new(),
                committing: HashSet::new(),
                asked: false,
                ended: false,
            }),
            record: OnceLock::new(),
        }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The session's number for the subscription.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The queue, or the pattern of a durable subscription.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// How the client acknowledges. The engine receives individual settlements in any mode.
    pub fn ack(&self) -> AckMode {
        self.ack
    }

    /// The maximum number of unsettled deliveries.
    pub fn credit(&self) -> NonZeroU32 {
        self.credit
    }

    /// The name of a durable subscription.
    pub fn durable(&self) -> Option<&DurableName> {
        self.durable.as_ref()
    }

    /// The options of the subscription; the name of a durable one is [`durable`](Self::durable).
    pub fn options(&self) -> &SubscribeOptions {
        &self.options
    }

    /// Queues a message toward the session; it was, or may have been, delivered `redeliveries` times before. Returns
    /// false if its outbox has no room, or it is about to end; [`Broker::room_again`](crate::Broker::room_again)
    /// reports room. The engine keeps the message either way, until it is settled.
    pub fn offer(&self, token: Token, message: &Arc<Message>, redeliveries: u32) -> bool {
        let mut state = self.state.lock();
        let place = (&*self.outbox, self.slot);
        let entry = || ConsumerDelivery {
            token,
            message: Kept::ByEngine(Arc::downgrade(message)),
        };
        !state.ended
            && state.waiting.is_empty()
            && state.unsettled.offer(message, redeliveries, place, entry)
    }

    /// Takes a message that the engine has sent already; it waits here while the outbox has no room. Returns false if
    /// the consumer has ended, or has as many unsettled deliveries as its credit allows: such a message still belongs
    /// to the engine. Deliveries that a [commit](crate::Broker::commit) settles stop counting when the engine is asked
    /// for it.
    pub fn deliver(&self, token: Token, message: Arc<Message>, redeliveries: u32) -> bool {
        let mut state = self.state.lock();
        let unsettled = state.unsettled.len() + state.waiting.len();
        let allowed = self.credit.get() as usize + state.committing.len();
        if state.ended || unsettled >= allowed {
            return false;
        }
        state.waiting.push_back(WaitingDelivery {
            token,
            message,
            redeliveries,
        });
        self.refill(&mut state);
        true
    }

    /// Drops all deliveries: their link is lost, and the engine has them again. Those that are not yet written are
    /// withdrawn; settling the others answers [`SettleError::UnknownDelivery`](crate::SettleError::UnknownDelivery).
    pub fn void(&self) {
        let mut state = self.state.lock();
        state.clear();
        self.outbox.withdraw(self.slot);
    }

    /// Tells the session that the subscription missed messages, and goes on: a durable subscription whose history was
    /// lost. `gap` are the missing ones, if the engine knows.
    pub fn missed(&self, gap: Option<Gap>) {
        let slot = self.slot;
        self.outbox.instruct(Control::MessagesMissed { slot, gap });
    }

    /// Stores a record of the engine's own with the consumer. Called once, by
    /// [`Broker::consume`](crate::Broker::consume); returns false if there is a record already.
    pub fn set_record<T: Any + Send + Sync>(&self, record: T) -> bool {
        self.record.set(Box::new(record)).is_ok()
    }

    /// The engine's record.
    pub fn record<T: Any>(&self) -> Option<&T> {
        self.record.get()?.downcast_ref()
    }

    /// Removes what `delivery` settles and passes the tokens to `settle`, in order; `None` if there is no such
    /// delivery.
    pub(super) fn settle<R>(
        &self,
        delivery: &DeliveryRef,
        settle: impl FnOnce(&[Token]) -> R,
    ) -> Option<R> {
        let mut settled = {
            let mut state = self.state.lock();
            let settled = state.unsettled.settle(delivery)?;
            if !state.committing.is_empty() {
                let left = state.unsettled.entries().map(|entry| entry.token);
                let committing = left.filter(|token| state.committing.contains(token));
                state.committing = committing.collect();
            }
            self.refill(&mut state);
            settled
        };
        // Usually one.
        let first = settled.next()?;
        let Some(second) = settled.next() else {
            return Some(settle(&[first.token]));
        };
        let all = [first, second].into_iter().chain(settled);
        let tokens: Vec<Token> = all.map(|entry| entry.token).collect();
        Some(settle(&tokens))
    }

    /// Returns the tokens that settling `deliveries` one after the other would settle, in order, each with the index of
    /// its delivery; or the first delivery that would not exist.
    pub(super) fn would_settle<'a>(
        &self,
        deliveries: &'a [DeliveryRef],
    ) -> Result<Vec<(usize, Token)>, &'a DeliveryRef> {
        let mut state = self.state.lock();
        let settled = state.unsettled.would_settle(deliveries)?;
        let mut tokens = Vec::with_capacity(deliveries.len());
        tokens.extend(settled.map(|(at, entry)| (at, entry.token)));
        Ok(tokens)
    }

    /// Notes that the engine is asked to commit the settlement of `tokens`: after the commit, and before the hub has
    /// the answer, the engine may send as many other messages. Tokens that are no longer unsettled do not count.
    pub(super) fn commit_begins(&self, tokens: &[Token]) {
        let asked: HashSet<&Token> = tokens.iter().collect();
        let mut state = self.state.lock();
        let Deliveries {
            unsettled,
            committing,
            ..
        } = &mut *state;
        let left = unsettled.entries().map(|entry| entry.token);
        committing.extend(left.filter(|token| asked.contains(token)));
    }

    /// Notes that a commit failed and did nothing.
    pub(super) fn commit_failed(&self, tokens: &[Token]) {
        self.state.lock().commit_answered(tokens);
    }

    /// Removes what the engine has committed.
    pub(super) fn committed(&self, tokens: &[Token]) {
        let settled: HashSet<&Token> = tokens.iter().collect();
        let mut state = self.state.lock();
        state
            .unsettled
            .remove_if(|entry| settled.contains(&entry.token));
        state.commit_answered(tokens);
        self.refill(&mut state);
    }

    /// Delivers waiting messages, as far as the outbox has room again.
    pub(super) fn room_again(&self) {
        self.refill(&mut self.state.lock());
    }

    /// Notes that the engine was asked to deliver; returns true if the subscription ended meanwhile and must be
    /// cancelled now.
    pub(super) fn asked(&self) -> bool {
        let mut state = self.state.lock();
        let by_engine = std::mem::replace(&mut state.asked, true);
        state.ended && !by_engine
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ended
    }

    /// Takes no more deliveries; returns true if the engine must be asked to cancel.
    pub(super) fn end(&self) -> bool {
        let mut state = self.state.lock();
        let first = !std::mem::replace(&mut state.ended, true);
        state.clear();
        first && state.asked
    }

    /// Takes no more deliveries, at the engine's wish: it is not asked to cancel. Those that are not written are
    /// withdrawn.
    pub(super) fn ended_by_engine(&self) {
        let mut state = self.state.lock();
        (state.ended, state.asked) = (true, true);
        state.clear();
        self.outbox.withdraw(self.slot);
    }

    fn refill(&self, state: &mut Deliveries) {
        let place = (&*self.outbox, self.slot);
        while let Some(next) = state.waiting.front() {
            let entry = || ConsumerDelivery {
                token: next.token,
                message: Kept::Here(Arc::clone(&next.message)),
            };
            let offered = state
                .unsettled
                .offer(&next.message, next.redeliveries, place, entry);
            if !offered {
                return;
            }
            state.waiting.pop_front();
        }
    }
}

impl Deliveries {
    fn clear(&mut self) {
        self.unsettled.clear();
        self.waiting = VecDeque::new();
        self.committing = HashSet::new();
    }

    fn commit_answered(&mut self, tokens: &[Token]) {
        for token in tokens {
            self.committing.remove(token);
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("session", &self.session)
            .field("slot", &self.slot)
            .field("pattern", &self.pattern)
            .field("credit", &self.credit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Destination, Headers, Overflow, Publish};

    #[test]
    fn a_commit_of_deliveries_that_were_just_voided_gives_no_credit() {
        let consumer = Consumer::new(
            (SessionId::random(), 0),
            (Pattern::parse("/queue/a").unwrap(), None),
            AckMode::ClientIndividual,
            NonZeroU32::MIN,
            SubscribeOptions::default(),
            Arc::new(Outbox::new(1 << 20, Overflow::Close)),
        );
        let deliver = |token| {
            let destination = Destination::parse("/queue/a").unwrap();
            let publish = Publish::new(destination, Headers::new(), "x");
            let message = Arc::new(Message::new(publish, "id".into(), None));
            consumer.deliver(Token(token), message, 0)
        };
        assert!(deliver(1));
        let checked = consumer.would_settle(&[DeliveryRef::Tag(1)]).unwrap();
        assert_eq!(checked, [(0, Token(1))]);
        consumer.void();
        consumer.commit_begins(&[Token(1)]);
        assert!(deliver(2));
        assert!(!deliver(3), "the credit is used");
    }
}
