//! The effects of a handler.

use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::{Destination, Publish, Target};

use crate::model::inbound::SessionRecord;
use crate::model::rejection::{Rejection, RejectionKind};
use crate::model::reply::Payload;

/// The outcome of a handler: messages to publish, in order, and rejections.
///
/// Handlers return types that [become](crate::reply::IntoEffects) effects; implement that trait for an application's
/// own error type to decide what its clients receive. Effects are carried out when the handler has returned.
#[derive(Debug, Default)]
pub struct Effects {
    /// The session that sent the message; `None` when the application publishes.
    sender: Option<Arc<SessionRecord>>,
    pub(crate) publishes: Vec<Publish>,
    /// The reply for the subscription that a `subscribe` handler answers.
    pub(crate) direct: Option<Payload>,
    pub(crate) rejections: Vec<Rejection>,
}

impl Effects {
    /// Empty effects, for a message of `sender`.
    pub(crate) fn of(sender: &Arc<SessionRecord>) -> Self {
        Self {
            sender: Some(Arc::clone(sender)),
            ..Self::default()
        }
    }

    /// A rejection and nothing else.
    pub(crate) fn rejected(rejection: impl Into<Rejection>) -> Self {
        let mut effects = Self::default();
        effects.reject(rejection);
        effects
    }

    /// Publishes `payload` to `target`, after the effects added before.
    pub fn publish(&mut self, target: impl Into<Target>, payload: Payload) {
        match payload.into_message() {
            Ok((headers, body)) => self.publishes.push(Publish::new(target, headers, body)),
            Err(rejection) => self.reject(rejection),
        }
    }

    /// Records a failure; [`Rejection`] describes who is notified.
    pub fn reject(&mut self, rejection: impl Into<Rejection>) {
        self.rejections.push(rejection.into());
    }

    pub(crate) fn publish_to(&mut self, destination: ByteString, payload: Payload) {
        match Destination::parse(destination) {
            Ok(destination) => self.publish(destination, payload),
            Err(error) => self.reject(error),
        }
    }

    /// Publishes to `whom`, at `path` below the user prefix.
    pub(crate) fn publish_to_user(&mut self, whom: Whom, path: ByteString, payload: Payload) {
        let target = Destination::parse_user_path(path)
            .map_err(Rejection::from)
            .and_then(|path| whom.at(path, self.sender.as_deref()));
        match target {
            Ok(target) => self.publish(target, payload),
            Err(rejection) => self.reject(rejection),
        }
    }
}

/// The receivers of a reply to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Every session of the sender's user; if the sender is anonymous, its one session.
    Sender,
    /// The sender's session.
    SenderSession,
    Named(ByteString),
}

impl Whom {
    pub(crate) fn at(
        self,
        path: Destination,
        sender: Option<&SessionRecord>,
    ) -> Result<Target, Rejection> {
        let user = |name| Target::User {
            name,
            path: path.clone(),
        };
        if let Self::Named(name) = self {
            return Ok(user(name));
        }
        let Some(sender) = sender else {
            let error = "a reply to the sender, where no client has sent anything";
            return Err(Rejection::new(RejectionKind::BadReply, error));
        };
        Ok(match (self, sender.user()) {
            (Self::Sender, Some(sender)) => user(sender.shared_name().clone()),
            _ => Target::Session {
                id: sender.id(),
                path,
            },
        })
    }
}
