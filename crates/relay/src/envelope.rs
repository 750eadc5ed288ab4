//! What nodes tell each other through the broker: a line of JSON, and the body of a message behind it.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use tramline_broker::{
    Command, Destination, Headers, MemberDescription, MemberEvent, Message, NodeId, Publish,
    SessionId, SubscriptionDescription, Target, Timestamp,
};

/// A node's letter to the others.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) from: String,
    pub(crate) says: Says,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Says {
    /// It has joined, and asks the others for their sessions.
    Joined,
    /// It is there; sent now and then.
    Alive,
    /// It leaves.
    Left,
    /// The events up to `Described` are all of its sessions.
    Describes,
    Described,
    Event(Event),
    /// The node `to` is to end a session.
    End {
        to: String,
        session: String,
        code: u16,
        reason: String,
    },
    /// A message to a user or session; its body is behind the line.
    Message(Box<Addressed>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    Opened {
        session: String,
        user: Option<String>,
        details: Pairs,
        subscriptions: Vec<Subscription>,
    },
    Subscribed {
        session: String,
        user: Option<String>,
        subscription: Subscription,
    },
    Unsubscribed {
        session: String,
        user: Option<String>,
        subscription: Subscription,
    },
    Closed {
        session: String,
    },
}

type Pairs = Vec<(String, String)>;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subscription {
    slot: u32,
    id: String,
    destination: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Addressed {
    user: Option<String>,
    session: Option<String>,
    path: String,
    shown_as: String,
    id: String,
    headers: Pairs,
    expires: Option<u64>,
    priority: Option<u8>,
}

impl Letter {
    pub(crate) fn new(from: NodeId, says: Says) -> Self {
        let from = from.to_string();
        Self { from, says }
    }

    /// Encodes the letter with the body of its message; `None` only if JSON cannot hold it.
    pub(crate) fn encode(&self, body: &[u8]) -> Option<Bytes> {
        let mut encoded = serde_json::to_vec(self).ok()?;
        encoded.push(b'\n');
        encoded.extend_from_slice(body);
        Some(encoded.into())
    }

    /// Decodes a letter and the body behind it; `None` if it is none of ours.
    pub(crate) fn decode(encoded: &Bytes) -> Option<(NodeId, Says, Bytes)> {
        let end = encoded.iter().position(|byte| *byte == b'\n')?;
        let letter: Self = serde_json::from_slice(&encoded[..end]).ok()?;
        let from = letter.from.parse().ok()?;
        Some((from, letter.says, encoded.slice(end + 1..)))
    }
}

impl Says {
    pub(crate) fn event(event: &MemberEvent) -> Option<Self> {
        let text = |text: &ByteString| text.to_string();
        let user = |user: &Option<ByteString>| user.as_ref().map(text);
        Some(Self::Event(match event {
            MemberEvent::Opened(member) => Event::Opened {
                session: member.session.to_string(),
                user: user(&member.user),
                details: pairs(&member.details),
                subscriptions: member.subscriptions.iter().map(Subscription::of).collect(),
            },
            MemberEvent::Subscribed {
                session,
                user: of,
                subscription,
            } => Event::Subscribed {
                session: session.to_string(),
                user: user(of),
                subscription: Subscription::of(subscription),
            },
            MemberEvent::Unsubscribed {
                session,
                user: of,
                subscription,
            } => Event::Unsubscribed {
                session: session.to_string(),
                user: user(of),
                subscription: Subscription::of(subscription),
            },
            MemberEvent::Closed { session } => Event::Closed {
                session: session.to_string(),
            },
            _ => return None,
        }))
    }

    pub(crate) fn command(to: NodeId, command: &Command) -> Option<Self> {
        let Command::End {
            session,
            code,
            reason,
        } = command
        else {
            return None;
        };
        Some(Self::End {
            to: to.to_string(),
            session: session.to_string(),
            code: *code,
            reason: reason.to_string(),
        })
    }

    /// A message to a user or session.
    pub(crate) fn message(target: &Target, message: &Message) -> Option<Self> {
        let (user, session, path) = match target {
            Target::User { name, path } => (Some(name.to_string()), None, path),
            Target::Session { id, path } => (None, Some(id.to_string()), path),
            _ => return None,
        };
        Some(Self::Message(Box::new(Addressed {
            user,
            session,
            path: path.to_string(),
            shown_as: message.destination().to_owned(),
            id: message.id().to_string(),
            headers: pairs(message.headers()),
            expires: message.expires_at().map(Timestamp::as_millis),
            priority: message.priority(),
        })))
    }
}

impl Event {
    /// Reads the event of a session of `node`; `None` if it is malformed.
    pub(crate) fn read(self, node: NodeId) -> Option<(SessionId, MemberEvent)> {
        let user = |user: Option<String>| user.map(ByteString::from);
        Some(match self {
            Self::Opened {
                session,
                user: of,
                details,
                subscriptions,
            } => {
                let session = session.parse().ok()?;
                let mut member = MemberDescription::new(node, session, user(of));
                member.details = headers(details);
                member.subscriptions = subscriptions.into_iter().map(Subscription::read).collect();
                (session, MemberEvent::Opened(member))
            }
            Self::Subscribed {
                session,
                user: of,
                subscription,
            } => {
                let session = session.parse().ok()?;
                let event = MemberEvent::Subscribed {
                    session,
                    user: user(of),
                    subscription: subscription.read(),
                };
                (session, event)
            }
            Self::Unsubscribed {
                session,
                user: of,
                subscription,
            } => {
                let session = session.parse().ok()?;
                let event = MemberEvent::Unsubscribed {
                    session,
                    user: user(of),
                    subscription: subscription.read(),
                };
                (session, event)
            }
            Self::Closed { session } => {
                let session = session.parse().ok()?;
                (session, MemberEvent::Closed { session })
            }
        })
    }
}

impl Addressed {
    /// Reads the message; `None` if it is malformed.
    pub(crate) fn read(self, body: Bytes) -> Option<Publish> {
        let path = Destination::parse(self.path).ok()?;
        let target = match (self.user, self.session) {
            (Some(name), _) => Target::User {
                name: name.into(),
                path,
            },
            (None, Some(session)) => Target::Session {
                id: session.parse().ok()?,
                path,
            },
            (None, None) => return None,
        };
        let mut publish = Publish::new(target, headers(self.headers), body)
            .shown_as(self.shown_as)
            .numbered(self.id, None);
        if let Some(at) = self.expires {
            publish = publish.expires_at(Timestamp::from_millis(at));
        }
        if let Some(priority) = self.priority {
            publish = publish.priority(priority);
        }
        Some(publish)
    }
}

impl Subscription {
    fn of(described: &SubscriptionDescription) -> Self {
        Self {
            slot: described.slot,
            id: described.id.to_string(),
            destination: described.destination.to_string(),
        }
    }

    fn read(self) -> SubscriptionDescription {
        SubscriptionDescription::new(self.slot, self.id, self.destination)
    }
}

fn pairs(headers: &Headers) -> Pairs {
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.collect()
}

fn headers(pairs: Pairs) -> Headers {
    let mut headers = Headers::with_capacity(pairs.len());
    for (name, value) in pairs {
        headers.push(name, value);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_to_a_user_arrives_as_it_was() {
        let path = Destination::parse("/queue/errors").unwrap();
        let name = ByteString::from("ann \"é\"\n");
        let target = Target::User { name, path };
        let mut headers = Headers::new();
        headers.push("a", "b:\\c");
        let publish = Publish::new(target.clone(), headers, Bytes::from_static(b"x\n\0\xff"))
            .shown_as("/user/queue/errors")
            .priority(7)
            .numbered("m-1", None)
            .expires_at(Timestamp::from_millis(5));
        let message = Message::new(publish.clone(), "m-1".into(), None);
        let node = NodeId::random();
        let letter = Letter::new(node, Says::message(&target, &message).unwrap());
        let encoded = letter.encode(message.body()).unwrap();
        let (from, says, body) = Letter::decode(&encoded).unwrap();
        assert_eq!(from, node);
        let Says::Message(addressed) = says else {
            panic!("{says:?}")
        };
        assert_eq!(addressed.read(body), Some(publish));
    }

    #[test]
    fn a_session_arrives_as_it_was_described() {
        let (node, session) = (NodeId::random(), SessionId::random());
        let mut member = MemberDescription::new(node, session, Some("ann".into()));
        member.details.push("origin", "https://a.example");
        member
            .subscriptions
            .push(SubscriptionDescription::new(3, "sub", "/topic/a"));
        let event = MemberEvent::Opened(member);
        let Some(Says::Event(says)) = Says::event(&event) else {
            panic!("an event is told")
        };
        let told = Letter::new(node, Says::Event(says)).encode(b"").unwrap();
        let Some((_, Says::Event(read), _)) = Letter::decode(&told) else {
            panic!("it is read")
        };
        assert_eq!(read.read(node), Some((session, event)));
    }

    #[test]
    fn what_is_no_letter_is_ignored() {
        for bytes in [
            &b""[..],
            b"\n",
            b"{}\n",
            b"{\"from\":\"x\",\"says\":\"Alive\"}\n",
            b"no line",
        ] {
            assert!(Letter::decode(&Bytes::copy_from_slice(bytes)).is_none());
        }
    }
}
