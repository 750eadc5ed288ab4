//! The end of a session: its listeners, and the handlers that run after it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytestring::ByteString;

use super::StompSession;
use super::end::End;
use super::pending::{About, Work};
use super::state::{Disconnecting, Phase};
use super::turn;
use crate::model::disconnected::{DisconnectCause, Disconnected};
use crate::model::events::Event;
use crate::model::inbound::{Cause, Inbound};
use crate::model::log::log_client;
use crate::model::panics::caught;
use crate::net::wheel::earliest;

impl StompSession {
    /// Nothing is delivered to the session any more, and broker, registry and presence have it no more.
    pub(super) fn leave(&mut self) {
        self.stack.hub.close(self.record.id());
        self.member.outbox().close();
    }

    /// Goes on with what the client sent before it left; ready when that is done, or given up.
    pub(super) fn poll_left_behind(&mut self, context: &mut Context<'_>) -> Poll<Arc<End>> {
        self.end_what_is_late();
        loop {
            let mut progress = self.poll_running(context);
            if self.order.has_rest() {
                if turn::is_over() {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                self.handle_rest(context);
                progress = true;
            }
            let idle = self.is_idle();
            if (idle || !self.state.is_gone())
                && let Some(end) = self.state.take_end(idle, self.member.outbox())
            {
                return Poll::Ready(end);
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }

    /// Ends a session that is not logged in in time, and gives up what a client that left had sent before. Running
    /// handlers have a time of their own.
    pub(super) fn end_what_is_late(&mut self) {
        let now = self.stack.wheel.now();
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_over(self.login.deadline()) {
            let running = matches!(self.work.as_deref(), Some(Work::Login(_) | Work::Check(_)));
            self.state.end(if running {
                End::SlowLogin
            } else {
                End::NoConnect
            });
        }
        if !is_over(self.state.left_behind_until()) {
            return;
        }
        self.state.give_up_left_behind();
        let is_handler = |work: &Work| matches!(work, Work::Handler(..));
        self.work.take_if(|work| !is_handler(work));
        self.concurrent.retain_mut(|work| is_handler(work));
        drop(self.order.take_rest());
        self.stack.counters.handler_timeouts.increment();
        log_client!(
            WARN if self.may_log(),
            {
                stack = %self.stack.name,
                session = %self.record.id(),
                limit = ?self.stack.limits.handler_time
            },
            "what its client had sent before it left was given up"
        );
    }

    /// The time at which login or running work is late.
    #[inline]
    pub(super) fn work_deadline(&self) -> Option<Instant> {
        let works = self.work.is_some() || !self.concurrent.is_empty();
        if works || !self.state.is_open() || !self.login.is_done() {
            return self.earliest_of_work();
        }
        None
    }

    /// Out of line: most sessions have no work when they are asked.
    #[cold]
    fn earliest_of_work(&self) -> Option<Instant> {
        let login = self.login.deadline();
        let concurrent = self.concurrent.iter().filter_map(Work::deadline).min();
        let work = self.work.as_deref().and_then(Work::deadline);
        earliest([login, concurrent, work, self.state.left_behind_until()])
    }

    /// Tells everyone who needs to know, once: broker, counters, log, listeners.
    pub(super) fn ended(&mut self, end: &End, transport: &'static str) {
        self.publish_batch();
        self.work = None;
        self.concurrent.clear();
        self.leave();
        end.count(&self.stack.counters);
        end.log(&self.stack, &self.record, transport);
        if let Some(what) = end.trouble() {
            self.stack.watch.trouble(&self.record, what, end, None);
        }
        let connected = self.login.is_connected();
        let why = Arc::new(end.disconnected());
        self.disconnected(&why);
        // For a session that was never connected, no disconnect handler is called.
        let handlers = connected.then_some(Disconnecting { why, called: 0 });
        self.state = Phase::Ended(handlers);
    }

    /// Leaves the registry and tells listeners.
    fn disconnected(&self, why: &Disconnected) {
        if self.login.is_announced() {
            self.tell(|session| Event::Disconnected {
                session,
                reason: why.clone(),
            });
        }
    }

    /// Calls the disconnect handlers, one after the other, and then what an application does at the session's end.
    pub(super) fn poll_disconnect_handlers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(mut work) = self.work.take()
                && self.poll_to_end(&mut work, context).is_pending()
            {
                self.work = Some(work);
                return Poll::Pending;
            }
            let stack = Arc::clone(&self.stack);
            let Phase::Ended(Some(handlers)) = &mut self.state else {
                break;
            };
            let next = stack.routes.disconnect.get(handlers.called as usize);
            let Some(handler) = next else { break };
            handlers.called += 1;
            let cause = Cause::Disconnect(Arc::clone(&handlers.why));
            let inbound = Inbound::new(Arc::clone(&self.record), cause, ByteString::new());
            let about = About::of(ByteString::from_static("(disconnect)"), &inbound.headers);
            self.work = self.start(handler, inbound, about).map(Box::new);
        }
        self.end_attributes();
        Poll::Ready(())
    }

    fn end_attributes(&self) {
        for callback in self.record.attributes.end() {
            if let Err(panic) = caught(callback) {
                self.stack.counters.handler_panics.increment();
                log_client!(
                    ERROR if self.may_log(),
                    { stack = %self.stack.name, session = %self.record.id() },
                    "what an application does at a session's end panicked",
                    panic
                );
            }
        }
    }
}

impl Drop for StompSession {
    fn drop(&mut self) {
        self.leave();
        if !matches!(self.state, Phase::Ended(_)) {
            // The task did not run to its end.
            self.disconnected(&Disconnected {
                cause: DisconnectCause::Server,
                code: 1001,
                reason: ByteString::from_static("the server's runtime went away"),
            });
        }
        self.end_attributes();
        self.stack.session_gone(&self.record);
    }
}
