//! The order in which a session's frames are handled: see "Order" in ARCHITECTURE.md.

use std::cmp::Ordering;
use std::task::Context;

use bytestring::ByteString;
use tramline_broker::{PublishError, Published, Refused};
use tramline_stomp::ServerEvent;

use super::StompSession;
use super::pending::{About, Receipts, Waiting, Work};
use super::queued::Seen;
use super::refusals::Refusal;
use super::turn;
use crate::net::transport::Lost;
use crate::stack::clients::{Batch, OwnPublish};
use crate::stack::policy::Authorized;

/// How a frame stands to the SENDs before it that are not confirmed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InOrder {
    /// It is a SEND to the broker too, no check decides about it, and it joins their batch.
    Joins,
    /// It is an ACK or NACK outside transactions, which may be what makes room for them.
    Passes,
    /// It comes after them.
    Follows,
}

impl StompSession {
    /// Handles the frames that have arrived, until one has to wait.
    pub(super) fn process(&mut self, context: &mut Context<'_>) {
        while self.may_process() {
            if turn::is_over() {
                self.order.leave_rest();
                return;
            }
            if self.order.batch.len() >= turn::BATCH && self.work.is_none() {
                self.publish_batch();
                continue;
            }
            if self.work.is_none() && self.order.has_error() {
                self.publish_batch();
                if self.work.is_none()
                    && let Some((error, receipt)) = self.order.take_error()
                {
                    self.settled(Err(error), receipt);
                }
                continue;
            }
            let seen = match self.order.take_held_back() {
                Some(seen) => seen,
                None => match self.stomp.poll_event() {
                    Some(event) => self.intercept(event),
                    None => return,
                },
            };
            turn::frame();
            let place = self.place_of(&seen);
            if place != InOrder::Joins && self.work.is_none() {
                self.publish_batch();
            }
            if self.work.is_some() && !self.may_go_on(place) {
                self.order.hold_back(seen);
                return;
            }
            if let Some(work) = self.handle_frame(seen) {
                self.begin(work, context);
            }
        }
    }

    /// Returns whether the next frame may be looked at: there is no work, or only a batch that the broker has not
    /// confirmed.
    fn may_process(&self) -> bool {
        let sends = || matches!(self.work.as_deref(), Some(Work::Sends(_)));
        self.state.handles_frames()
            && !self.record.is_expelled()
            && (self.work.is_none() || (sends() && !self.order.is_held_back()))
    }

    /// Handles the frames that an earlier turn left, and then the outcome of their read.
    #[cold]
    pub(super) fn handle_rest(&mut self, context: &mut Context<'_>) {
        let Some(read) = self.order.take_rest() else {
            return;
        };
        self.process(context);
        self.publish_batch();
        self.count_read(0);
        self.read_ended(read);
    }

    /// Handles the outcome of a read, once the frames that it brought are handled.
    pub(super) fn read_ended(&mut self, read: Result<(), Lost>) {
        match self.order.set_rest(read) {
            None | Some(Ok(())) => {}
            Some(Err(lost @ Lost::Violation { .. })) => self.state.end(lost.into()),
            Some(Err(lost)) => self.lose(lost.into()),
        }
    }

    fn place_of(&self, (event, refusal): &Seen) -> InOrder {
        match event {
            _ if refusal.is_some() => InOrder::Follows,
            ServerEvent::Send(send)
                if send.transaction.is_none()
                    && self.stack.application_path(&send.destination).is_none()
                    && !self.stack.policy.checks_send(&send.destination)
                    && !self.stack.is_renewal(&send.destination) =>
            {
                InOrder::Joins
            }
            ServerEvent::Ack(ack) | ServerEvent::Nack(ack) if ack.transaction.is_none() => {
                InOrder::Passes
            }
            _ => InOrder::Follows,
        }
    }

    /// Returns whether a frame may go on while the broker has not confirmed a batch.
    fn may_go_on(&self, place: InOrder) -> bool {
        match place {
            InOrder::Joins => self.batch_bytes() < BATCHED_WHILE_WAITING,
            InOrder::Passes => true,
            InOrder::Follows => false,
        }
    }

    fn batch_bytes(&self) -> usize {
        self.order.batch.size_hint()
    }

    /// Adds a SEND to the batch.
    pub(super) fn add_to_batch(
        &mut self,
        publish: Authorized<OwnPublish>,
        receipt: Option<ByteString>,
    ) {
        let at = self.order.batch.len();
        let receipt = receipt.map(|receipt| (at, receipt));
        self.order.receipts.extend(receipt);
        self.order.batch.add(self.record.id(), publish);
    }

    /// Publishes the batch, unless there is work before it; receipts are written when the broker confirms it.
    pub(super) fn publish_batch(&mut self) {
        if self.order.batch.is_empty() || self.work.is_some() {
            return;
        }
        let batch = std::mem::take(&mut self.order.batch);
        let receipts = std::mem::take(&mut self.order.receipts);
        match self.stack.hub.publish(&self.member, batch).into_ready() {
            Ok(answer) => {
                if let Ok(published) = &answer {
                    turn::published(published);
                }
                let refused = self.sends_confirmed(answer, receipts);
                self.work = refused.map(Box::new);
            }
            Err(confirm) => {
                let sends = Work::Sends(Waiting::new(confirm, receipts));
                self.work = Some(Box::new(sends));
            }
        }
    }

    pub(super) fn sends_confirmed(
        &mut self,
        answer: Result<Published, Refused>,
        receipts: Receipts,
    ) -> Option<Work> {
        let refused = answer.err();
        let done = refused.as_ref().map_or(usize::MAX, |refused| refused.done);
        let (mut of_refused, mut of_rest) = (None, Receipts::new());
        for (at, receipt) in receipts {
            match at.cmp(&done) {
                Ordering::Less => self.receipt(Some(receipt)),
                Ordering::Equal => of_refused = Some(receipt),
                Ordering::Greater => of_rest.push((at - done - 1, receipt)),
            }
        }
        let refused = refused?;
        let destination = refused.destination.as_deref().unwrap_or_default();
        let about = About::new(destination.into(), None).with_receipt(of_refused);
        let notice = match &refused.error {
            // Of those behind it, it is not known either.
            error @ PublishError::OutcomeUnknown => {
                self.refuse("message not published", error.to_string(), about.receipt);
                None
            }
            error => self.refuse_frame(Refusal::from(error), about),
        };
        if notice.is_none() {
            // The batch that was gathered meanwhile comes after what was refused.
            self.order.batch.clear();
            self.order.receipts.clear();
        }
        let rest = Batch::rest_of(refused);
        Some(Work::RestOfSends(Box::new((notice?, rest, of_rest))))
    }
}

/// Bytes of SENDs that are gathered behind a batch that waits for room in a queue, to get at the ACKs behind them.
const BATCHED_WHILE_WAITING: usize = 64 * 1024;
