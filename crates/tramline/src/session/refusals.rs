//! Frames that the policy, a limit or the broker refuses.

use bytestring::ByteString;
use tramline_broker::{PublishError, SubscribeError};
use tramline_stomp::ErrorReply;

use super::StompSession;
use super::end::{ACCESS_DENIED, End};
use super::pending::{About, Work};
use crate::model::log::log_client;
use crate::model::rejection::{Rejection, RejectionKind};
use crate::stack::policy::{Decision, Refusals};

/// Why a SEND or SUBSCRIBE is refused.
pub(super) struct Refusal {
    kind: RejectionKind,
    /// The header of an ERROR.
    message: &'static str,
    detail: String,
    /// A limit is used up for now, which is no fault of the frame.
    is_overload: bool,
}

impl Refusal {
    pub(super) fn of_send(message: &'static str, detail: String) -> Self {
        Self {
            kind: RejectionKind::NotPublished,
            message,
            detail,
            is_overload: false,
        }
    }

    pub(super) fn of_commit(error: &PublishError) -> Self {
        let detail = format!("nothing of the transaction was done: {error}");
        Self {
            detail,
            ..Self::from(error)
        }
    }

    /// A frame of a transaction that had no room, or of which another had none.
    pub(super) fn in_transaction(error: &PublishError) -> Self {
        let detail = format!("the transaction cannot be committed: {error}");
        Self {
            detail,
            ..Self::from(error)
        }
    }

    pub(super) fn of_subscribe(detail: String) -> Self {
        Self {
            kind: RejectionKind::NotSubscribed,
            message: "subscription refused",
            detail,
            is_overload: false,
        }
    }

    /// A SUBSCRIBE to what does not exist, in the words for a SEND there.
    pub(super) fn of_nowhere(detail: String) -> Self {
        Self {
            message: "bad destination",
            ..Self::of_subscribe(detail)
        }
    }
}

impl From<&PublishError> for Refusal {
    fn from(error: &PublishError) -> Self {
        Self {
            is_overload: error.is_overload(),
            ..Self::of_send("message not published", error.to_string())
        }
    }
}

impl From<&SubscribeError> for Refusal {
    fn from(error: &SubscribeError) -> Self {
        Self {
            is_overload: error.is_overload(),
            ..Self::of_subscribe(error.to_string())
        }
    }
}

impl StompSession {
    /// Answers a SEND or SUBSCRIBE that is refused: by a notice, or by an ERROR that ends the session.
    pub(super) fn refuse_frame(&mut self, refusal: Refusal, about: About) -> Option<Work> {
        if self.record.is_expelled() {
            return None;
        }
        let Refusal {
            kind,
            message,
            detail,
            is_overload,
        } = refusal;
        if is_overload || self.stack.refusals == Refusals::Notify {
            return Some(self.notify_refusal(&Rejection::new(kind, detail), about));
        }
        self.refuse(message, detail, about.receipt);
        None
    }

    pub(super) fn notify_refusal(&mut self, rejection: &Rejection, mut about: About) -> Work {
        about.is_refused = true;
        about
            .on_rejection
            .clone_from(&self.stack.routes.on_rejection);
        self.notify(rejection, Vec::new(), about)
    }

    /// Ends the session with an ERROR: the client asked for something that cannot be done.
    pub(super) fn refuse(
        &mut self,
        message: &'static str,
        detail: String,
        receipt: Option<ByteString>,
    ) {
        if self.record.is_expelled() {
            // Its client receives the reason of that, and not that the broker has removed the session already.
            return;
        }
        self.stack.counters.rejected.increment();
        self.end_with_error(message, detail, receipt);
    }

    pub(super) fn end_with_error(
        &mut self,
        message: &'static str,
        detail: String,
        receipt: Option<ByteString>,
    ) {
        let reply = ErrorReply::new(message)
            .detail(detail.clone())
            .receipt(receipt);
        self.stomp.error(reply);
        self.state.end(End::Refused {
            what: message,
            error: detail,
        });
    }

    /// Answers a frame that the policy denies; for CONNECT, which is about nothing, always by an ERROR.
    pub(super) fn denied(
        &mut self,
        frame: &str,
        decision: &Decision,
        about: Option<About>,
    ) -> Option<Work> {
        self.stack.counters.denied.increment();
        let destination = about
            .as_ref()
            .map(|about| format!(" {:?}", about.destination))
            .unwrap_or_default();
        log_client!(
            DEBUG,
            { stack = %self.stack.name, session = %self.record.id(), rule = decision.rule() },
            "denied",
            format_args!("{frame}{destination}")
        );
        if let Some(failure) = decision.failure() {
            self.check_failed(failure, decision.rule());
        }
        let who = self
            .record
            .user()
            .map_or("an anonymous session".into(), |user| {
                format!("user {:?}", user.name())
            });
        let mut detail = format!("{frame}{destination} is denied to {who} by this server's policy");
        if let Some(reason) = decision.reason() {
            detail = format!("{detail}: {reason}");
        }
        let rule = Some(decision.rule());
        self.stack
            .watch
            .trouble(&self.record, "denied", &detail, rule);
        match about {
            Some(about) if self.stack.refusals == Refusals::Notify => {
                Some(self.notify_refusal(&Rejection::new(RejectionKind::Denied, detail), about))
            }
            about => {
                let receipt = about.and_then(|about| about.receipt);
                self.end_with_error(ACCESS_DENIED, detail, receipt);
                None
            }
        }
    }
}
