//! Frames that wait for others: for the end of a read, for an answer of the broker, for their COMMIT.

use std::time::{Duration, Instant};

use bytestring::ByteString;
use tramline_broker::{DeliveryRef, Hold, PublishError, Settle, SettleError};
use tramline_stomp::ServerEvent;

use super::few::Few;
use super::pending::{Call, Receipts, Settling};
use super::rights::Rights;
use crate::app::interceptor::Refusal;
use crate::net::transport::Lost;
use crate::net::wheel::after;
use crate::stack::clients::{Batch, OwnPublish};
use crate::stack::policy::Authorized;

/// The frames that wait for others, or for the end of the read.
#[derive(Default)]
pub(super) struct Order {
    /// SENDs to the broker that arrived in one read, to be published together.
    pub(super) batch: Batch,
    /// Receipts owed for the batch.
    pub(super) receipts: Receipts,
    /// ACKs and NACKs that the broker has not confirmed yet, in their order.
    pub(super) settling: Few<Settling>,
    /// Frames that wait for the work before them, or for a later turn. Boxed: rare.
    behind: Option<Box<Behind>>,
    /// Frames that wait for their COMMIT.
    pub(super) transactions: Transactions,
}

/// Frames that have arrived and cannot be handled yet, and what else few sessions have.
#[derive(Default)]
struct Behind {
    /// The subscriptions to paced topics whose interval runs, with its length and its end.
    paced: Vec<(u32, Duration, Instant)>,
    /// A frame that waits for the work before it.
    held_back: Option<Seen>,
    /// The error of an ACK or NACK behind SENDs that the broker has not confirmed, and its receipt.
    error: Option<(SettleError, Option<ByteString>)>,
    /// The outcome of the read that brought frames which a turn did not reach: it counts when they are handled.
    rest: Option<Result<(), Lost>>,
    /// Kept here, so that a session without any pays nothing for it.
    rights: Option<Box<Rights>>,
}

impl Order {
    pub(super) fn hold_back(&mut self, seen: Seen) {
        self.behind.get_or_insert_default().held_back = Some(seen);
    }

    pub(super) fn take_held_back(&mut self) -> Option<Seen> {
        let taken = self.behind.as_mut()?.held_back.take();
        self.trim();
        taken
    }

    pub(super) fn hold_back_error(&mut self, error: SettleError, receipt: Option<ByteString>) {
        self.behind.get_or_insert_default().error = Some((error, receipt));
    }

    pub(super) fn has_error(&self) -> bool {
        let behind = self.behind.as_ref();
        behind.is_some_and(|behind| behind.error.is_some())
    }

    pub(super) fn take_error(&mut self) -> Option<(SettleError, Option<ByteString>)> {
        let taken = self.behind.as_mut()?.error.take();
        self.trim();
        taken
    }

    /// Returns true if a frame waits for the work before it, or the error of one.
    pub(super) fn is_held_back(&self) -> bool {
        let behind = self.behind.as_ref();
        behind.is_some_and(|behind| behind.held_back.is_some() || behind.error.is_some())
    }

    /// Notes that a turn did not reach all frames that have arrived.
    #[cold]
    pub(super) fn leave_rest(&mut self) {
        let rest = &mut self.behind.get_or_insert_default().rest;
        rest.get_or_insert(Ok(()));
    }

    /// Returns true while frames are left that a turn did not reach.
    pub(super) fn has_rest(&self) -> bool {
        let behind = self.behind.as_ref();
        behind.is_some_and(|behind| behind.rest.is_some())
    }

    /// Takes the outcome of the read that brought the rest.
    pub(super) fn take_rest(&mut self) -> Option<Result<(), Lost>> {
        let taken = self.behind.as_mut()?.rest.take();
        self.trim();
        taken
    }

    /// Sets the outcome of the read that brought the rest; gives it back if there is none.
    pub(super) fn set_rest(&mut self, read: Result<(), Lost>) -> Option<Result<(), Lost>> {
        let rest = self.behind.as_mut().and_then(|behind| behind.rest.as_mut());
        let Some(rest) = rest else {
            return Some(read);
        };
        if read.is_err() {
            *rest = read;
        }
        None
    }

    pub(super) fn begin_interval(&mut self, slot: u32, interval: Duration, end: Instant) {
        let paced = &mut self.behind.get_or_insert_default().paced;
        paced.push((slot, interval, end));
    }

    /// The time at which the first interval of a subscription to a paced topic is over.
    pub(super) fn interval_end(&self) -> Option<Instant> {
        let paced = &self.behind.as_ref()?.paced;
        paced.iter().map(|(_, _, end)| *end).min()
    }

    /// Passes the subscriptions whose interval is over to `next`, which returns true if it begins another one.
    pub(super) fn end_intervals(&mut self, now: Instant, next: impl Fn(u32) -> bool) {
        let Some(behind) = &mut self.behind else {
            return;
        };
        behind.paced.retain_mut(|(slot, interval, end)| {
            if *end > now {
                return true;
            }
            *end = after(now, *interval);
            next(*slot)
        });
        self.trim();
    }

    /// What bounds the session's rights in time.
    #[inline]
    pub(super) fn rights(&self) -> Option<&Rights> {
        self.behind.as_ref()?.rights.as_deref()
    }

    pub(super) fn rights_mut(&mut self) -> Option<&mut Rights> {
        self.behind.as_mut()?.rights.as_deref_mut()
    }

    pub(super) fn rights_or_new(&mut self) -> &mut Rights {
        let behind = self.behind.get_or_insert_default();
        behind.rights.get_or_insert_default()
    }

    fn trim(&mut self) {
        let unused = |behind: &mut Box<Behind>| {
            behind.held_back.is_none()
                && behind.error.is_none()
                && behind.rest.is_none()
                && behind.paced.is_empty()
                && behind.rights.is_none()
        };
        self.behind.take_if(unused);
    }
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
    pub(super) publishes: Batch,
    pub(super) calls: Vec<Call>,
    pub(super) bytes: usize,
    /// The memory of what is for the broker, and that of the calls.
    pub(super) holds: (Hold, Hold),
    /// The error of a frame that found no room: nothing of the transaction will be done.
    pub(super) refused: Option<PublishError>,
}

/// A frame inside a transaction.
pub(super) enum Later {
    Settle(Settle),
    Publish(Authorized<OwnPublish>),
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
