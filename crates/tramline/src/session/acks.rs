//! ACK and NACK, and the acknowledgements for clients that send none.

use std::task::{Context, Poll};

use bytestring::ByteString;
use tramline_broker::{DeliveryRef, Outcome, Settle, SettleError};
use tramline_stomp::{Acknowledge, DeliveryId};

use super::StompSession;
use super::pending::{About, Waiting, Work};
use super::queued::Later;
use crate::model::values::flag;

impl StompSession {
    pub(super) fn nack(&mut self, nack: Acknowledge) -> Option<Work> {
        match flag(&nack.headers, "requeue") {
            Ok(None | Some(true)) => self.acknowledge(nack, Outcome::Released),
            Ok(Some(false)) => self.acknowledge(nack, Outcome::Rejected),
            Err(detail) => {
                self.refuse("not acknowledged", detail, nack.receipt);
                None
            }
        }
    }

    pub(super) fn acknowledge(&mut self, ack: Acknowledge, outcome: Outcome) -> Option<Work> {
        let settle = match ack.delivery {
            DeliveryId::Tag { slot, tag } => {
                Settle::new(Some(slot), DeliveryRef::Tag(tag), outcome)
            }
            DeliveryId::Message { slot, message_id } => {
                Settle::new(slot, DeliveryRef::MessageId(message_id), outcome)
            }
        };
        if let Some(id) = ack.transaction {
            let about = About::new(ByteString::new(), None).with_receipt(ack.receipt);
            return self.add_to_transaction(&id, Later::Settle(settle), about);
        }
        let confirm = self.stack.hub.settle(self.record.id(), settle);
        let receipt = ack.receipt;
        match confirm.into_ready() {
            // A broker in this process lets SENDs wait for room alone, which may take long: then the ERROR does not wait.
            Ok(Err(error)) if self.work.is_some() && self.stack.hub.answers_late() => {
                // The ERROR comes after the answers to the SENDs in front.
                self.order.hold_back_error(error, receipt);
                None
            }
            Ok(answer) => {
                self.settled(answer, receipt);
                None
            }
            Err(confirm) => {
                self.order.settling.push(Waiting::new(confirm, receipt));
                // SENDs that are waited for are followed by what was settled meanwhile.
                self.work.is_none().then_some(Work::Settle)
            }
        }
    }

    /// Ready when the broker has confirmed all ACKs and NACKs; their receipts are written in order.
    pub(super) fn poll_settling(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut settling = std::mem::take(&mut self.order.settling);
        let mut confirmed = 0;
        for next in settling.iter_mut() {
            let Poll::Ready((answer, receipt)) = next.poll(context) else {
                break;
            };
            self.settled(answer, receipt);
            confirmed += 1;
        }
        settling.remove_first(confirmed);
        let all = settling.is_empty();
        self.order.settling = settling;
        if all { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn settled(&mut self, answer: Result<(), SettleError>, receipt: Option<ByteString>) {
        match answer {
            Ok(()) => self.receipt(receipt),
            Err(error) => self.refuse("not acknowledged", error.to_string(), receipt),
        }
    }

    /// Settles what was not written: each alone, whatever the client has acknowledged.
    #[cold]
    pub(super) fn settle_failed(&self, failed: &[(u32, u32, Outcome)]) {
        for (slot, tag, outcome) in failed {
            let settle = Settle::new(Some(*slot), DeliveryRef::Only(*tag), *outcome);
            self.stack.hub.settle_unawaited(self.record.id(), settle);
        }
    }

    /// Settles what was written to subscriptions of the mode `auto`, whose clients send no ACK.
    pub(super) fn settle_written(&self, written: &[(u32, u32)]) {
        for (slot, tag) in written {
            let settle = Settle::new(Some(*slot), DeliveryRef::Tag(*tag), Outcome::Accepted);
            self.stack.hub.settle_unawaited(self.record.id(), settle);
        }
    }
}
