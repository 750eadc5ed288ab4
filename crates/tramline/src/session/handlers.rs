//! Handlers of messages: their calls, their effects, and the notices of what was rejected.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytestring::ByteString;
use tramline_broker::{Destination, Message, Publish, Refused, Target};

use super::StompSession;
use super::pending::{About, Call, Waiting, Work};
use crate::app::router::Ready;
use crate::model::effects::Effects;
use crate::model::inbound::{Cause, Inbound};
use crate::model::log::{Escaped, log_client};
use crate::model::panics::{Caught, Panic, caught};
use crate::model::rejection::{RejectedMessage, Rejection, RejectionKind};
use crate::model::reply::Payload;
use crate::net::wheel::after;

impl StompSession {
    /// Calls the handler for a message, once it may run.
    pub(super) fn poll_call(
        &mut self,
        waiting: &mut Option<(Call, About)>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Work>> {
        let Some((call, mut about)) = waiting.take() else {
            return Poll::Ready(None);
        };
        if self.record.is_expelled() {
            return Poll::Ready(None);
        }
        let stack = Arc::clone(&self.stack);
        let inbound = call.inbound.get();
        debug_assert!(
            Arc::ptr_eq(&inbound.session, &self.record),
            "a permission of another session"
        );
        let path = &inbound.destination[call.path_from..];
        let found = match inbound.cause {
            Cause::Subscribe => stack.routes.subscribe(path),
            _ => stack.routes.message(path),
        };
        let Some((handler, captures)) = found else {
            about.on_rejection.clone_from(&stack.routes.on_rejection);
            let error = "no handler takes messages for this destination";
            let rejection = Rejection::new(RejectionKind::NoRoute, error);
            return Poll::Ready(self.apply(Effects::rejected(rejection), about));
        };
        let cancel = handler.run.cancel_on_disconnect;
        about.cancel_on_disconnect = cancel.unwrap_or(about.slot.is_some());
        if about.cancel_on_disconnect && self.state.is_gone() {
            return Poll::Ready(self.handled(about));
        }
        // Handlers of a transaction run one after the other.
        let limit = handler.run.concurrent.filter(|_| about.then.is_none());
        if limit.is_some_and(|limit| self.concurrent.len() >= limit.get()) {
            *waiting = Some((call, about));
            return Poll::Pending;
        }
        let mut inbound = call.inbound.into_inner();
        inbound.captures = captures;
        let started = self.start(handler, inbound, about);
        if limit.is_none() {
            return Poll::Ready(started);
        }
        if let Some(mut work) = started
            && self.poll_to_end(&mut work, context).is_pending()
        {
            self.concurrent.push(work);
        }
        Poll::Ready(None)
    }

    /// Starts a handler.
    pub(super) fn start(
        &mut self,
        handler: &Ready,
        inbound: Inbound,
        mut about: About,
    ) -> Option<Work> {
        about.on_rejection.clone_from(&handler.on_rejection);
        // Handlers and state are the application's, down to their `Clone`.
        match caught(|| handler.call(inbound, &self.stack.measures)) {
            Ok(future) => {
                let limit = handler.run.time_limit;
                let limit = limit.unwrap_or(self.stack.limits.handler_time);
                let deadline = after(self.stack.wheel.now(), limit);
                let running = Waiting::new(Caught(future), about);
                Some(Work::Handler(running, deadline))
            }
            Err(panic) => self.apply(self.panicked(&about, &panic), about),
        }
    }

    /// Does what a handler wants done; its client's receipt comes after that.
    pub(super) fn apply(&mut self, effects: Effects, about: About) -> Option<Work> {
        let Effects {
            publishes: mut batch,
            direct,
            mut rejections,
            ..
        } = effects;
        if let Some(answer) = direct {
            rejections.extend(self.answer(answer, &about).err());
        }
        self.keep_carried(&mut batch, &mut rejections, &about);
        for rejection in rejections {
            batch.extend(self.notices(&rejection, &about));
        }
        self.publish_effects(batch, about)
    }

    /// Sends the answer of a `subscribe` handler straight to the subscription.
    fn answer(&self, answer: Payload, about: &About) -> Result<(), Rejection> {
        let Some(slot) = about.slot else {
            return Ok(());
        };
        let (mut headers, body) = answer.into_message()?;
        about.correlate(&mut headers);
        let destination = Destination::parse(about.destination.clone())?;
        let number = self.stack.answers.fetch_add(1, Ordering::Relaxed);
        let publish = Publish::new(destination, headers, body);
        let message = Message::new(publish, format!("answer-{number}").into(), None);
        let lost = self.member.outbox().push(slot, &[Arc::new(message)]);
        if lost.messages > 0 {
            let error = "the answer was dropped: too much waits for this session already";
            return Err(Rejection::new(RejectionKind::NotPublished, error));
        }
        Ok(())
    }

    /// Removes from `batch` what the broker does not carry, and adds a rejection for each. So one misspelt destination
    /// does not take the other effects with it.
    fn keep_carried(
        &self,
        batch: &mut Vec<Publish>,
        rejections: &mut Vec<Rejection>,
        about: &About,
    ) {
        batch.retain_mut(|publish| {
            let rejection = self.not_carried(publish);
            let carried = rejection.is_none();
            if carried {
                about.correlate(&mut publish.headers);
            }
            rejections.extend(rejection);
            carried
        });
    }

    /// The rejection of a reply that nobody can receive.
    fn not_carried(&self, publish: &Publish) -> Option<Rejection> {
        let wrong = self.stack.publisher.wrong_target(&publish.target)?;
        Some(Rejection::new(RejectionKind::BadReply, wrong))
    }

    pub(super) fn publish_effects(&mut self, batch: Vec<Publish>, about: About) -> Option<Work> {
        if batch.is_empty() {
            return self.handled(about);
        }
        let confirm = self.stack.publisher.publish_all(batch);
        Some(Work::Effects(Waiting::new(confirm, about)))
    }

    /// Tells the client of the message that the broker refused; those behind it are published after that.
    pub(super) fn effect_refused(&mut self, refused: Refused, about: About) -> Work {
        self.notify(&refused.error.into(), refused.rest, about)
    }

    /// Tells the client of a rejection; `rest` is published after that.
    pub(super) fn notify(&self, rejection: &Rejection, rest: Vec<Publish>, about: About) -> Work {
        let notices = self.notices(rejection, &about);
        let confirm = self.stack.publisher.notify(self.record.id(), notices);
        Work::Notice(Waiting::new(confirm, (rest, about)))
    }

    /// A handler's work is done.
    pub(super) fn handled(&mut self, about: About) -> Option<Work> {
        if !about.is_refused {
            self.receipt(about.receipt);
        }
        about.then.and_then(|calls| self.call_next(*calls))
    }

    /// Counts and logs a rejection, and gives the notices of it: the application's own messages, if it has any.
    fn notices(&self, rejection: &Rejection, about: &About) -> Vec<Publish> {
        self.log_rejection(rejection, about);
        let Some(on_rejection) = &about.on_rejection else {
            return self.default_notice(rejection, about);
        };
        let mut effects = Effects::of(&self.record);
        let rejected = self.rejected(rejection, about);
        if let Err(panic) = caught(|| on_rejection(rejected, &mut effects)) {
            let mut notices = self.default_notice(rejection, about);
            for rejection in self.panicked(about, &panic).rejections {
                self.log_rejection(&rejection, about);
                notices.extend(self.default_notice(&rejection, about));
            }
            return notices;
        }
        let mut notices = effects.publishes;
        let mut again = effects.rejections;
        self.keep_carried(&mut notices, &mut again, about);
        for rejection in again {
            self.log_rejection(&rejection, about);
            notices.extend(self.default_notice(&rejection, about));
        }
        notices
    }

    fn log_rejection(&self, rejection: &Rejection, about: &About) {
        if rejection.kind() != RejectionKind::Denied {
            let detail = format_args!("{:?}: {rejection}", about.destination);
            let watch = &self.stack.watch;
            watch.trouble(&self.record, "message rejected", detail, None);
            self.stack.counters.rejected.increment();
        }
        let kind = rejection.kind();
        macro_rules! log {
            ($level:ident if $may_log:expr, $text:expr) => {
                log_client!(
                    $level if $may_log,
                    { stack = %self.stack.name, session = %self.record.id(), kind = %kind },
                    $text,
                    format_args!("to {:?}: {rejection}", about.destination)
                )
            };
        }
        if rejection.is_fault() {
            self.stack.counters.faults.increment();
            // Its text is for the developer, and for no client.
            let text = format_args!("message rejected: {}", Escaped(rejection));
            log!(ERROR if self.may_log(), text);
        } else {
            // The application made its own, and says what it wants said.
            let is_ours = kind != RejectionKind::Application;
            log!(WARN if is_ours && self.may_log(), "message rejected");
        }
    }

    /// The rejection as its client may read it, and what it is about.
    fn rejected(&self, rejection: &Rejection, about: &About) -> RejectedMessage {
        RejectedMessage {
            rejection: rejection.for_client(),
            session: Arc::clone(&self.record),
            destination: about.destination.clone(),
            correlation: about.correlation.clone(),
        }
    }

    /// The notice of a rejection where the application has none of its own.
    pub(super) fn default_notice(&self, rejection: &Rejection, about: &About) -> Vec<Publish> {
        let notice = self.rejected(rejection, about).notice();
        let path = Destination::parse(ByteString::from_static(ERRORS)).map_err(Rejection::from);
        let (Ok(path), Ok((mut headers, body))) = (path, notice.into_message()) else {
            return Vec::new();
        };
        let target = Target::Session {
            id: self.record.id(),
            path,
        };
        about.correlate(&mut headers);
        vec![Publish::new(target, headers, body)]
    }

    pub(super) fn timed_out(&self) -> Effects {
        self.stack.counters.handler_timeouts.increment();
        let error = "the server did not handle this message in time";
        Effects::rejected(Rejection::new(RejectionKind::HandlerTimedOut, error))
    }

    pub(super) fn panicked(&self, about: &About, panic: &Panic) -> Effects {
        self.stack.counters.handler_panics.increment();
        log_client!(
            ERROR if self.may_log(),
            { stack = %self.stack.name, session = %self.record.id() },
            "handler panicked",
            format_args!("at {:?}: {panic}", about.destination)
        );
        let error = "the server failed to handle this message";
        Effects::rejected(Rejection::new(RejectionKind::HandlerPanicked, error))
    }
}

/// Where clients receive notices of [`Rejection`]s, below the user prefix.
const ERRORS: &str = "/queue/errors";
