//! The settings of the model's destinations.

use std::time::Duration;

use tramline_broker::{
    EmbeddedBroker, Hub, Overflow, Prefix, QueueSettings, Separator, TopicSettings, WhenFull,
};

use super::{MEMORY, UNIT};

/// The settings of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) max_messages: usize,
    pub(super) max_units: usize,
    pub(super) when_full: Full,
    pub(super) max_deliveries: Option<u32>,
    pub(super) dead_letters: Option<&'static str>,
    /// In milliseconds.
    pub(super) time_to_live: Option<u64>,
}

/// The treatment of messages for a full queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Full {
    /// In milliseconds.
    Wait(u64),
    DropOldest,
    DropNewest,
}

/// The treatment of slow subscribers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slow {
    Close,
    DropOldest,
    DropNewest,
    Conflate,
}

const TOPICS: [&str; 3] = ["/t", "/ü", "/d"];
const QUEUES: &str = "/q";

/// Queues with settings of their own.
const SPECIAL: [&str; 8] = [
    "/q/wait", "/q/room", "/q/now", "/q/old", "/q/new", "/q/tries", "/q/short", "/q/dead",
];

impl Rules {
    const PLAIN: Self = Self {
        max_messages: 100_000,
        max_units: 1023,
        when_full: Full::Wait(5_000),
        max_deliveries: None,
        dead_letters: None,
        time_to_live: None,
    };

    pub(super) fn of(queue: &str) -> Self {
        let full = |max_messages, when_full| Self {
            max_messages,
            when_full,
            ..Self::PLAIN
        };
        match queue {
            "/q/wait" => full(3, Full::Wait(2_000)),
            "/q/room" => Self {
                max_units: 4,
                ..full(100, Full::Wait(3_000))
            },
            "/q/now" => full(2, Full::Wait(0)),
            "/q/old" => Self {
                max_units: 5,
                ..full(3, Full::DropOldest)
            },
            "/q/new" => full(3, Full::DropNewest),
            "/q/tries" => Self {
                max_deliveries: Some(2),
                dead_letters: Some("/q/dead"),
                ..Self::PLAIN
            },
            "/q/short" => Self {
                time_to_live: Some(3_000),
                dead_letters: Some("/t/dead"),
                ..Self::PLAIN
            },
            "/q/dead" => Self {
                max_deliveries: Some(2),
                dead_letters: Some("/q/dead"),
                ..full(4, Full::DropOldest)
            },
            _ => Self::PLAIN,
        }
    }

    fn settings(self) -> QueueSettings {
        let settings = QueueSettings::default()
            .max_messages(self.max_messages)
            .max_bytes(limit(self.max_units))
            .when_full(match self.when_full {
                Full::Wait(millis) => WhenFull::Wait(Duration::from_millis(millis)),
                Full::DropOldest => WhenFull::DropOldest,
                Full::DropNewest => WhenFull::DropNewest,
            });
        let settings = match self.max_deliveries {
            Some(times) => settings.max_deliveries(times),
            None => settings,
        };
        let settings = match self.dead_letters {
            Some(place) => settings.dead_letters(place),
            None => settings,
        };
        match self.time_to_live {
            Some(millis) => settings.time_to_live(Duration::from_millis(millis)),
            None => settings,
        }
    }

    pub(super) fn broker() -> Hub {
        let to = |overflow| TopicSettings::default().overflow(overflow);
        let rejecting = TopicSettings::default().dead_letters("/q/dead");
        let broker = EmbeddedBroker::new()
            .topics("/t")
            .topics("/ü/")
            .topics(Prefix::new("/d").separator(Separator::Dot))
            .queues(QUEUES)
            .max_bytes(limit(MEMORY))
            .max_bytes_each(usize::MAX, usize::MAX)
            .topic_settings("/t/old", to(Overflow::DropOldest))
            .topic_settings("/t/new", to(Overflow::DropNewest))
            .topic_settings("/t/last", to(Overflow::latest("key")))
            .topic_settings("/t/reject", rejecting);
        Hub::new(SPECIAL.into_iter().fold(broker, |broker, name| {
            broker.queue_settings(name, Self::of(name).settings())
        }))
    }

    pub(super) fn is_queue(text: &str) -> bool {
        is_below(QUEUES, text)
    }

    pub(super) fn is_topic(text: &str) -> bool {
        TOPICS.iter().any(|prefix| is_below(prefix, text))
    }

    pub(super) fn separator(text: &str) -> Separator {
        if is_below("/d", text) {
            Separator::Dot
        } else {
            Separator::Slash
        }
    }

    pub(super) fn slow(topic: &str) -> Slow {
        match topic {
            "/t/old" => Slow::DropOldest,
            "/t/new" => Slow::DropNewest,
            "/t/last" => Slow::Conflate,
            _ => Slow::Close,
        }
    }

    /// The destination of a topic's rejected messages.
    pub(super) fn rejected(topic: &str) -> Option<&'static str> {
        (topic == "/t/reject").then_some("/q/dead")
    }
}

/// The limit in bytes for `units`, with room for the overhead of their messages.
pub(super) fn limit(units: usize) -> usize {
    units * UNIT + UNIT - 1
}

fn is_below(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with('/'))
}
