//! Replies to temporary queues: a SEND may name one of its session in `reply-to`, with or without a subscription to it.

use bytestring::ByteString;
use tramline_stomp::{Send as SendFrame, Subscribe};

use super::StompSession;
use super::pending::{About, Subscribing};
use super::refusals::Refusal;
use crate::model::temporary;
use crate::stack::intents::SubscribeIntent;
use crate::stack::policy::Answer;

impl StompSession {
    /// Replaces a temporary queue in `reply-to` by a name that others can send to, and subscribes the client to the queue if
    /// it is not: RabbitMQ's way.
    pub(super) fn name_replies(&mut self, send: &mut SendFrame) -> Result<(), Refusal> {
        let reply_to = send.headers.get_bytestring("reply-to");
        let reply_to = reply_to.filter(|to| self.stack.is_temporary(to)).cloned();
        let Some(queue) = reply_to else {
            return Ok(());
        };
        let is_there = |_: &str, destination: &str| *destination == *queue;
        let needs_one = !self.state.is_gone() && self.member.subscriptions(is_there).is_empty();
        if needs_one && let Err(reason) = self.receive_replies(&queue) {
            let detail = format!("no reply could be received at {queue:?}: {reason}");
            return Err(Refusal::of_send("message not published", detail));
        }
        let name = temporary::reply_name(self.record.id(), &queue);
        send.headers.replace("reply-to", name);
        Ok(())
    }

    fn receive_replies(&mut self, queue: &ByteString) -> Result<(), String> {
        let Some(subscribe) = self.stomp.add_subscription(queue.clone()) else {
            return Err(
                "the session has as many subscriptions as it may, or one with that id".into(),
            );
        };
        let subscribed = self.subscribe_to_replies(&subscribe);
        if subscribed.is_err() {
            self.stomp.drop_subscription(subscribe.slot);
        }
        subscribed
    }

    fn subscribe_to_replies(&mut self, subscribe: &Subscribe) -> Result<(), String> {
        let intent = SubscribeIntent::new(&self.stack, &self.record, subscribe)?;
        let request = match self.stack.policy.authorize(intent) {
            Answer::Now(Ok(permitted)) => permitted.transpose()?,
            Answer::Now(Err(_)) => return Err("the policy denies subscriptions to it".into()),
            Answer::Later(_) => {
                return Err(
                    "a check decides about subscriptions to it; SUBSCRIBE to it first".into(),
                );
            }
        };
        match self.stack.hub.subscribe(request).into_ready() {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the broker has not confirmed it".into()),
        }
        self.subscribed(&Subscribing {
            slot: subscribe.slot,
            id: subscribe.id.clone(),
            about: About::of(subscribe.destination.clone(), &subscribe.headers),
        });
        Ok(())
    }

    /// Ends the subscription that a `reply-to` made, if the client now subscribes to that queue itself.
    pub(super) fn replace_replies(&mut self, destination: &str) {
        if !self.stack.is_temporary(destination) {
            return;
        }
        let is_own = |id: &str, to: &str| id == destination && to == destination;
        for made in self.member.subscriptions(is_own) {
            self.stomp.drop_subscription(made.slot);
            // It is a path of this session, so the broker has no part in it.
            drop(self.stack.hub.unsubscribe(self.record.id(), made.slot));
        }
    }
}
