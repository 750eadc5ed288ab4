//! What clients ask a policy for, and what it says.

use std::fmt;

use crate::model::panics::Panic;
use crate::model::rejection::{Rejection, RejectionKind};

/// What a client wants to do.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Open a session.
    Connect,
    /// SEND to this destination.
    Message(&'a str),
    /// SUBSCRIBE to this destination or pattern.
    Subscribe(&'a str),
}

/// An action that outlives its frame.
pub(super) enum OwnAction {
    Connect,
    Message(Box<str>),
    Subscribe(Box<str>),
}

impl From<Action<'_>> for OwnAction {
    fn from(action: Action<'_>) -> Self {
        match action {
            Action::Connect => Self::Connect,
            Action::Message(destination) => Self::Message(destination.into()),
            Action::Subscribe(destination) => Self::Subscribe(destination.into()),
        }
    }
}

impl OwnAction {
    pub(super) fn as_action(&self) -> Action<'_> {
        match self {
            Self::Connect => Action::Connect,
            Self::Message(destination) => Action::Message(destination),
            Self::Subscribe(destination) => Action::Subscribe(destination),
        }
    }
}

/// What a policy says about an action, and why.
///
/// # Example: a check decides when a client asks
///
/// ```
/// use tramline::policy::{Action, Policy, check, deny};
///
/// async fn in_business_hours() -> bool {
///     true
/// }
///
/// let policy = Policy::builder()
///     .on_message("/app/orders", check(in_business_hours))
///     .otherwise(deny());
/// let decision = policy.explain(Action::Message("/app/orders"), None);
/// assert!(decision.is_checked() && !decision.is_permitted());
/// assert!(decision.rule().starts_with("message /app/orders: check "));
/// assert!(decision.rule().ends_with("in_business_hours"));
/// ```
#[derive(Clone, Debug)]
pub struct Decision {
    outcome: Outcome,
    rule: String,
    reason: Option<String>,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Permitted,
    Denied,
    Checked,
}

impl Decision {
    pub(super) fn new(permitted: Option<bool>, rule: String) -> Self {
        Self {
            outcome: match permitted {
                Some(true) => Outcome::Permitted,
                Some(false) => Outcome::Denied,
                None => Outcome::Checked,
            },
            rule,
            reason: None,
            failure: None,
        }
    }

    /// What the rule's check answered.
    pub(super) fn answered(self, is_permitted: bool) -> Self {
        let outcome = match is_permitted {
            true => Outcome::Permitted,
            false => Outcome::Denied,
        };
        Self { outcome, ..self }
    }

    /// The same rule's refusal.
    fn denied(self) -> Self {
        self.answered(false)
    }

    /// The same rule's refusal, for a reason that the rule alone does not tell.
    pub(super) fn denied_because(self, reason: String) -> Self {
        Self {
            reason: Some(reason),
            ..self.denied()
        }
    }

    /// The refusal of a check that did not decide.
    pub(super) fn failed(self, failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            ..self.denied()
        }
    }

    /// Whether the action may go on. False where a [check](Self::is_checked) has yet to decide.
    pub fn is_permitted(&self) -> bool {
        self.outcome == Outcome::Permitted
    }

    /// Whether a [`check`](crate::policy::check) decides, each time that a client asks.
    pub fn is_checked(&self) -> bool {
        self.outcome == Outcome::Checked
    }

    /// The rule that decides, as text: `message /app/admin/**: role "admin"`.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Why the rule denies, where its text does not tell: a subscription to a pattern that a check would have to decide
    /// about. Clients receive it in the ERROR.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }
}

/// Why a check did not decide. For the log: clients receive nothing of it.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// An argument could not be extracted.
    Rejected(Rejection),
    /// It returned an error.
    Error(String),
    /// It panicked.
    Panicked(String),
    /// It took longer than [`Limits::handler_time`](crate::Limits::handler_time).
    TimedOut,
}

impl Failure {
    pub(super) fn of_panic(panic: &Panic) -> Self {
        Self::Panicked(panic.to_string())
    }

    /// Returns whether the client caused it: an anonymous session where a user is needed, a value that does not parse.
    pub(crate) fn is_clients(&self) -> bool {
        matches!(self, Self::Rejected(rejection) if rejection.kind() != RejectionKind::Misconfigured)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Error(text) | Self::Panicked(text) => f.write_str(text),
            Self::TimedOut => f.write_str("it took longer than `Limits::handler_time`"),
        }
    }
}
