//! From the outbox to the transport.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tramline_broker::{Control, Delivery, Ending, Headers, Message, Outcome, Taken};
use tramline_stomp::AckMode;

use super::StompSession;
use super::end::End;
use crate::app::interceptor::OutgoingDelivery;
use crate::model::clock::wall_clock;
use crate::model::log::log_client;
use crate::model::panics::caught;
use crate::model::reply::Payload;
use crate::net::transport::Transport;
use crate::net::transport::io::Batch;
use crate::net::transport::task::{BATCH_BYTES, BATCH_ITEMS, Link, lend};
use crate::net::wheel::after;

thread_local! {
    /// Lent to the session that writes.
    static DELIVERIES: Cell<Vec<Delivery>> = const { Cell::new(Vec::new()) };
}

/// What became of a batch of deliveries. Those that have to be settled are named by slot and tag.
#[derive(Default)]
struct Encoded {
    /// The number of those that were written.
    sent: usize,
    /// Written to clients that send no ACK; each settles those before it.
    written: Vec<(u32, u32)>,
    /// Not written.
    failed: Vec<(u32, u32, Outcome)>,
}

impl StompSession {
    /// Writes what is queued, until nothing is or the transport is full; the task is woken when that changes.
    pub(super) fn poll_output<T: Transport>(
        &mut self,
        link: &mut Link<T>,
        context: &mut Context<'_>,
    ) {
        if self.state.is_gone() {
            // Its outbox was closed, and dropped the waker that the wheel needs.
            self.member.outbox().poll_overflow(context);
        }
        while self.state.writes() && self.is_ready(link, context) {
            let more = lend(&DELIVERIES, |deliveries| {
                self.write_batch(link, deliveries, context)
            });
            if !more {
                // Asked once more, so that the transport wakes the task if something could not be written.
                if self.state.writes() {
                    self.is_ready(link, context);
                }
                return;
            }
        }
    }

    /// Writes one batch of what is queued; whether there is more.
    fn write_batch<T: Transport>(
        &mut self,
        link: &mut Link<T>,
        deliveries: &mut Vec<Delivery>,
        context: &mut Context<'_>,
    ) -> bool {
        let taken = self
            .member
            .outbox()
            .poll_take(context, deliveries, BATCH_ITEMS, BATCH_BYTES);
        let mut dropped = Vec::new();
        if !self.stack.interceptors.is_empty() {
            dropped = self.intercept_outgoing(deliveries);
            if self.state.is_ending() {
                return false;
            }
        }
        let mut encoded = Encoded::default();
        let written = link.write(context, |transport, batch| {
            let mut filled = false;
            while let Some(frame) = self.stomp.poll_transmit() {
                transport.frame(&frame, batch);
                self.stack.watch.answered(&self.record, &frame);
                filled = true;
            }
            self.encode(transport, deliveries, batch, &mut encoded);
            filled || encoded.sent > 0
        });
        // First, since settling what was written may settle those before it too.
        if !encoded.failed.is_empty() {
            self.settle_failed(&encoded.failed);
        }
        if written.is_ok() {
            if !encoded.written.is_empty() {
                self.settle_written(&encoded.written);
            }
            // Settling one would settle those before it too, which may not have been written.
            if !dropped.is_empty() && !self.state.is_ending() {
                self.settle_written(&dropped);
            }
        }
        if encoded.sent > 0 {
            self.stomp.wrote(self.stack.wheel.now());
            let hub = &self.stack.hub;
            let measures = &self.stack.measures;
            measures.written(deliveries, |destination| hub.kind(destination));
            self.stack.watch.written(&self.record, deliveries);
        }
        let more = match taken {
            Taken::Some {
                more,
                room_wanted,
                conflates,
            } => {
                if room_wanted {
                    self.stack.hub.room_again(self.record.id());
                }
                if conflates {
                    link.keep_short();
                }
                more
            }
            Taken::Control(control) => {
                link.deadline_may_be_nearer();
                self.instructed(control)
            }
            _ => false,
        };
        if let Err(error) = written {
            self.lose(End::Vanished(error.to_string()));
        }
        more
    }

    /// Returns whether everything written before is out.
    #[inline]
    fn is_ready<T: Transport>(&mut self, link: &mut Link<T>, context: &mut Context<'_>) -> bool {
        let ready = link.poll_ready(&self.stack.wheel, context);
        if matches!(ready, Poll::Ready(Ok(()))) {
            return true;
        }
        self.not_ready(ready, context);
        false
    }

    /// Finds out why nothing can be written: the client is gone, or slow.
    #[cold]
    fn not_ready(&mut self, ready: Poll<io::Result<()>>, context: &mut Context<'_>) {
        match ready {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => self.lose(End::Vanished(error.to_string())),
            Poll::Pending => {
                if let Some(ending) = self.member.outbox().poll_overflow(context) {
                    self.take_ending(ending);
                }
            }
        }
    }

    fn encode<T: Transport>(
        &mut self,
        transport: &mut T,
        deliveries: &[Delivery],
        batch: &mut Batch,
        encoded: &mut Encoded,
    ) {
        let version = self.stomp.version();
        let mut sent = 0;
        let mut own_head = Vec::new();
        for Delivery {
            message,
            slot,
            tag,
            redeliveries,
            ..
        } in deliveries
        {
            // A subscription that ended meanwhile gets nothing more.
            let Some(mut head) = self.stomp.message_head(*slot) else {
                continue;
            };
            if let Some(at) = message.expires_at()
                && at <= wall_clock().into()
            {
                self.stack.counters.messages_expired.increment();
                let failed = (*tag > 0).then_some((*slot, *tag, Outcome::Expired));
                encoded.failed.extend(failed);
                continue;
            }
            if *tag > 0 || *redeliveries > 0 {
                own_head.clear();
                self.stomp
                    .tagged_head(*slot, *tag, *redeliveries, &mut own_head);
                head = &own_head;
            }
            if transport.message(head, version, message, batch) {
                sent += 1;
                if *tag > 0 && self.stomp.ack_mode(*slot) == Some(AckMode::Auto) {
                    match encoded.written.last_mut() {
                        // Settling one settles those before it.
                        Some((last, up_to)) if last == slot => *up_to = *tag,
                        _ => encoded.written.push((*slot, *tag)),
                    }
                }
                continue;
            }
            // The message's fault is the message's: no other receiver of this kind could take it, and this one goes on.
            self.stack.counters.messages_not_carried.increment();
            log_client!(
                DEBUG,
                { stack = %self.stack.name, session = %self.record.id(), transport = T::NAME },
                "a message has a body that is not UTF-8, which the transport cannot carry",
                message.destination()
            );
            let failed = (*tag > 0).then_some((*slot, *tag, Outcome::Rejected));
            encoded.failed.extend(failed);
        }
        if sent > 0 {
            self.stack.counters.messages_sent.add(sent);
            encoded.sent = sent;
        }
    }

    /// Shows the interceptors the deliveries that are about to be written. Returns those that they dropped and that have to
    /// be settled. A panic ends the session, so that its deliveries return to their queues.
    #[cold]
    fn intercept_outgoing(&mut self, deliveries: &mut Vec<Delivery>) -> Vec<(u32, u32)> {
        let mut dropped = Vec::new();
        let mut failed = false;
        deliveries.retain_mut(|delivery| {
            let Some(outgoing) = self.intercepted(&delivery.message, delivery.slot, delivery.tag)
            else {
                failed = true;
                return false;
            };
            match outgoing {
                OutgoingDelivery::Same => true,
                OutgoingDelivery::Other(other) => {
                    delivery.message = other;
                    true
                }
                OutgoingDelivery::Nothing => {
                    dropped.extend((delivery.tag > 0).then_some((delivery.slot, delivery.tag)));
                    false
                }
            }
        });
        if failed {
            let detail = "the server failed to look at a message for this session".to_owned();
            self.end_with_error("the server failed", detail, None);
        }
        dropped
    }

    /// `None` where an interceptor panicked.
    fn intercepted(&self, message: &Message, slot: u32, tag: u32) -> Option<OutgoingDelivery> {
        let Some(ack) = self.stomp.ack_mode(slot) else {
            // Its subscription has ended, and it is not written.
            return Some(OutgoingDelivery::Same);
        };
        let interceptors = &self.stack.interceptors;
        let replaced = |payload: Payload| self.replaced(message, payload);
        let seen = caught(|| interceptors.outbound(&self.record, message, replaced));
        let outgoing = seen
            .map_err(|panic| self.interceptor_panicked(&panic))
            .ok()?;
        let cumulative = tag > 0 && ack == AckMode::Client;
        Some(match outgoing {
            // Settling this one would settle those before it, which are the client's to acknowledge.
            OutgoingDelivery::Nothing if cumulative => {
                OutgoingDelivery::Other(Arc::new(replaced(Payload::untyped(Bytes::new()))))
            }
            outgoing => outgoing,
        })
    }

    /// The message that one subscription gets in another's place.
    fn replaced(&self, message: &Message, payload: Payload) -> Message {
        let content = payload.into_message_with(message.headers());
        let (headers, body) = content.unwrap_or_else(|error| {
            log_client!(
                ERROR if self.may_log(),
                { stack = %self.stack.name, session = %self.record.id() },
                "an interceptor's message goes out without headers and body",
                error
            );
            (Headers::new(), Bytes::new())
        });
        message.with_content(headers, body)
    }

    /// Carries out an instruction of the hub; returns whether more may be written.
    #[cold]
    fn instructed(&mut self, control: Control) -> bool {
        match control {
            Control::End(ending) => {
                self.take_ending(ending);
                return false;
            }
            Control::SubscriptionEnded {
                subscription,
                reason,
            } => self.subscription_ended(subscription, &reason),
            Control::MessagesMissed { slot, gap } => self.messages_missed(slot, None, gap),
            Control::IntervalBegins { slot, interval } => {
                let end = after(self.stack.wheel.now(), interval);
                self.order.begin_interval(slot, interval, end);
            }
            Control::Recheck => self.recheck_all(),
            _ => {}
        }
        !self.state.is_ending()
    }

    /// Lets the outbox queue what it held for subscriptions whose interval is over.
    pub(super) fn end_intervals(&mut self, now: Instant) {
        let outbox = self.member.outbox();
        self.order
            .end_intervals(now, |slot| outbox.interval_is_over(slot));
    }

    fn take_ending(&mut self, ending: Ending) {
        match ending {
            Ending::Requested { code, reason } => {
                self.state.drain(End::Requested { code, reason });
            }
            Ending::Overflow { queued, limit } => self.state.end(End::TooSlow(format!(
                "the client reads too slowly: {queued} bytes would wait for it, and {limit} may (`Limits::outbox`)"
            ))),
            _ => {}
        }
    }
}
