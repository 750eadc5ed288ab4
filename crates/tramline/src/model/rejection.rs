//! Errors for messages that no handler took, and for replies that could not be sent.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytestring::ByteString;
use serde::{Serialize, Serializer};
use tramline_broker::{DestinationError, PublishError, SessionId};

use crate::model::inbound::SessionRecord;
use crate::model::reply::Payload;
use crate::model::user::User;

/// The reason why a client's message was not handled as it should have been.
///
/// Extractors reject what they cannot read, and a reply that cannot be encoded is rejected too. By default the client
/// receives a rejection notice at `/user/queue/errors`, where every client may subscribe unless the policy denies it (a
/// JSON object with `kind`, `error`, `destination` and perhaps `details`), the log has a line, and the
/// [counter](crate::Stats::rejected) goes up; the session goes on. A RECEIPT that the client asked for is sent all the
/// same: the message *was* handled.
///
/// The log line is at WARN, or at DEBUG for [the application's own](RejectionKind::Application). What is the fault of the
/// application ([`Misconfigured`](RejectionKind::Misconfigured), [`BadReply`](RejectionKind::BadReply)) is logged at
/// ERROR with its reason, and the client receives no reason.
///
/// An application's own errors go the same way: convert them into a rejection by `From`, and `?` in a handler that
/// returns `Result<_, Rejection>` rejects. To send the client something else, see
/// [`IntoEffects`](crate::reply::IntoEffects) and [`MessageRouter::on_rejection`](crate::MessageRouter::on_rejection).
///
/// # Example: an error of the application
///
/// ```
/// use tramline::{Rejection, To};
///
/// struct Muted;
///
/// impl From<Muted> for Rejection {
///     fn from(_: Muted) -> Self {
///         Rejection::application("you are muted").with_details(serde_json::json!({ "seconds": 30 }))
///     }
/// }
///
/// fn check(line: &str) -> Result<(), Muted> {
///     if line.contains("spam") { Err(Muted) } else { Ok(()) }
/// }
///
/// async fn say(line: String) -> Result<To<String>, Rejection> {
///     check(&line)?;
///     Ok(To::topic("/topic/chat", line))
/// }
/// # let _ = say;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    kind: RejectionKind,
    error: String,
    details: Option<Box<serde_json::Value>>,
}

/// The kind of failure of a [`Rejection`].
///
/// It is displayed, and written to JSON, in lower case with hyphens: `bad-message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The client's body, headers or captures do not have the form that the handler takes.
    BadMessage,
    /// The body is in a format that the handler does not take.
    UnsupportedFormat,
    /// The body was read, but breaks the rules of its type: the details name the fields.
    Invalid,
    /// The application's own reason.
    Application,
    /// A layer in front of the handler refused it: a timeout, or too many messages.
    Refused,
    /// The handler wants a user and the session has none.
    Anonymous,
    /// No route has the destination.
    NoRoute,
    /// The handler takes a value that does not exist here: the application's fault; the client receives no detail.
    Misconfigured,
    /// The handler panicked: the application's fault; the client receives no detail.
    HandlerPanicked,
    /// The handler took longer than its time: see [`Limits::handler_time`](crate::Limits::handler_time).
    HandlerTimedOut,
    /// The reply could not be encoded, or nobody can receive it where it was sent: the application's fault; the client
    /// receives no detail.
    BadReply,
    /// The broker refused the message, or the reply.
    NotPublished,
    /// The subscription is refused: by a limit, by the broker, or because there is nothing to subscribe to.
    NotSubscribed,
    /// The policy denies it.
    Denied,
    /// A token that was to renew the session's is not taken: the session goes on with the one that it has.
    TokenRefused,
    /// The broker lost messages on their way to a subscription, which goes on. Not about a message of the client: the
    /// `destination` is the subscription's, and the `details` have its `id` and, if the broker knows them, the positions
    /// `after` and `up-to`.
    MessagesMissed,
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadMessage => "bad-message",
            Self::UnsupportedFormat => "unsupported-format",
            Self::Invalid => "invalid",
            Self::Application => "application",
            Self::Refused => "refused",
            Self::Anonymous => "anonymous",
            Self::NoRoute => "no-route",
            Self::Misconfigured => "misconfigured",
            Self::HandlerPanicked => "handler-panicked",
            Self::HandlerTimedOut => "handler-timed-out",
            Self::BadReply => "bad-reply",
            Self::NotPublished => "not-published",
            Self::NotSubscribed => "not-subscribed",
            Self::Denied => "denied",
            Self::TokenRefused => "token-refused",
            Self::MessagesMissed => "messages-missed",
        })
    }
}

impl Serialize for RejectionKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Rejection {
    /// A rejection with a text that its client may read.
    pub fn new(kind: RejectionKind, error: impl fmt::Display) -> Self {
        Self {
            kind,
            error: error.to_string(),
            details: None,
        }
    }

    /// A rejection by the application itself.
    pub fn application(error: impl fmt::Display) -> Self {
        Self::new(RejectionKind::Application, error)
    }

    /// The same rejection with a value for programs to read beside the text: `details` of the JSON object.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<serde_json::Value>) -> Self {
        self.details = Some(Box::new(details.into()));
        self
    }

    /// The value added by [`with_details`](Self::with_details).
    pub fn details(&self) -> Option<&serde_json::Value> {
        self.details.as_deref()
    }

    /// A body or header that the handler cannot take.
    pub fn bad_message(error: impl fmt::Display) -> Self {
        Self::new(RejectionKind::BadMessage, error)
    }

    /// The kind of failure.
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// Returns true if the application has to be mended, which its clients cannot do.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(
            self.kind,
            RejectionKind::Misconfigured | RejectionKind::BadReply
        )
    }

    /// What a client may read of it.
    pub(crate) fn for_client(&self) -> Self {
        match self.is_fault() {
            true => Self::new(self.kind, "the server failed to handle this message"),
            false => self.clone(),
        }
    }

    /// The rejection notice for the client, as JSON.
    fn to_json(&self, destination: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            kind: RejectionKind,
            error: &'a str,
            destination: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            details: Option<&'a serde_json::Value>,
        }
        let body = Body {
            kind: self.kind,
            error: &self.error,
            destination,
            details: self.details(),
        };
        // Strings and JSON always encode; an empty body would still report a failure.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

/// A [`Rejection`] and the message that it is about: what [`MessageRouter::on_rejection`](crate::MessageRouter::on_rejection)
/// makes a notice of. It dereferences to the rejection, as clients may read it.
///
/// # Example: the default notice, and a list of what failed for support
///
/// ```
/// use tramline::reply::RejectedMessage;
/// use tramline::{MessageRouter, To, ToUser};
///
/// let routes: MessageRouter = MessageRouter::new().on_rejection(|rejected: RejectedMessage| {
///     let user = rejected.user();
///     let who = user.as_ref().map_or("somebody", |user| user.name());
///     let line = format!("{who} at {}: {}", rejected.destination(), rejected.kind());
///     (ToUser::session("/queue/errors", rejected.notice()), To::topic("/topic/support", line))
/// });
/// # let _ = routes;
/// ```
#[derive(Clone, Debug)]
pub struct RejectedMessage {
    pub(crate) rejection: Rejection,
    pub(crate) session: Arc<SessionRecord>,
    pub(crate) destination: ByteString,
    pub(crate) correlation: Option<ByteString>,
}

impl RejectedMessage {
    /// The destination of the client's message, as the client wrote it.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The session that sent it.
    pub fn session_id(&self) -> SessionId {
        self.session.id()
    }

    /// The session's user, if it has one.
    pub fn user(&self) -> Option<User> {
        self.session.user()
    }

    /// The message's `correlation-id`, which is copied into the notices.
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation.as_deref()
    }

    /// The notice that clients receive by default, at `/user/queue/errors`.
    pub fn notice(&self) -> Payload {
        let body = self.rejection.to_json(&self.destination);
        Payload::new("application/json", body)
    }

    /// The rejection alone.
    pub fn into_rejection(self) -> Rejection {
        self.rejection
    }
}

impl Deref for RejectedMessage {
    type Target = Rejection;

    fn deref(&self) -> &Rejection {
        &self.rejection
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for Rejection {}

impl From<std::convert::Infallible> for Rejection {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<DestinationError> for Rejection {
    fn from(error: DestinationError) -> Self {
        Self::new(RejectionKind::BadReply, error)
    }
}

impl From<PublishError> for Rejection {
    fn from(error: PublishError) -> Self {
        Self::new(RejectionKind::NotPublished, error)
    }
}
