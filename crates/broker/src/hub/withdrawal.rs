//! Subscriptions that an engine ends, and messages that they missed.

use std::sync::Arc;

use bytestring::ByteString;

use super::local::LocalHub;
use super::members::{Member, SubscriptionPlace};
use super::outbox::Control;
use crate::broker::Broker;
use crate::feed::{Feed, Source};
use crate::hub::consumer::Consumer;
use crate::message::Gap;

/// The close code of sessions whose messages the engine no longer delivers: "try again later".
const TRY_AGAIN_LATER: u16 = 1013;

impl LocalHub {
    /// Ends a source that is active by `feed`: after its link was restored, an engine is refused what it had. Its
    /// subscriptions end, and each of their sessions is told `reason`; later subscriptions ask the engine anew. The end of
    /// a [`Source::User`] or [`Source::Session`] ends the sessions that were open with it, with code 1013 and `reason`.
    ///
    /// The engine is not asked to deactivate the source. Returns false if it is not active by `feed`, perhaps because its
    /// last subscription has just ended.
    pub fn end_source(
        self: &Arc<Self>,
        source: &Source,
        feed: Feed,
        reason: impl Into<ByteString>,
    ) -> bool {
        let (Some(users), Some(broker)) =
            (self.sources.end(self, source, feed), self.broker.upgrade())
        else {
            return false;
        };
        let reason = reason.into();
        for (session, slot) in users {
            let Some(member) = self.members.get(session) else {
                continue;
            };
            match source {
                Source::Pattern(_) => {
                    let of_topic =
                        |place: &SubscriptionPlace| matches!(place, SubscriptionPlace::Topic(..));
                    self.end_subscription(&*broker, &member, slot, of_topic, &reason);
                }
                Source::User(_) | Source::Session(_) => {
                    if !self.end(&*broker, &member, TRY_AGAIN_LATER, reason.clone()) {
                        // It is not open yet.
                        self.close(&*broker, &member);
                    }
                }
            }
        }
        true
    }

    /// Tells the subscriptions of a source that is active by `feed` that they missed messages, and go on: a link was lost
    /// for a while, or the server's history does not reach back far enough. `gap` are the missing ones, if the engine
    /// knows.
    pub fn missed(&self, source: &Source, feed: Feed, gap: Option<Gap>) {
        for (session, slot) in self.sources.users(source, feed) {
            let Some(member) = self.members.get(session) else {
                continue;
            };
            let miss = |slot| {
                let missed = Control::MessagesMissed { slot, gap };
                member.outbox().instruct(missed);
            };
            match source {
                Source::Pattern(_) => miss(slot),
                Source::User(_) | Source::Session(_) => {
                    let places = member.places().into_iter();
                    let own =
                        places.filter(|(_, place)| matches!(place, SubscriptionPlace::User(..)));
                    own.for_each(|(slot, _)| miss(slot));
                }
            }
        }
    }

    /// Ends a consumer: after its link was restored, an engine is refused what it had. Its unsettled deliveries belong to
    /// the engine again; those that are not yet written are withdrawn. The session is told `reason`.
    ///
    /// The engine is not asked to cancel the consumer. Returns false if the consumer has ended, so that it was.
    pub fn end_consumer(
        self: &Arc<Self>,
        consumer: &Arc<Consumer>,
        reason: impl Into<ByteString>,
    ) -> bool {
        let (Some(member), Some(broker)) =
            (self.members.get(consumer.session()), self.broker.upgrade())
        else {
            return false;
        };
        let is = |place: &SubscriptionPlace| matches!(place, SubscriptionPlace::Consumer(other) if Arc::ptr_eq(other, consumer));
        let slot = consumer.slot();
        self.end_subscription(&*broker, &member, slot, is, &reason.into())
    }

    fn end_subscription(
        &self,
        broker: &dyn Broker,
        member: &Member,
        slot: u32,
        is: impl Fn(&SubscriptionPlace) -> bool,
        reason: &ByteString,
    ) -> bool {
        let Some((place, subscription)) = member.take(slot, is, self.events()) else {
            return false;
        };
        if let SubscriptionPlace::Consumer(consumer) = &place {
            consumer.ended_by_engine();
        }
        let to_cancel = self.detach(broker, member, (slot, place));
        debug_assert!(to_cancel.is_none(), "the engine has ended it");
        member.outbox().instruct(Control::SubscriptionEnded {
            subscription,
            reason: reason.clone(),
        });
        self.report();
        true
    }
}
