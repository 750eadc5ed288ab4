//! Instructions to a session, apart from its deliveries; and what its overflow costs.

use std::collections::VecDeque;
use std::time::Duration;

use bytestring::ByteString;

use crate::hub::descriptions::SubscriptionDescription;
use crate::message::Gap;

/// An instruction to a session, apart from its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// End the session.
    End(Ending),
    /// The engine has ended a subscription of the session: the hub no longer has it. Deliveries to it may still be in the
    /// outbox.
    SubscriptionEnded {
        /// The subscription.
        subscription: SubscriptionDescription,
        /// The engine's reason.
        reason: ByteString,
    },
    /// A subscription missed messages, and goes on.
    MessagesMissed {
        /// The session's number for the subscription.
        slot: u32,
        /// The missing messages, if the engine knows.
        gap: Option<Gap>,
    },
    /// A subscription has received messages of a [paced](crate::TopicSettings::at_most_every) topic: more are held until
    /// the session calls [`Outbox::interval_is_over`](crate::Outbox::interval_is_over), after this time.
    IntervalBegins {
        /// The session's number for the subscription.
        slot: u32,
        /// The time.
        interval: Duration,
    },
    /// The rights of the session's user may have changed: what it is subscribed to is to be checked again.
    Recheck,
}

/// The reason why a session must end, passed to its task through the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The session did not take its messages fast enough; its queued messages were dropped.
    Overflow {
        /// Bytes queued at that moment, including the message that did not fit.
        queued: usize,
        /// The outbox's limit in bytes.
        limit: usize,
    },
    /// The server's side ended it.
    Requested {
        /// The WebSocket close code.
        code: u16,
        /// The reason shown to the client.
        reason: ByteString,
    },
}

/// The instructions that a session has not taken: at most three for each subscription, one to check all of them, and its
/// end.
#[derive(Debug, Default)]
pub(super) struct Instructions {
    notices: VecDeque<Control>,
    pub(super) end: Option<Ending>,
}

impl Instructions {
    pub(super) fn ending(end: Ending) -> Self {
        Self {
            notices: VecDeque::new(),
            end: Some(end),
        }
    }

    /// Adds a notice. The gaps of a subscription that were not taken become one.
    pub(super) fn add(&mut self, notice: Control) {
        if notice == Control::Recheck && self.notices.contains(&notice) {
            return;
        }
        if let Control::MessagesMissed { slot, gap } = &notice {
            for known in &mut self.notices {
                if let Control::MessagesMissed { slot: of, gap: all } = known
                    && of == slot
                {
                    *all = all.zip(*gap).and_then(|(all, more)| all.with(more));
                    return;
                }
            }
        }
        self.notices.push_back(notice);
    }

    pub(super) fn take_notice(&mut self) -> Option<Control> {
        self.notices.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.end.is_none()
    }
}

/// Messages and sessions lost to a subscriber's full outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Messages dropped or conflated, by the topic's policy.
    pub messages: u32,
    /// Messages replaced by a later one before their subscription's interval was over.
    pub conflated: u32,
    /// Sessions ended: 1 or 0.
    pub sessions: u32,
}

impl std::ops::AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.conflated += other.conflated;
        self.sessions += other.sessions;
    }
}
