//! Open transactions, whose frames are kept until COMMIT.

use bytestring::ByteString;
use tramline_broker::{CommitError, DeliveryRef};
use tramline_stomp::Transaction;

use super::StompSession;
use super::pending::{About, Calls, Waiting, Work};
use super::queued::{Later, Open};
use super::refusals::Refusal;

impl StompSession {
    /// Keeps a frame for COMMIT; its receipt says that it is accepted. Without room for it, nothing of the transaction
    /// is kept.
    pub(super) fn add_to_transaction(
        &mut self,
        id: &str,
        later: Later,
        about: About,
    ) -> Option<Work> {
        let (frames, bytes) = {
            let limits = &self.stack.limits;
            (limits.transaction_frames, limits.transaction_bytes)
        };
        let session = self.record.id();
        let open = self.order.transactions.get_mut(id)?;
        if let Some(error) = &open.refused {
            let refusal = Refusal::in_transaction(error);
            return self.refuse_frame(refusal, about);
        }
        let size = later.size();
        open.bytes += size;
        if open.frames() == frames {
            let detail = format!(
                "the transaction has {frames} frames, as many as it may (`Limits::transaction_frames`); commit earlier"
            );
            self.refuse("transaction too large", detail, about.receipt);
            return None;
        }
        if open.bytes > bytes {
            let detail = format!(
                "the messages of the transaction are larger than {bytes} bytes (`Limits::transaction_bytes`); commit earlier"
            );
            self.refuse("transaction too large", detail, about.receipt);
            return None;
        }
        let hold = match &later {
            Later::Settle(_) | Later::Publish(_) => &mut open.holds.0,
            Later::Call(_) => &mut open.holds.1,
        };
        if let Err(error) = self.stack.hub.hold(&self.member, size, hold) {
            let refusal = Refusal::in_transaction(&error);
            *open = Open {
                refused: Some(error),
                ..Open::default()
            };
            return self.refuse_frame(refusal, about);
        }
        match later {
            Later::Settle(mut settle) => {
                if let DeliveryRef::MessageId(id) = &mut settle.delivery {
                    // A slice of its frame, as above.
                    *id = ByteString::from(&**id);
                }
                open.settles.push(settle);
            }
            Later::Publish(publish) => open.publishes.add(session, publish),
            Later::Call(call) => open.calls.push(call),
        }
        self.receipt(about.receipt);
        None
    }

    /// Hands the broker its part of the transaction as one, and the handlers theirs, in order, when that is done.
    pub(super) fn commit(&mut self, commit: Transaction) -> Option<Work> {
        let open = self.order.transactions.end(&commit.id)?;
        if let Some(error) = open.refused {
            return self.not_committed(&error.into(), commit.receipt);
        }
        let (hold, hold_of_calls) = open.holds;
        // From here on, the hub counts the messages.
        drop(hold);
        let calls = Calls {
            calls: open.calls.into_iter(),
            receipt: commit.receipt,
            _hold: hold_of_calls,
        };
        if open.settles.is_empty() && open.publishes.is_empty() {
            return self.call_next(calls);
        }
        let hub = &self.stack.hub;
        let confirm = hub.commit(self.record.id(), open.settles, open.publishes);
        Some(Work::Commit(Waiting::new(confirm, calls)))
    }

    /// Answers a COMMIT of which nothing was done.
    pub(super) fn not_committed(
        &mut self,
        error: &CommitError,
        receipt: Option<ByteString>,
    ) -> Option<Work> {
        let message = "transaction not committed";
        match error {
            CommitError::Publish(error) if error.is_overload() => {
                let about = About::new(ByteString::new(), None).with_receipt(receipt);
                self.refuse_frame(Refusal::of_commit(error), about)
            }
            error => {
                self.refuse(message, error.to_string(), receipt);
                None
            }
        }
    }

    /// The next handler of a committed transaction; after the last, the receipt of its COMMIT.
    pub(super) fn call_next(&mut self, mut calls: Calls) -> Option<Work> {
        let Some(call) = calls.calls.next() else {
            self.receipt(calls.receipt);
            return None;
        };
        let inbound = call.inbound.get();
        let mut about = About::of(inbound.destination.clone(), &inbound.headers);
        about.then = Some(Box::new(calls));
        Some(Work::Call(Some((call, about))))
    }
}
