//! Frames that wait for others: for the end of a read, for an answer of the broker, for their COMMIT.

use bytestring::ByteString;
use tramline_broker::{DeliveryRef, Publish, Settle};
use tramline_stomp::ServerEvent;

use super::few::Few;
use super::pending::{Call, Receipts, Settling};
use crate::app::interceptor::Refusal;
use crate::stack::policy::Authorized;

/// The frames that wait for others, or for the end of the read.
#[derive(Default)]
pub(super) struct Order {
    /// SENDs to the broker that arrived in one read, to be published together.
    pub(super) batch: Vec<Authorized<Publish>>,
    /// Receipts owed for the batch.
    pub(super) receipts: Receipts,
    /// ACKs and NACKs that the broker has not confirmed yet, in their order.
    pub(super) settling: Few<Settling>,
    /// A frame that waits for the work before it.
    pub(super) held_back: Option<Box<Seen>>,
    /// Frames that wait for their COMMIT.
    pub(super) transactions: Transactions,
}

/// A frame that the interceptors have seen, and their refusal of it.
pub(super) type Seen = (ServerEvent, Option<Box<Refusal>>);

/// The open transactions of a session. Which ids are open is the protocol machine's to check.
#[derive(Default)]
pub(super) struct Transactions {
    open: Few<(ByteString, Open)>,
}

/// The frames of one transaction so far.
#[derive(Default)]
pub(super) struct Open {
    pub(super) settles: Vec<Settle>,
    pub(super) publishes: Vec<Authorized<Publish>>,
    pub(super) calls: Vec<Call>,
    pub(super) bytes: usize,
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

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Open> {
        let found = self.open.iter_mut().find(|(open, _)| *open == id)?;
        Some(&mut found.1)
    }
}

impl Open {
    pub(super) fn frames(&self) -> usize {
        self.settles.len() + self.publishes.len() + self.calls.len()
    }
}

impl Later {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Settle(settle) => match &settle.delivery {
                DeliveryRef::Tag(_) | DeliveryRef::Only(_) => 0,
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
