//! What clients ask the policy for: each is made of one frame of one session, and so is what it becomes.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{
    Address, Destination, DestinationError, Headers, OpenSession, Outbox, Pattern, Publish,
    SubscribeOptions, SubscribeRequest, Target,
};
use tramline_stomp::{Connect, Subscribe};

use super::clients::OwnPublish;
use super::policy::{Action, Intent};
use super::shared::MessagingStack;
use crate::model::inbound::{Cause, Inbound, SessionRecord};
use crate::model::prefix::below;
use crate::model::temporary;
use crate::model::values::{
    check_send, check_subscribe, durable_id, flag, prefetch_count, resume_from,
};

/// A CONNECT: its session wants to be opened.
pub(crate) struct ConnectIntent<'a> {
    pub(crate) session: &'a Arc<SessionRecord>,
    pub(crate) outbox: &'a Arc<Outbox>,
    pub(crate) frame: &'a Arc<Connect>,
}

impl Intent for ConnectIntent<'_> {
    type Permitted = OpenSession;

    fn action(&self) -> Action<'_> {
        Action::Connect
    }

    fn session(&self) -> &Arc<SessionRecord> {
        self.session
    }

    fn frame(&self) -> Inbound {
        let cause = Cause::Connect(Arc::clone(self.frame));
        let mut frame = Inbound::new(Arc::clone(self.session), cause, ByteString::new());
        frame.headers = self.frame.headers.clone();
        frame
    }

    fn into_permitted(self) -> OpenSession {
        let user = self.session.user();
        let name = user.map(|user| user.shared_name().clone());
        let mut open = OpenSession::new(self.session.id(), name, Arc::clone(self.outbox));
        open.address = self.session.handshake().network();
        open
    }
}

/// A SEND to the broker.
pub(crate) struct SendIntent<'a> {
    pub(crate) stack: &'a MessagingStack,
    pub(crate) session: &'a Arc<SessionRecord>,
    pub(crate) destination: ByteString,
    /// Those that its receivers see.
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

/// The destination leads somewhere only behind the permission, so that a client that may not send there does not learn
/// what exists there.
impl Intent for SendIntent<'_> {
    /// Or the short and the long text of an ERROR.
    type Permitted = Result<OwnPublish, (&'static str, String)>;

    fn action(&self) -> Action<'_> {
        Action::Message(&self.destination)
    }

    fn session(&self) -> &Arc<SessionRecord> {
        self.session
    }

    fn frame(&self) -> Inbound {
        let destination = self.destination.clone();
        let mut frame = Inbound::new(Arc::clone(self.session), Cause::Message, destination);
        frame.headers = self.headers.clone();
        frame.body = self.body.clone();
        frame
    }

    fn into_permitted(self) -> Self::Permitted {
        let Self {
            stack,
            session,
            destination,
            headers,
            body,
        } = self;
        let target = if let Some(path) = below(&destination, &stack.user_prefix) {
            user_target(path)
        } else if stack.hub.serves(&destination) {
            Destination::parse(destination).map(Target::from)
        } else if let Some(reply) = temporary::target(&destination) {
            Ok(reply)
        } else if temporary::is_queue(&destination) {
            let id = session.id();
            temporary::path(&destination).map(|path| Target::Session { id, path })
        } else {
            return Err(("bad destination", stack.nowhere(&destination)));
        };
        let target = target.map_err(|error| ("bad destination", error.to_string()))?;
        let is_persistent = || match &target {
            Target::Destination(destination) => stack.hub.is_persistent(destination),
            _ => false,
        };
        check_send(&headers, is_persistent).map_err(|detail| ("message not published", detail))?;
        let publish = Publish::new(target, headers, body);
        let publish = stack.publisher.shown(publish);
        Ok(OwnPublish::new(session.id(), publish))
    }
}

/// The target of a client's SEND to `/user/NAME/path`, given `/NAME/path`; a `/` in the name is written `%2F`.
fn user_target(path: &str) -> Result<Target, DestinationError> {
    let (name, path) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    Ok(Target::User {
        name: name.replace("%2F", "/").into(),
        path: Destination::parse(format!("/{path}"))?,
    })
}

/// A message or a subscription for a handler.
impl Intent for Inbound {
    type Permitted = Self;

    fn action(&self) -> Action<'_> {
        match self.cause {
            Cause::Message => Action::Message(&self.destination),
            Cause::Subscribe => Action::Subscribe(&self.destination),
            // Their handlers are the application's own doing: nobody asks.
            Cause::Connect(_) | Cause::Disconnect(_) => Action::Connect,
        }
    }

    fn session(&self) -> &Arc<SessionRecord> {
        &self.session
    }

    fn frame(&self) -> Inbound {
        self.clone()
    }

    fn into_permitted(self) -> Self {
        self
    }
}

/// A SUBSCRIBE to what the broker carries, or to what is for users.
pub(crate) struct SubscribeIntent<'a> {
    stack: &'a MessagingStack,
    session: &'a Arc<SessionRecord>,
    pattern: Pattern,
    prefetch: Option<NonZeroU32>,
    options: SubscribeOptions,
    frame: &'a Subscribe,
}

impl<'a> SubscribeIntent<'a> {
    /// Reads a frame. An invalid pattern is reported as invalid, not as denied.
    pub(crate) fn new(
        stack: &'a MessagingStack,
        session: &'a Arc<SessionRecord>,
        frame: &'a Subscribe,
    ) -> Result<Self, String> {
        let destination = frame.destination.clone();
        let separator = stack.hub.separator(&destination);
        let pattern = Pattern::parse_separated(destination, separator);
        Ok(Self {
            stack,
            session,
            pattern: pattern.map_err(|error| error.to_string())?,
            prefetch: prefetch_count(&frame.headers)?,
            options: options(&frame.headers)?,
            frame,
        })
    }

    /// What the destination names.
    fn address(stack: &MessagingStack, pattern: Pattern) -> Result<Address, String> {
        let destination = pattern.as_str();
        if let Some(path) = below(destination, &stack.user_prefix) {
            if path.contains(['*', '?']) {
                return Err(format!(
                    "{destination:?}: what is for users has one destination, and this is a pattern"
                ));
            }
            let path = Destination::parse(path).map_err(|error| error.to_string())?;
            return Ok(Address::User { path });
        }
        if stack.is_temporary(destination) && pattern.as_destination().is_some() {
            let path = temporary::path(destination).map_err(|error| error.to_string())?;
            return Ok(Address::User { path });
        }
        if !stack.hub.serves(destination) {
            return Err(stack.nowhere(destination));
        }
        Ok(pattern.into())
    }
}

/// As for SEND, where the destination leads is looked at behind the permission.
impl Intent for SubscribeIntent<'_> {
    type Permitted = Result<SubscribeRequest, String>;

    fn action(&self) -> Action<'_> {
        Action::Subscribe(&self.frame.destination)
    }

    fn session(&self) -> &Arc<SessionRecord> {
        self.session
    }

    fn frame(&self) -> Inbound {
        let destination = self.frame.destination.clone();
        let mut frame = Inbound::new(Arc::clone(self.session), Cause::Subscribe, destination);
        frame.headers = self.frame.headers.clone();
        frame
    }

    fn into_permitted(self) -> Result<SubscribeRequest, String> {
        let Subscribe {
            id,
            destination,
            slot,
            ack,
            ..
        } = self.frame;
        let address = Self::address(self.stack, self.pattern)?;
        let mut request = SubscribeRequest::new(self.session.id(), *slot, address)
            .acknowledged(*ack)
            .described(id.clone(), destination.clone())
            .options(self.options);
        request.prefetch = self.prefetch;
        Ok(request)
    }
}

/// Reads the options that a SUBSCRIBE asks for. The hub refuses those that its broker does not support, by name.
fn options(headers: &Headers) -> Result<SubscribeOptions, String> {
    check_subscribe(headers)?;
    let is_true = |name| Ok::<_, String>(flag(headers, name)? == Some(true));
    let mut options = SubscribeOptions::default();
    if let Some(start) = resume_from(headers)? {
        options.start = start;
    }
    options.selector = headers.get_bytestring("selector").cloned();
    options.durable = durable_id(headers)?;
    options.browse = is_true("browser")?;
    options.retained = is_true("retained")?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::super::clients::Batch;
    use super::super::messaging::Messaging;
    use super::super::policy::{Answer, Authorized, Policy, deny, permit};
    use super::*;
    use tramline_broker::SessionId;

    use crate::model::inbound::SessionInfo;
    use crate::model::user::{Handshake, User};

    fn session() -> Arc<SessionRecord> {
        let info = SessionInfo {
            id: SessionId::random(),
            user: Some(User::new("alice")),
            handshake: Handshake::default(),
        };
        Arc::new(SessionRecord::new(info, std::sync::Weak::new(), "memory"))
    }

    fn messaging() -> Messaging {
        let policy = Policy::builder()
            .on_message("/topic/a", permit())
            .on_message("/user/*/x", permit())
            .on_subscribe("/topic/a", permit())
            .otherwise(deny());
        let broker = tramline_broker::EmbeddedBroker::new().topics("/topic");
        let builder = Messaging::builder().broker(broker).policy(policy);
        builder.build().unwrap()
    }

    fn send(
        stack: &MessagingStack,
        session: &Arc<SessionRecord>,
        destination: &'static str,
    ) -> Option<Authorized<OwnPublish>> {
        let answer = stack.policy.authorize(SendIntent {
            stack,
            session,
            destination: destination.into(),
            headers: Headers::new(),
            body: Bytes::new(),
        });
        let Answer::Now(answer) = answer else {
            panic!("there is no check")
        };
        answer.ok().map(|permitted| permitted.transpose().unwrap())
    }

    #[test]
    fn what_is_published_goes_where_was_asked() {
        let messaging = messaging();
        let (stack, session) = (&messaging.handle.stack, session());
        let mut batch = Batch::default();
        for destination in ["/topic/a", "/user/bob%2Fx/x"] {
            batch.add(session.id(), send(stack, &session, destination).unwrap());
        }
        assert!(send(stack, &session, "/topic/b").is_none());
        let targets: Vec<Target> = batch
            .into_publishes()
            .into_iter()
            .map(|publish| publish.target)
            .collect();
        let bob = Target::User {
            name: "bob/x".into(),
            path: Destination::parse("/x").unwrap(),
        };
        let topic = Destination::parse("/topic/a").unwrap();
        assert_eq!(targets, [topic.into(), bob]);
    }

    #[test]
    #[should_panic(expected = "a permission of another session")]
    fn a_permission_is_its_sessions_own() {
        let messaging = messaging();
        let (alice, bob) = (session(), session());
        let permitted = send(&messaging.handle.stack, &alice, "/topic/a").unwrap();
        Batch::default().add(bob.id(), permitted);
    }
}
