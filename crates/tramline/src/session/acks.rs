//! What clients acknowledge, and what is acknowledged for them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytestring::ByteString;
use tramline_broker::{Confirm, DeliveryRef, Outcome, Settle, SettleError};
use tramline_stomp::{Acknowledge, DeliveryId};

use super::Session;
use super::transactions::Later;
use super::work::Work;
use crate::stack::dispatch;

/// A broker that confirms later what was settled.
pub(super) struct Settling {
    confirm: Confirm<Result<(), SettleError>>,
    receipt: Option<ByteString>,
}

impl Session {
    pub(super) fn nack(&mut self, nack: Acknowledge) {
        match nack.headers.get("requeue") {
            None | Some("true") => self.acknowledge(nack, Outcome::Released),
            Some("false") => self.acknowledge(nack, Outcome::Rejected),
            Some(value) => {
                let value: String = value.chars().take(32).collect();
                let detail = format!("the header `requeue` is {value:?}; it must be true or false");
                self.refuse("not acknowledged", detail, nack.receipt);
            }
        }
    }

    pub(super) fn acknowledge(&mut self, ack: Acknowledge, outcome: Outcome) {
        let settle = match ack.delivery {
            DeliveryId::Tag { slot, tag } => {
                Settle::new(Some(slot), DeliveryRef::Tag(tag), outcome)
            }
            DeliveryId::Message { slot, message_id } => {
                Settle::new(slot, DeliveryRef::MessageId(message_id), outcome)
            }
        };
        if let Some(id) = ack.transaction {
            return self.send_later(&id, Later::Settle(settle), ack.receipt);
        }
        let confirm = dispatch::settle(&*self.shared.broker, self.record.id(), settle);
        let receipt = ack.receipt;
        match confirm.into_ready() {
            Ok(answer) => self.settled(answer, receipt),
            Err(confirm) => self.settle_later(Settling { confirm, receipt }),
        }
    }

    fn settle_later(&mut self, settling: Settling) {
        match self.work.as_deref_mut() {
            Some(Work::Sends { settling: all, .. }) => all.push(settling),
            _ => {
                let settling = vec![settling];
                self.work = Some(Box::new(Work::Settle { settling }));
            }
        }
    }

    /// Looks for confirmations, in order; gives what still waits.
    pub(super) fn poll_settling(
        &mut self,
        settling: Vec<Settling>,
        context: &mut Context<'_>,
    ) -> Vec<Settling> {
        let mut waiting = settling.into_iter();
        while let Some(mut next) = waiting.next() {
            match Pin::new(&mut next.confirm).poll(context) {
                Poll::Ready(answer) => self.settled(answer, next.receipt),
                Poll::Pending => return std::iter::once(next).chain(waiting).collect(),
            }
        }
        Vec::new()
    }

    fn settled(&mut self, answer: Result<(), SettleError>, receipt: Option<ByteString>) {
        match answer {
            Ok(()) => self.receipt(receipt),
            Err(error) => self.refuse("not acknowledged", error.to_string(), receipt),
        }
    }

    /// Settles what was written to subscriptions of the mode `auto`: those clients say nothing.
    pub(super) fn settle_written(&self, written: &[(u32, u32)]) {
        for (slot, tag) in written {
            let settle = Settle::new(Some(*slot), DeliveryRef::Tag(*tag), Outcome::Accepted);
            // Nobody waits for the answer; a delivery that is not there any more went with its subscription.
            drop(dispatch::settle(
                &*self.shared.broker,
                self.record.id(),
                settle,
            ));
        }
    }
}
