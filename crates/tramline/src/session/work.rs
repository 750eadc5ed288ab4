//! What a session waits for before it looks at the next frame.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytestring::ByteString;
use tramline_broker::{
    CommitError, Confirm, Destination, Headers, OpenError, Publish, Published, Refused,
    SubscribeError, Target,
};
use tramline_stomp::ErrorReply;

use super::Session;
use super::acks::Settling;
use super::end::End;
use super::transactions::Calls;
use crate::effects::Effects;
use crate::handler::EffectsFuture;
use crate::inbound::Inbound;
use crate::login::LoginFuture;
use crate::policy::Authorized;
use crate::rejection::{Rejection, RejectionKind};

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
        slot: u32,
        receipt: Option<ByteString>,
    },
    Unsubscribe {
        confirm: Confirm<()>,
        receipt: Option<ByteString>,
    },
}

/// A message for a handler, whose route begins at `path_from` of its destination.
pub(super) struct Call {
    pub(super) inbound: Authorized<Inbound>,
    pub(super) path_from: usize,
}

/// What a handler's work is about, for receipts and errors.
pub(super) struct About {
    pub(super) destination: ByteString,
    pub(super) receipt: Option<ByteString>,
    /// What comes after it in its transaction.
    pub(super) then: Option<Box<Calls>>,
}

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

    /// Does what can be done of `work` now, and keeps the rest.
    pub(super) fn step(&mut self, work: Work, context: &mut Context<'_>) {
        let mut next = Some(work);
        while let Some(work) = next {
            match self.advance(work, context) {
                Step::Done(follows) => next = follows,
                Step::Waits(work) => return self.work = Some(Box::new(work)),
            }
        }
    }

    fn advance(&mut self, work: Work, context: &mut Context<'_>) -> Step {
        match work {
            Work::Login { future } => return self.poll_login(future, context),
            Work::Open { mut confirm } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => return Step::Waits(Work::Open { confirm }),
                Poll::Ready(Ok(())) => self.connected(),
                Poll::Ready(Err(error)) => self.refuse("session refused", error.to_string(), None),
            },
            Work::Call { call, about } => return Step::Done(self.call(call, about)),
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
                    let news = self.rejected(&error.into(), &about.destination);
                    let confirm = self
                        .shared
                        .publisher
                        .publish_all(news.into_iter().collect());
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
                        tracing::warn!(stack = %self.shared.name, session = %self.info.id, %error, "rejection not told");
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
                slot,
                receipt,
            } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => {
                    return Step::Waits(Work::Subscribe {
                        confirm,
                        slot,
                        receipt,
                    });
                }
                Poll::Ready(Ok(())) => self.receipt(receipt),
                Poll::Ready(Err(error)) => {
                    self.stomp.drop_subscription(slot);
                    self.refuse("subscription refused", error.to_string(), receipt);
                }
            },
            Work::Unsubscribe {
                mut confirm,
                receipt,
            } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => return Step::Waits(Work::Unsubscribe { confirm, receipt }),
                Poll::Ready(()) => self.receipt(receipt),
            },
        }
        Step::Done(None)
    }

    /// Does what a handler wants done; its client's receipt comes after that.
    pub(super) fn apply(&mut self, effects: Effects, about: About) -> Option<Work> {
        let Effects {
            publishes: mut batch,
            mut rejections,
        } = effects;
        // One misspelt destination does not take the others with it.
        batch.retain(|publish| {
            let nowhere = self.nowhere(publish);
            let carried = nowhere.is_none();
            rejections.extend(nowhere);
            carried
        });
        for rejection in rejections {
            batch.extend(self.rejected(&rejection, &about.destination));
        }
        self.publish_effects(batch, about)
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

    /// Counts and logs a rejection, and gives the message that tells the client.
    fn rejected(&self, rejection: &Rejection, destination: &ByteString) -> Option<Publish> {
        self.shared.counters.rejected.increment();
        tracing::warn!(
            stack = %self.shared.name,
            session = %self.info.id,
            destination = %destination,
            kind = ?rejection.kind(),
            error = %rejection,
            "message rejected"
        );
        let path = Destination::parse(ByteString::from_static(ERRORS)).ok()?;
        let target = Target::Session {
            id: self.info.id,
            path,
        };
        let headers = Headers::from_iter([("content-type", "application/json")]);
        Some(Publish::new(
            target,
            headers,
            rejection.to_json(destination),
        ))
    }

    pub(super) fn panicked(&self, about: &About, panic: &(dyn std::any::Any + Send)) -> Effects {
        self.shared.counters.handler_panics.increment();
        tracing::error!(
            stack = %self.shared.name,
            session = %self.info.id,
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
        match crate::dispatch::publish(&*self.shared.broker, batch).into_ready() {
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

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("?")
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
        })
    }
}
