//! What a handler wants done.

use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::{Destination, Publish, Target};

use crate::model::inbound::SessionRecord;
use crate::model::rejection::{Rejection, RejectionKind};
use crate::model::reply::Payload;

/// What comes out of a handler: messages to publish, in order, and what went wrong on the way.
///
/// Handlers return types that [become](crate::reply::IntoEffects) effects; implement that trait for an application's own
/// error type to say what its clients hear. What is added here happens when the handler has returned.
#[derive(Debug, Default)]
pub struct Effects {
    /// Whose message it is; nobody's where the application publishes.
    sender: Option<Arc<SessionRecord>>,
    pub(crate) publishes: Vec<Publish>,
    /// What goes straight to the subscription that a `subscribe` handler answers.
    pub(crate) direct: Option<Payload>,
    pub(crate) rejections: Vec<Rejection>,
}

impl Effects {
    /// Nothing to do yet, for a message of `sender`.
    pub(crate) fn of(sender: &Arc<SessionRecord>) -> Self {
        Self {
            sender: Some(Arc::clone(sender)),
            ..Self::default()
        }
    }

    /// Nothing but a rejection.
    pub(crate) fn rejected(rejection: impl Into<Rejection>) -> Self {
        let mut effects = Self::default();
        effects.reject(rejection);
        effects
    }

    /// Publishes `payload` to `target`, after what was added before.
    pub fn publish(&mut self, target: impl Into<Target>, payload: Payload) {
        match payload.into_message() {
            Ok((headers, body)) => self.publishes.push(Publish::new(target, headers, body)),
            Err(rejection) => self.reject(rejection),
        }
    }

    /// Notes that something went wrong; see [`Rejection`] for who hears of it.
    pub fn reject(&mut self, rejection: impl Into<Rejection>) {
        self.rejections.push(rejection.into());
    }

    pub(crate) fn publish_to(&mut self, destination: ByteString, payload: Payload) {
        match Destination::parse(destination) {
            Ok(destination) => self.publish(destination, payload),
            Err(error) => self.reject(error),
        }
    }

    /// Publishes at `path` of `whom`.
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

/// Who is meant by a reply to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Every session of the sender's user; of an anonymous sender, its one session.
    Sender,
    /// The session that sent.
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
