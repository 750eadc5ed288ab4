//! What a session waits for before it looks at the next frame.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytestring::ByteString;
use tramline_broker::{
    CommitError, Confirm, Destination, Headers, Message, OpenError, Publish, Published, Refused,
    SubscribeError, Target,
};
use tramline_stomp::ErrorReply;

use super::Session;
use super::acks::Settling;
use super::end::End;
use super::transactions::Calls;
use crate::app::handler::EffectsFuture;
use crate::app::login::LoginFuture;
use crate::app::router::{OnRejection, Ready};
use crate::model::effects::Effects;
use crate::model::inbound::{Cause, Inbound};
use crate::model::panics::panic_text;
use crate::model::rejection::{Rejection, RejectionKind};
use crate::model::reply::Payload;
use crate::stack::policy::Authorized;

/// A handler that runs, or a broker that confirms later.
pub(super) enum Work {
    /// The application decides who the client is.
    Login {
        future: LoginFuture,
    },
    /// The broker confirms the session itself.
    Open {
        confirm: Confirm<Result<(), OpenError>>,
    },
    /// A handler is to be started.
    Call {
        call: Call,
        about: About,
    },
    Handler {
        future: EffectsFuture,
        about: About,
    },
    /// The broker confirms what the handler published.
    Effects {
        confirm: Confirm<Result<Published, Refused>>,
        /// What is published again behind a message that was refused; nothing where there is only one.
        batch: Vec<Publish>,
        about: About,
    },
    /// The broker confirms the news, to the client, that it did not take what the handler published.
    News {
        confirm: Confirm<Result<Published, Refused>>,
        /// What the handler published behind that.
        rest: Vec<Publish>,
        about: About,
    },
    /// The broker confirms what the client published.
    Sends {
        confirm: Confirm<Result<Published, Refused>>,
        receipts: Vec<(usize, ByteString)>,
        /// What was acknowledged meanwhile and is not confirmed.
        settling: Vec<Settling>,
    },
    /// The broker confirms what the client acknowledged.
    Settle {
        settling: Vec<Settling>,
    },
    /// The broker confirms its part of a transaction.
    Commit {
        confirm: Confirm<Result<Published, CommitError>>,
        calls: Calls,
    },
    Subscribe {
        confirm: Confirm<Result<(), SubscribeError>>,
        subscribing: Subscribing,
    },
    Unsubscribe {
        confirm: Confirm<()>,
        receipt: Option<ByteString>,
    },
    /// The client said DISCONNECT while handlers run beside each other.
    Disconnect {
        receipt: Option<ByteString>,
    },
}

/// A subscription that is about to be active.
pub(super) struct Subscribing {
    pub(super) slot: u32,
    pub(super) id: ByteString,
    pub(super) destination: ByteString,
    pub(super) receipt: Option<ByteString>,
}

/// A message for a handler, whose route begins at `path_from` of its destination.
pub(super) struct Call {
    pub(super) inbound: Authorized<Inbound>,
    pub(super) path_from: usize,
}

/// What a handler's work is about, for receipts, answers and errors.
pub(super) struct About {
    pub(super) destination: ByteString,
    pub(super) receipt: Option<ByteString>,
    /// The subscription that is answered.
    pub(super) slot: Option<u32>,
    /// What the replies carry, so that who asked knows to what.
    correlation: Option<ByteString>,
    on_rejection: Option<OnRejection>,
    /// What comes after it in its transaction.
    pub(super) then: Option<Box<Calls>>,
}

impl About {
    /// About a frame with these headers.
    pub(super) fn of(destination: ByteString, headers: &Headers) -> Self {
        Self {
            destination,
            receipt: None,
            slot: None,
            correlation: headers
                .get_bytestring(CORRELATION)
                .filter(|id| id.len() <= LONGEST_CORRELATION)
                .cloned(),
            on_rejection: None,
            then: None,
        }
    }

    /// Says in a message what it is the answer to, if that is known and not said.
    fn correlate(&self, headers: &mut Headers) {
        if let Some(correlation) = &self.correlation
            && headers.get(CORRELATION).is_none()
        {
            headers.push(CORRELATION, correlation.clone());
        }
    }
}

/// AMQP's and JMS's name for what tells answers apart.
const CORRELATION: &str = "correlation-id";

/// Bytes of one that is answered with. A reply may go to many, and what the sender writes there with it.
const LONGEST_CORRELATION: usize = 256;

/// How far work came.
pub(super) enum Step {
    /// It is done, and this follows.
    Done(Option<Work>),
    /// It has to be waited for.
    Waits(Work),
}

/// Where clients hear of [`Rejection`]s, below the user prefix.
const ERRORS: &str = "/queue/errors";

impl Session {
    /// Goes on with what is being worked on; true if it is finished, and what waited behind it was looked at.
    pub(super) fn poll_work(&mut self, context: &mut Context<'_>) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        self.step(*work, context);
        if self.work.is_some() {
            return false;
        }
        self.process(context);
        self.uncork();
        true
    }

    /// Goes on with the handlers that run beside each other; true if one of them is finished.
    #[cold]
    pub(super) fn poll_beside(&mut self, context: &mut Context<'_>) -> bool {
        let mut progress = false;
        let mut at = 0;
        while let Some(work) = self.beside.swap_remove(at) {
            match self.run(work, context) {
                None => progress = true,
                Some(waiting) => {
                    self.beside.push(waiting);
                    // The one that took its place has not been looked at, unless it was the last.
                    let last = self.beside.len() - 1;
                    self.beside.swap(at, last);
                    at += 1;
                }
            }
        }
        self.beside.trim();
        progress
    }

    /// Does what can be done of `work` now, and keeps the rest.
    pub(super) fn step(&mut self, work: Work, context: &mut Context<'_>) {
        if let Some(waiting) = self.run(work, context) {
            self.work = Some(Box::new(waiting));
        }
    }

    /// Does what can be done of `work` now, and gives the rest.
    pub(super) fn run(&mut self, work: Work, context: &mut Context<'_>) -> Option<Work> {
        let mut next = Some(work);
        while let Some(work) = next {
            match self.advance(work, context) {
                Step::Done(follows) => next = follows,
                Step::Waits(work) => return Some(work),
            }
        }
        None
    }

    fn advance(&mut self, work: Work, context: &mut Context<'_>) -> Step {
        match work {
            Work::Login { future } => return self.poll_login(future, context),
            Work::Open { mut confirm } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => return Step::Waits(Work::Open { confirm }),
                Poll::Ready(Ok(())) => self.connected(),
                Poll::Ready(Err(error)) => self.refuse("session refused", error.to_string(), None),
            },
            Work::Call { call, about } => return self.call(call, about, context),
            Work::Handler { mut future, about } => {
                let polled =
                    std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
                return match polled {
                    Ok(Poll::Pending) => Step::Waits(Work::Handler { future, about }),
                    Ok(Poll::Ready(effects)) => Step::Done(self.apply(effects, about)),
                    Err(panic) => Step::Done(self.apply(self.panicked(&about, &*panic), about)),
                };
            }
            Work::Effects {
                mut confirm,
                mut batch,
                about,
            } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => {
                    return Step::Waits(Work::Effects {
                        confirm,
                        batch,
                        about,
                    });
                }
                Poll::Ready(Ok(_)) => return Step::Done(self.handled(about)),
                Poll::Ready(Err(Refused { done, error, .. })) => {
                    batch.drain(..(done + 1).min(batch.len()));
                    let news = self.news(&error.into(), &about);
                    let confirm = self.shared.publisher.publish_all(news);
                    return Step::Done(Some(Work::News {
                        confirm,
                        rest: batch,
                        about,
                    }));
                }
            },
            Work::News {
                mut confirm,
                rest,
                about,
            } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => {
                    return Step::Waits(Work::News {
                        confirm,
                        rest,
                        about,
                    });
                }
                Poll::Ready(outcome) => {
                    // The log has it already; a broker that takes neither leaves only that.
                    if let Err(error) = outcome {
                        tracing::warn!(stack = %self.shared.name, session = %self.record.id(), %error, "rejection not told");
                    }
                    return Step::Done(self.publish_effects(rest, about));
                }
            },
            Work::Sends {
                mut confirm,
                receipts,
                settling,
            } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => {
                    return Step::Waits(Work::Sends {
                        confirm,
                        receipts,
                        settling: self.poll_settling(settling, context),
                    });
                }
                Poll::Ready(answer) => {
                    self.sends_confirmed(answer, receipts);
                    return Step::Done(Some(Work::Settle { settling }));
                }
            },
            Work::Settle { settling } => {
                let settling = self.poll_settling(settling, context);
                if !settling.is_empty() {
                    return Step::Waits(Work::Settle { settling });
                }
            }
            Work::Commit { mut confirm, calls } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => return Step::Waits(Work::Commit { confirm, calls }),
                Poll::Ready(Ok(_)) => return Step::Done(self.call_next(calls)),
                Poll::Ready(Err(error)) => {
                    let message = "transaction not committed";
                    self.refuse(message, error.to_string(), calls.receipt);
                }
            },
            Work::Subscribe {
                mut confirm,
                subscribing,
            } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => {
                    return Step::Waits(Work::Subscribe {
                        confirm,
                        subscribing,
                    });
                }
                Poll::Ready(Ok(())) => {
                    self.subscribed(&subscribing);
                    self.receipt(subscribing.receipt);
                }
                Poll::Ready(Err(error)) => {
                    self.stomp.drop_subscription(subscribing.slot);
                    let message = "subscription refused";
                    self.refuse(message, error.to_string(), subscribing.receipt);
                }
            },
            Work::Unsubscribe {
                mut confirm,
                receipt,
            } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => return Step::Waits(Work::Unsubscribe { confirm, receipt }),
                Poll::Ready(()) => self.receipt(receipt),
            },
            Work::Disconnect { receipt } => {
                if !self.beside.is_empty() {
                    return Step::Waits(Work::Disconnect { receipt });
                }
                self.receipt(receipt);
                self.end_with(End::Disconnected);
            }
        }
        Step::Done(None)
    }

    /// Starts the handler for a client's message, when it may run.
    fn call(&mut self, call: Call, mut about: About, context: &mut Context<'_>) -> Step {
        if self.record.is_expelled() {
            return Step::Done(None);
        }
        let shared = Arc::clone(&self.shared);
        let path = &about.destination[call.path_from..];
        let found = match call.inbound.get().cause {
            Cause::Subscribe => shared.routes.subscribe(path),
            _ => shared.routes.message(path),
        };
        let Some((handler, captures)) = found else {
            about.on_rejection.clone_from(&shared.routes.on_rejection);
            let error = "no handler takes messages for this destination";
            let rejection = Rejection::new(RejectionKind::NoRoute, error);
            return Step::Done(self.apply(Effects::rejected(rejection), about));
        };
        // In a transaction one comes after the other.
        let limit = handler.concurrent.filter(|_| about.then.is_none());
        if limit.is_some_and(|limit| self.beside.len() >= limit.get()) {
            return Step::Waits(Work::Call { call, about });
        }
        let mut inbound = call.inbound.into_inner();
        inbound.captures = captures;
        let started = self.start(handler, inbound, about);
        if limit.is_none() {
            return Step::Done(started);
        }
        if let Some(waiting) = started.and_then(|work| self.run(work, context)) {
            self.beside.push(waiting);
        }
        Step::Done(None)
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
        let started = std::panic::catch_unwind(AssertUnwindSafe(|| (handler.call)(inbound)));
        match started {
            Ok(future) => Some(Work::Handler { future, about }),
            Err(panic) => self.apply(self.panicked(&about, &*panic), about),
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
        self.address(&mut batch, &mut rejections, &about);
        for rejection in rejections {
            batch.extend(self.news(&rejection, &about));
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
        let number = self.shared.answers.fetch_add(1, Ordering::Relaxed);
        let publish = Publish::new(destination, headers, body);
        let message = Message::new(publish, format!("answer-{number}").into(), None);
        let lost = self.outbox.push(slot, &[Arc::new(message)]);
        if lost.messages > 0 {
            let error = "the answer was dropped: too much waits for this session already";
            return Err(Rejection::new(RejectionKind::NotPublished, error));
        }
        Ok(())
    }

    /// Leaves in `batch` what the broker carries, and says in that what it answers. One misspelt destination does not take the
    /// others with it.
    fn address(&self, batch: &mut Vec<Publish>, rejections: &mut Vec<Rejection>, about: &About) {
        batch.retain_mut(|publish| {
            let nowhere = self.nowhere(publish);
            let carried = nowhere.is_none();
            if carried {
                about.correlate(&mut publish.headers);
            }
            rejections.extend(nowhere);
            carried
        });
    }

    fn publish_effects(&mut self, batch: Vec<Publish>, about: About) -> Option<Work> {
        if batch.is_empty() {
            return self.handled(about);
        }
        // One that is refused does not take those behind it with it.
        let again = if batch.len() > 1 {
            batch.clone()
        } else {
            Vec::new()
        };
        let confirm = self.shared.publisher.publish_all(batch);
        Some(Work::Effects {
            confirm,
            batch: again,
            about,
        })
    }

    /// A handler's work is done.
    fn handled(&mut self, about: About) -> Option<Work> {
        self.receipt(about.receipt);
        about.then.and_then(|calls| self.call_next(*calls))
    }

    /// What is wrong with a reply that the broker does not carry.
    fn nowhere(&self, publish: &Publish) -> Option<Rejection> {
        let Target::Destination(destination) = &publish.target else {
            return None;
        };
        (!self.shared.broker.serves(destination)).then(|| {
            let error = format!("the broker carries no destination {destination:?}");
            Rejection::new(RejectionKind::NotPublished, error)
        })
    }

    /// Counts and logs a rejection, and gives the messages that tell of it: the application's, if it has any.
    pub(super) fn news(&self, rejection: &Rejection, about: &About) -> Vec<Publish> {
        self.note(rejection, about);
        let Some(told) = &about.on_rejection else {
            return self.usual_news(rejection, about);
        };
        let mut effects = Effects::of(&self.record);
        let telling = std::panic::catch_unwind(AssertUnwindSafe(|| {
            told(rejection.clone(), &mut effects);
        }));
        if let Err(panic) = telling {
            let mut news = self.usual_news(rejection, about);
            for rejection in self.panicked(about, &*panic).rejections {
                self.note(&rejection, about);
                news.extend(self.usual_news(&rejection, about));
            }
            return news;
        }
        let mut news = effects.publishes;
        let mut again = effects.rejections;
        self.address(&mut news, &mut again, about);
        for rejection in again {
            self.note(&rejection, about);
            news.extend(self.usual_news(&rejection, about));
        }
        news
    }

    fn note(&self, rejection: &Rejection, about: &About) {
        self.shared.counters.rejected.increment();
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    stack = %self.shared.name,
                    session = %self.record.id(),
                    destination = %about.destination,
                    kind = %rejection.kind(),
                    error = %rejection,
                    "message rejected"
                )
            };
        }
        match rejection.kind() {
            // The application knows of it, and says what it wants said.
            RejectionKind::Application => log!(debug),
            _ => log!(warn),
        }
    }

    /// The message that tells the client of a rejection where the application says nothing else.
    fn usual_news(&self, rejection: &Rejection, about: &About) -> Vec<Publish> {
        let Ok(path) = Destination::parse(ByteString::from_static(ERRORS)) else {
            return Vec::new();
        };
        let target = Target::Session {
            id: self.record.id(),
            path,
        };
        let mut headers = Headers::from_iter([("content-type", "application/json")]);
        about.correlate(&mut headers);
        let body = rejection.to_json(&about.destination);
        vec![Publish::new(target, headers, body)]
    }

    pub(super) fn panicked(&self, about: &About, panic: &(dyn std::any::Any + Send)) -> Effects {
        self.shared.counters.handler_panics.increment();
        tracing::error!(
            stack = %self.shared.name,
            session = %self.record.id(),
            destination = %about.destination,
            panic = panic_text(panic),
            "handler panicked"
        );
        let error = "the server failed to handle this message";
        Effects::rejected(Rejection::new(RejectionKind::HandlerPanicked, error))
    }

    fn sends_confirmed(
        &mut self,
        answer: Result<Published, Refused>,
        receipts: Vec<(usize, ByteString)>,
    ) {
        let (done, refused) = match answer {
            Ok(_) => (usize::MAX, None),
            Err(Refused { done, error, .. }) => (done, Some(error)),
        };
        let mut unpaid = None;
        for (at, receipt) in receipts {
            if at < done {
                self.receipt(Some(receipt));
            } else if at == done {
                unpaid = Some(receipt);
            }
        }
        if let Some(error) = refused {
            // What was corked while this waited came after it.
            self.cork.clear();
            self.corked_receipts.clear();
            self.refuse("message not published", error.to_string(), unpaid);
        }
    }

    /// Publishes what was corked; receipts come when the broker has it.
    pub(super) fn uncork(&mut self) {
        if self.cork.is_empty() || self.work.is_some() {
            return;
        }
        let batch = std::mem::take(&mut self.cork);
        let receipts = std::mem::take(&mut self.corked_receipts);
        match crate::stack::dispatch::publish(&*self.shared.broker, batch).into_ready() {
            Ok(answer) => self.sends_confirmed(answer, receipts),
            Err(confirm) => {
                self.work = Some(Box::new(Work::Sends {
                    confirm,
                    receipts,
                    settling: Vec::new(),
                }));
            }
        }
    }

    pub(super) fn receipt(&mut self, receipt: Option<ByteString>) {
        if let Some(receipt) = receipt {
            self.stomp.receipt(&receipt);
        }
    }

    /// Ends the session: the client wants what there is not.
    pub(super) fn refuse(&mut self, message: &str, detail: String, receipt: Option<ByteString>) {
        if self.record.is_expelled() {
            // It hears why it has to go, and not that the broker knows it no more.
            return;
        }
        self.shared.counters.rejected.increment();
        self.end_with_error(message, detail, receipt);
    }

    pub(super) fn end_with_error(
        &mut self,
        message: &str,
        detail: String,
        receipt: Option<ByteString>,
    ) {
        let reply = ErrorReply::new(message)
            .detail(detail.clone())
            .receipt(receipt);
        self.stomp.error(reply);
        self.end_with(End::Refused { error: detail });
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login { .. } => "Login",
            Self::Open { .. } => "Open",
            Self::Call { .. } => "Call",
            Self::Handler { .. } => "Handler",
            Self::Effects { .. } => "Effects",
            Self::News { .. } => "News",
            Self::Sends { .. } => "Sends",
            Self::Settle { .. } => "Settle",
            Self::Commit { .. } => "Commit",
            Self::Subscribe { .. } => "Subscribe",
            Self::Unsubscribe { .. } => "Unsubscribe",
            Self::Disconnect { .. } => "Disconnect",
        })
    }
}
