//! The hub's view of sessions and broker, for presence and listeners.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use bytestring::ByteString;
use tramline_broker::{Member, MemberEvent, NodeId, Observer, SessionId, SettleError, StartError};

use super::shared::MessagingStack;
use crate::model::clock::now;
use crate::model::events::Event;
use crate::model::inbound::SessionRecord;
use crate::model::log::{Source, log_client};

/// Passes the hub's events to a stack as long as it exists.
pub(super) struct StackObserver(pub(super) Weak<MessagingStack>);

impl Observer for StackObserver {
    fn wants_members(&self) -> bool {
        self.0
            .upgrade()
            .is_some_and(|stack| !stack.presence.is_empty())
    }

    fn member(&self, node: NodeId, event: &MemberEvent) {
        let Some(stack) = self.0.upgrade() else {
            return;
        };
        let here = node == stack.hub.node();
        match event {
            MemberEvent::Subscribed {
                user: Some(user),
                subscription,
                ..
            } => stack.came(user, &subscription.destination, here),
            MemberEvent::Unsubscribed {
                user: Some(user),
                subscription,
                ..
            } => stack.went(user, &subscription.destination, here),
            _ => {}
        }
    }

    fn ending(&self, session: &Member, _: u16, _: &ByteString) {
        if let Some(record) = session.context::<SessionRecord>() {
            record.expelled.store(true, Ordering::Release);
        }
    }

    fn available(&self, available: bool) {
        if let Some(stack) = self.0.upgrade() {
            stack.tell(|| match available {
                true => Event::BrokerAvailable,
                false => Event::BrokerUnavailable,
            });
        }
    }

    fn settlement_failed(&self, session: SessionId, error: &SettleError) {
        if let Some(stack) = self.0.upgrade() {
            let suppressed = &stack.counters.log_lines_suppressed;
            log_client!(
                WARN if stack.log_budget.admit(Source::default(), now(), suppressed),
                { stack = %stack.name, %session },
                "delivery not settled",
                error
            );
        }
    }

    fn start_failed(&self, error: &StartError) {
        if let Some(stack) = self.0.upgrade() {
            tracing::error!(stack = %stack.name, %error, "broker not started");
            stack.tell(|| Event::BrokerUnavailable);
        }
    }
}
