//! Open transactions, whose frames are kept until COMMIT.

use bytestring::ByteString;
use tramline_broker::{DeliveryRef, Publish, Settle};
use tramline_stomp::Transaction;

use super::Session;
use super::few::Few;
use super::handlers::{About, Call};
use super::work::{Waiting, Work};
use crate::stack::policy::Authorized;

/// The open transactions of a session. Which ids are open is the protocol machine's to check.
#[derive(Default)]
pub(super) struct Transactions {
    open: Few<(ByteString, Open)>,
}

/// The frames of one transaction so far.
#[derive(Default)]
pub(super) struct Open {
    settles: Vec<Settle>,
    publishes: Vec<Authorized<Publish>>,
    calls: Vec<Call>,
    bytes: usize,
}

/// A frame inside a transaction.
pub(super) enum Later {
    Settle(Settle),
    Publish(Authorized<Publish>),
    Call(Call),
}

impl Transactions {
    pub(super) fn begin(&mut self, id: &str) {
        // A copy: the text is a slice of its frame, which must not be kept alive.
        self.open.push((ByteString::from(id), Open::default()));
    }

    /// Removes a transaction, and gives its frames.
    pub(super) fn end(&mut self, id: &str) -> Option<Open> {
        let at = self.open.iter().position(|(open, _)| *open == id)?;
        let (_, ended) = self.open.swap_remove(at)?;
        self.open.trim();
        Some(ended)
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut Open> {
        let found = self.open.iter_mut().find(|(open, _)| *open == id)?;
        Some(&mut found.1)
    }
}

impl Open {
    fn frames(&self) -> usize {
        self.settles.len() + self.publishes.len() + self.calls.len()
    }
}

impl Session {
    /// Keeps a frame for COMMIT; its receipt says that it is accepted.
    pub(super) fn add_to_transaction(
        &mut self,
        id: &str,
        later: Later,
        receipt: Option<ByteString>,
    ) {
        let (frames, bytes) = {
            let limits = &self.shared.limits;
            (limits.transaction_frames, limits.transaction_bytes)
        };
        let Some(open) = self.order.transactions.get_mut(id) else {
            return;
        };
        open.bytes += later.size();
        if open.frames() == frames {
            let detail = format!(
                "the transaction has {frames} frames, as many as it may (`Limits::transaction_frames`); commit earlier"
            );
            return self.refuse("transaction too large", detail, receipt);
        }
        if open.bytes > bytes {
            let detail = format!(
                "the messages of the transaction are larger than {bytes} bytes (`Limits::transaction_bytes`); commit earlier"
            );
            return self.refuse("transaction too large", detail, receipt);
        }
        match later {
            Later::Settle(mut settle) => {
                if let DeliveryRef::MessageId(id) = &mut settle.delivery {
                    // A slice of its frame, as above.
                    *id = ByteString::from(&**id);
                }
                open.settles.push(settle);
            }
            Later::Publish(publish) => open.publishes.push(publish),
            Later::Call(call) => open.calls.push(call),
        }
        self.receipt(receipt);
    }

    /// Hands the broker its part of the transaction as one, and the handlers theirs, in order, when that is done.
    pub(super) fn commit(&mut self, commit: Transaction) -> Option<Work> {
        let open = self.order.transactions.end(&commit.id)?;
        let calls = Calls {
            calls: open.calls.into_iter(),
            receipt: commit.receipt,
        };
        if open.settles.is_empty() && open.publishes.is_empty() {
            return self.call_next(calls);
        }
        let hub = &self.shared.hub;
        let confirm = hub.commit(self.record.id(), open.settles, open.publishes);
        Some(Work::Commit(Waiting::new(confirm, calls)))
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

/// The handlers of a committed transaction that were not called yet.
pub(super) struct Calls {
    calls: std::vec::IntoIter<Call>,
    pub(super) receipt: Option<ByteString>,
}

impl Later {
    fn size(&self) -> usize {
        match self {
            Self::Settle(settle) => match &settle.delivery {
                DeliveryRef::Tag(_) => 0,
                DeliveryRef::MessageId(id) => id.len(),
            },
            Self::Publish(publish) => publish.get().size_hint(),
            Self::Call(call) => {
                let inbound = call.inbound.get();
                inbound.body.len() + inbound.headers.encoded_len_hint()
            }
        }
    }
}
