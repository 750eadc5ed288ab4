//! Destinations as the broker spells them.
//!
//! Topics of all three brokers are words with dots between; ours are segments with slashes between, or dots. RabbitMQ
//! decodes `%2F` in the destinations that it is told, and encodes all of `%XX` in those of messages.

use std::fmt::Write;

use bytestring::ByteString;
use tramline_broker::{Destination, Pattern, Separator};

use crate::kind::BrokerKind;

/// RabbitMQ's names have at most so many bytes.
const RABBIT_NAME: usize = 255;

/// The words that the topics of the nodes begin with. No client publishes or subscribes there, also not by a wildcard.
pub(crate) const NODES: &str = "tramline.nodes";

/// What destinations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Topic,
    Queue,
}

/// The destinations below one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// Without a `/` at its end.
    pub(crate) prefix: ByteString,
    pub(crate) kind: Shape,
    pub(crate) separator: Separator,
}

/// A destination as the broker is told it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spelled(pub(crate) ByteString);

impl Family {
    pub(crate) fn covers(&self, text: &str) -> bool {
        self.rest(text).is_some()
    }

    fn rest<'a>(&self, text: &'a str) -> Option<&'a str> {
        text.strip_prefix(&*self.prefix)?.strip_prefix('/')
    }

    /// The broker's prefix, and the words that follow it in all names of this family.
    fn root(&self, broker: BrokerKind) -> (&str, &str) {
        let prefix = &*self.prefix;
        let own = match (broker, self.kind) {
            (BrokerKind::RabbitMq, Shape::Topic) => {
                let exchange = prefix.strip_prefix("/exchange/");
                prefix == "/topic" || exchange.is_some_and(|name| !name.contains('/'))
            }
            (BrokerKind::RabbitMq, Shape::Queue) => {
                matches!(prefix, "/queue" | "/amq/queue")
            }
            (_, Shape::Topic) => prefix == "/topic",
            (_, Shape::Queue) => prefix == "/queue",
        };
        match (own, self.kind) {
            (true, _) => (prefix, ""),
            (false, Shape::Topic) => ("/topic", prefix),
            (false, Shape::Queue) => ("/queue", prefix),
        }
    }

    /// Spells a destination.
    pub(crate) fn destination(
        &self,
        broker: BrokerKind,
        name: &Destination,
    ) -> Result<Spelled, String> {
        self.spell(broker, name)
    }

    /// Spells a pattern, or one that covers more: the hub compares each message with the patterns of its subscribers.
    pub(crate) fn pattern(&self, broker: BrokerKind, pattern: &Pattern) -> Result<Spelled, String> {
        self.spell(broker, pattern.as_str())
    }

    fn spell(&self, broker: BrokerKind, text: &str) -> Result<Spelled, String> {
        let rest = self.rest(text).unwrap_or_default();
        let (root, first) = self.root(broker);
        let first = first.trim_start_matches('/');
        let name = match self.kind {
            Shape::Queue if first.is_empty() => escape_queue(broker, rest),
            Shape::Queue => escape_queue(broker, &format!("{first}/{rest}")),
            Shape::Topic => {
                let mut words: Vec<String> = Vec::new();
                if !first.is_empty() {
                    words.extend(first.split('/').map(|word| escape_word(broker, word)));
                }
                self.words(broker, rest, &mut words)?;
                words.join(".")
            }
        };
        if self.kind == Shape::Topic && is_of_nodes(&name) {
            return Err(format!(
                "topics that begin with {NODES} are the relay's own"
            ));
        }
        if broker != BrokerKind::RabbitMq {
            return Ok(Spelled(format!("{root}/{name}").into()));
        }
        if name.len() > RABBIT_NAME {
            let length = name.len();
            return Err(format!(
                "the name has {length} bytes at RabbitMQ, which takes {RABBIT_NAME}; use a shorter one"
            ));
        }
        // Only queues have slashes in their names.
        Ok(Spelled(
            format!("{root}/{}", name.replace('/', "%2F")).into(),
        ))
    }

    fn words(&self, broker: BrokerKind, rest: &str, words: &mut Vec<String>) -> Result<(), String> {
        let separator = match self.separator {
            Separator::Slash => '/',
            Separator::Dot if rest.contains('/') => {
                return Err(format!(
                    "below {}, where `.` separates segments, a name at {broker} has no `/`; use `.`",
                    self.prefix
                ));
            }
            Separator::Dot => '.',
        };
        for segment in rest.split(separator) {
            match (segment, broker) {
                ("**", BrokerKind::ActiveMq) => {
                    words.push(">".to_owned());
                    // It stands at the end only.
                    return Ok(());
                }
                ("**", _) => words.push("#".to_owned()),
                (segment, _) if segment.contains(['*', '?']) => words.push("*".to_owned()),
                (segment, _) => words.push(escape_word(broker, segment)),
            }
        }
        Ok(())
    }

    /// Reads the destination of a message; `None` if it is none of this family.
    pub(crate) fn read(&self, broker: BrokerKind, spelled: &str) -> Option<Destination> {
        let (root, first) = self.root(broker);
        let name = match spelled
            .strip_prefix(root)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            Some(name) => name,
            // Artemis may leave out the prefix.
            None if broker == BrokerKind::Artemis => spelled,
            None => return None,
        };
        let name = match broker {
            BrokerKind::RabbitMq => percent_decode(name)?,
            BrokerKind::ActiveMq | BrokerKind::Artemis => name.to_owned(),
        };
        if self.kind == Shape::Topic && is_of_nodes(&name) {
            return None;
        }
        let first = first.trim_start_matches('/');
        let text = match self.kind {
            Shape::Queue => percent_decode(&name)?,
            Shape::Topic => {
                let separator = match self.separator {
                    Separator::Slash => "/",
                    Separator::Dot => ".",
                };
                let mut words = name.split('.');
                for word in first.split('/').filter(|word| !word.is_empty()) {
                    if percent_decode(words.next()?)? != word {
                        return None;
                    }
                }
                let words: Option<Vec<String>> = words.map(percent_decode).collect();
                words?.join(separator)
            }
        };
        let rest = match self.kind {
            Shape::Queue if !first.is_empty() => {
                text.strip_prefix(first)?.strip_prefix('/')?.to_owned()
            }
            _ => text,
        };
        Destination::parse(format!("{}/{rest}", self.prefix)).ok()
    }
}

fn is_of_nodes(name: &str) -> bool {
    let rest = name.strip_prefix(NODES);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Escapes what would separate words, be a wildcard, or be taken for something else by the broker.
fn escape_word(broker: BrokerKind, word: &str) -> String {
    escape(word, |c| matches!(c, '.' | '*' | '#') || is_odd(broker, c))
}

fn escape_queue(broker: BrokerKind, name: &str) -> String {
    escape(name, |c| is_odd(broker, c))
}

/// Returns true for characters that the broker does not take as they are.
fn is_odd(broker: BrokerKind, c: char) -> bool {
    match broker {
        BrokerKind::RabbitMq => c == '%' || !c.is_ascii(),
        BrokerKind::ActiveMq | BrokerKind::Artemis => {
            matches!(c, '%' | '*' | '#' | '>' | ',' | '?' | ':') || c.is_whitespace()
        }
    }
}

fn escape(text: &str, special: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match special(c) {
            true => push_escaped(&mut escaped, c),
            false => escaped.push(c),
        }
    }
    escaped
}

fn push_escaped(escaped: &mut String, c: char) {
    let mut bytes = [0; 4];
    for byte in c.encode_utf8(&mut bytes).bytes() {
        // Writing to a String does not fail.
        let _ = write!(escaped, "%{byte:02X}");
    }
}

/// Decodes `%XX`; `None` if what comes out is no UTF-8. A `%` without two digits stands for itself.
fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |at: usize| {
            bytes
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(prefix: &'static str, kind: Shape, separator: Separator) -> Family {
        let prefix = prefix.into();
        Family {
            prefix,
            kind,
            separator,
        }
    }

    const BROKERS: [BrokerKind; 3] = [
        BrokerKind::RabbitMq,
        BrokerKind::ActiveMq,
        BrokerKind::Artemis,
    ];

    /// The destination as the broker shows it in messages.
    fn shown(broker: BrokerKind, spelled: &Spelled) -> String {
        if broker != BrokerKind::RabbitMq {
            return spelled.0.to_string();
        }
        let (root, name) = spelled.0.rsplit_once('/').unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
        format!(
            "{root}/{}",
            escape(&name.replace("%2F", "/"), |c| !plain(c))
        )
    }

    #[test]
    fn every_name_comes_back() {
        let slash = Separator::Slash;
        for (prefix, kind, separator, rest) in [
            ("/topic", Shape::Topic, slash, "rooms/7"),
            ("/topic", Shape::Topic, slash, "price.acme/%2F/#/>/é ü,x"),
            ("/topic", Shape::Topic, slash, "/a//b/"),
            ("/topic", Shape::Topic, Separator::Dot, "price.stock.acme"),
            ("/news", Shape::Topic, slash, "rooms/7.5"),
            ("/exchange/chat", Shape::Topic, slash, "rooms/7"),
            ("/queue", Shape::Queue, slash, "orders/new.urgent"),
            ("/queue", Shape::Queue, slash, "a#b%2F,c::d e"),
            ("/amq/queue", Shape::Queue, slash, "orders"),
            ("/jobs/of", Shape::Queue, slash, "print/é"),
        ] {
            let family = family(prefix, kind, separator);
            let name = Destination::parse(format!("{prefix}/{rest}")).unwrap();
            for broker in BROKERS {
                let spelled = family.destination(broker, &name).unwrap();
                let read = family.read(broker, &shown(broker, &spelled));
                assert_eq!(read, Some(name.clone()), "{spelled:?} at {broker}");
            }
        }
    }

    #[test]
    fn names_and_wildcards_are_translated() {
        use BrokerKind::{ActiveMq, Artemis, RabbitMq};
        for (broker, pattern, expected) in [
            (RabbitMq, "/topic/rooms/7", "/topic/rooms.7"),
            (RabbitMq, "/topic/rooms/*", "/topic/rooms.*"),
            (RabbitMq, "/topic/rooms/**", "/topic/rooms.#"),
            (RabbitMq, "/topic/a*/b.c", "/topic/*.b%2Ec"),
            (ActiveMq, "/topic/rooms/**", "/topic/rooms.>"),
            (ActiveMq, "/topic/**/log", "/topic/>"),
            (Artemis, "/topic/**/log", "/topic/#.log"),
            (Artemis, "/topic/a?", "/topic/*"),
        ] {
            let family = family("/topic", Shape::Topic, Separator::Slash);
            let pattern = Pattern::parse(pattern).unwrap();
            let spelled = family.pattern(broker, &pattern).unwrap();
            assert_eq!(&*spelled.0, expected, "{pattern} at {broker}");
        }
        let queues = family("/queue", Shape::Queue, Separator::Slash);
        let name = Destination::parse("/queue/orders/new").unwrap();
        let spelled = queues.destination(RabbitMq, &name).unwrap();
        assert_eq!(&*spelled.0, "/queue/orders%2Fnew");
    }

    #[test]
    fn what_has_no_spelling_is_refused_with_the_reason() {
        let dots = family("/topic", Shape::Topic, Separator::Dot);
        let name = Destination::parse("/topic/a/b.c").unwrap();
        let error = dots.destination(BrokerKind::RabbitMq, &name).unwrap_err();
        assert!(error.contains("has no `/`"), "{error}");
        let slashes = family("/topic", Shape::Topic, Separator::Slash);
        let long = Destination::parse(format!("/topic/{}", "a".repeat(300))).unwrap();
        let error = slashes
            .destination(BrokerKind::RabbitMq, &long)
            .unwrap_err();
        assert!(error.contains("300 bytes"), "{error}");
        assert!(slashes.destination(BrokerKind::ActiveMq, &long).is_ok());
        for broker in BROKERS {
            let own = Destination::parse("/topic/tramline/nodes/chat").unwrap();
            let error = slashes.destination(broker, &own).unwrap_err();
            assert!(error.contains("the relay's own"), "{error}");
            // Whoever subscribes to everything does not receive it.
            assert_eq!(slashes.read(broker, "/topic/tramline.nodes.chat"), None);
        }
    }
}
