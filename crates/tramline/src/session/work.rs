//! What a session waits for before it looks at the next frame.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytestring::ByteString;
use tramline_broker::{
    Confirm, Destination, Headers, OpenError, Publish, PublishError, Published, SubscribeError,
    Target,
};
use tramline_stomp::ErrorReply;

use super::Session;
use super::end::End;
use crate::effects::Effects;
use crate::handler::EffectsFuture;
use crate::rejection::{Rejection, RejectionKind};

/// A handler that runs, or a broker that confirms later.
pub(super) enum Work {
    /// The broker confirms the session itself.
    Open {
        confirm: Confirm<Result<(), OpenError>>,
    },
    Handler {
        future: EffectsFuture,
        about: About,
    },
    /// The broker confirms what the handler published.
    Effects {
        confirm: Confirm<Result<Published, PublishError>>,
        about: About,
    },
    /// The broker confirms the news, to the client, that it did not take what the handler published.
    News {
        confirm: Confirm<Result<Published, PublishError>>,
        about: About,
    },
    /// The broker confirms what the client published.
    Sends {
        confirm: Confirm<Result<Published, PublishError>>,
        receipts: Vec<ByteString>,
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

/// What a handler's work is about, for receipts and errors.
#[derive(Debug)]
pub(super) struct About {
    pub(super) destination: ByteString,
    pub(super) receipt: Option<ByteString>,
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
        match work {
            Work::Open { mut confirm } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => self.wait(Work::Open { confirm }),
                Poll::Ready(Ok(())) => self.connected(),
                Poll::Ready(Err(error)) => self.refuse("session refused", error.to_string(), None),
            },
            Work::Handler { mut future, about } => {
                let polled =
                    std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
                match polled {
                    Ok(Poll::Pending) => self.wait(Work::Handler { future, about }),
                    Ok(Poll::Ready(effects)) => self.apply(effects, about, context),
                    Err(panic) => self.apply(self.panicked(&about, &*panic), about, context),
                }
            }
            Work::Effects { mut confirm, about } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => self.wait(Work::Effects { confirm, about }),
                Poll::Ready(Ok(_)) => self.receipt(about.receipt),
                Poll::Ready(Err(error)) => {
                    let news = self.rejected(&error.into(), &about.destination);
                    let confirm = self
                        .shared
                        .publisher
                        .publish_all(news.into_iter().collect());
                    self.step(Work::News { confirm, about }, context);
                }
            },
            Work::News { mut confirm, about } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => self.wait(Work::News { confirm, about }),
                Poll::Ready(outcome) => {
                    // The log has it already; a broker that takes neither leaves only that.
                    if let Err(error) = outcome {
                        tracing::warn!(stack = %self.shared.name, session = %self.info.id, %error, "rejection not told");
                    }
                    self.receipt(about.receipt);
                }
            },
            Work::Sends {
                mut confirm,
                receipts,
            } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => self.wait(Work::Sends { confirm, receipts }),
                Poll::Ready(answer) => self.sends_confirmed(answer, receipts),
            },
            Work::Subscribe {
                mut confirm,
                slot,
                receipt,
            } => match Pin::new(&mut confirm).poll(context) {
                Poll::Pending => self.wait(Work::Subscribe {
                    confirm,
                    slot,
                    receipt,
                }),
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
                Poll::Pending => self.wait(Work::Unsubscribe { confirm, receipt }),
                Poll::Ready(()) => self.receipt(receipt),
            },
        }
    }

    fn wait(&mut self, work: Work) {
        self.work = Some(Box::new(work));
    }

    /// Does what a handler wants done; its client's receipt comes after that.
    pub(super) fn apply(&mut self, effects: Effects, about: About, context: &mut Context<'_>) {
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
        if batch.is_empty() {
            return self.receipt(about.receipt);
        }
        let confirm = self.shared.publisher.publish_all(batch);
        self.step(Work::Effects { confirm, about }, context);
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
        let text = panic.downcast_ref::<&str>().copied();
        let text = text
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("?");
        self.shared.counters.handler_panics.increment();
        tracing::error!(
            stack = %self.shared.name,
            session = %self.info.id,
            destination = %about.destination,
            panic = text,
            "handler panicked"
        );
        let error = "the server failed to handle this message";
        Effects::rejected(Rejection::new(RejectionKind::HandlerPanicked, error))
    }

    fn sends_confirmed(
        &mut self,
        answer: Result<Published, PublishError>,
        receipts: Vec<ByteString>,
    ) {
        match answer {
            Ok(_) => receipts
                .into_iter()
                .for_each(|receipt| self.receipt(Some(receipt))),
            Err(error) => self.refuse(
                "message not published",
                error.to_string(),
                receipts.into_iter().next(),
            ),
        }
    }

    /// Publishes what was corked; receipts come when the broker has it.
    pub(super) fn uncork(&mut self) {
        if self.cork.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.cork);
        let receipts = std::mem::take(&mut self.corked_receipts);
        match crate::dispatch::publish(&*self.shared.broker, batch).into_ready() {
            Ok(answer) => self.sends_confirmed(answer, receipts),
            Err(confirm) => self.wait(Work::Sends { confirm, receipts }),
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

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open { .. } => "Open",
            Self::Handler { .. } => "Handler",
            Self::Effects { .. } => "Effects",
            Self::News { .. } => "News",
            Self::Sends { .. } => "Sends",
            Self::Subscribe { .. } => "Subscribe",
            Self::Unsubscribe { .. } => "Unsubscribe",
        })
    }
}
