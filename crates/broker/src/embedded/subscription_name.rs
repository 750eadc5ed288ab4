//! Durable subscriptions as the journal names them. It knows only queues: a subscription is up to three of them, whose names
//! say everything about it, so that nothing is to be read before the broker starts.

use bytestring::ByteString;

use crate::destination::Destination;
use crate::request::DurableName;
use crate::timestamp::Timestamp;

/// The identity of a durable subscription: another value of one of these is another subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: DurableName,
    pub(super) pattern: ByteString,
    pub(super) selector: Option<ByteString>,
}

/// The meaning of a queue's name in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// The messages of a subscription.
    Messages(Identity),
    /// One message without content: the subscription exists. Nobody has used it since this time; 0 stands for a session that
    /// uses it.
    Exists(Identity, Timestamp),
    /// One message without content: messages were dropped.
    Missed(Identity),
}

const MESSAGES: &str = "subscription";
const EXISTS: &str = "subscribed";
const MISSED: &str = "missed";

impl Stored {
    pub(super) fn identity(&self) -> &Identity {
        let (Self::Messages(identity) | Self::Exists(identity, _) | Self::Missed(identity)) = self;
        identity
    }

    /// Returns the name in the journal; `Err` is its length if that is too long.
    pub(super) fn to_name(&self) -> Result<ByteString, usize> {
        let (kind, since, identity) = match self {
            Self::Messages(identity) => (MESSAGES, None, identity),
            Self::Exists(identity, since) => (EXISTS, Some(*since), identity),
            Self::Missed(identity) => (MISSED, None, identity),
        };
        let DurableName { user, id } = &identity.name;
        let mut text = kind.to_owned();
        if let Some(since) = since {
            text.push_str(&format!(":{}", since.as_millis()));
        }
        let parts = [user, id, &identity.pattern].into_iter();
        for part in parts.chain(&identity.selector) {
            text.push(':');
            escape(part, &mut text);
        }
        match text.len() <= Destination::MAX_LENGTH {
            true => Ok(text.into()),
            false => Err(text.len()),
        }
    }

    /// Reads a name; `None` for that of a queue.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let mut parts = name.split(':');
        let kind = parts.next()?;
        let since = match kind {
            EXISTS => parts.next()?.parse().ok()?,
            _ => 0,
        };
        let mut parts = parts.map(unescape);
        let (user, id, pattern) = (parts.next()??, parts.next()??, parts.next()??);
        let selector = match parts.next() {
            Some(selector) => Some(selector?),
            None => None,
        };
        let identity = Identity {
            name: DurableName { user, id },
            pattern,
            selector,
        };
        match (kind, parts.next()) {
            (MESSAGES, None) => Some(Self::Messages(identity)),
            (EXISTS, None) => Some(Self::Exists(identity, Timestamp::from_millis(since))),
            (MISSED, None) => Some(Self::Missed(identity)),
            _ => None,
        }
    }
}

/// Appends `part` without what has a meaning in such names, or must not be in a destination.
fn escape(part: &str, out: &mut String) {
    for char in part.chars() {
        match char {
            '%' | ':' | '*' | '?' => out.push_str(&format!("%{:02X}", u32::from(char))),
            // The longest control character is U+009F.
            char if char.is_control() => out.push_str(&format!("%{:02X}", u32::from(char))),
            char => out.push(char),
        }
    }
}

fn unescape(part: &str) -> Option<ByteString> {
    let mut pieces = part.split('%');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        text.push(char::from(u8::from_str_radix(code, 16).ok()?));
        text.push_str(rest);
    }
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_were_written() {
        let identity = |selector: Option<&'static str>| Identity {
            name: DurableName {
                user: "a:b%é\u{85}".into(),
                id: "".into(),
            },
            pattern: "/topic/*/?".into(),
            selector: selector.map(ByteString::from_static),
        };
        for selector in [None, Some("kind LIKE 'a%' AND x = '*:'")] {
            for stored in [
                Stored::Messages(identity(selector)),
                Stored::Exists(identity(selector), Timestamp::from_millis(17)),
                Stored::Missed(identity(selector)),
            ] {
                let name = stored.to_name().unwrap();
                assert!(Destination::parse(name.clone()).is_ok(), "{name}");
                assert_eq!(Stored::from_name(&name), Some(stored), "{name}");
            }
        }
        for queue in [
            "/queue/a",
            "/queue/a:b:c:d",
            "subscribed:x:a:b:c",
            "subscription:a:b",
        ] {
            assert_eq!(Stored::from_name(queue), None, "{queue}");
        }
    }
}
