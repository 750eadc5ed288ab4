//! Compares the broker's statistics.

use tramline_broker::{DestinationKind, DestinationStatistics};

use super::rules::Rules;
use super::{Load, Source, UNIT, World, patterns};

impl World {
    pub(super) fn check_statistics(&self) {
        let statistics = self.broker.statistics(&patterns::parse("/**"), usize::MAX);
        let open = self.sessions.iter().filter(|session| session.open).count();
        assert_eq!(statistics.sessions, open);
        assert_eq!(statistics.bytes / UNIT, self.used(), "units in memory");
        assert_eq!(statistics.totals, self.totals);
        let names: Vec<&str> = statistics
            .selected
            .iter()
            .map(|known| &*known.destination)
            .collect();
        let mut expected: Vec<&str> = self.topics.keys().map(String::as_str).collect();
        expected.extend(self.queues.keys().map(String::as_str));
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(statistics.destinations, expected.len());
        for known in &statistics.selected {
            let name = &*known.destination;
            if let Some(topic) = self.topics.get(name) {
                assert_eq!(known.kind, DestinationKind::Topic);
                assert_eq!(known.counts, topic.counts, "{name}");
                assert_eq!(known.subscribers, self.listeners(name).count(), "{name}");
                assert_eq!((known.depth, known.unsettled, known.bytes), (0, 0, 0));
                continue;
            }
            let queue = &self.queues[name];
            assert_eq!(known.kind, DestinationKind::Queue);
            assert_eq!(known.counts, queue.counts, "{name}");
            assert_eq!(known.depth, queue.ready.len(), "{name}");
            let source = Source::Queue(name.to_owned());
            let consumers = self.subscriptions.iter();
            let consumers = consumers.filter(|held| held.active && held.source == source);
            assert_eq!(known.subscribers, consumers.clone().count(), "{name}");
            let unsettled: usize = consumers.map(|held| held.unsettled.len()).sum();
            assert_eq!(known.unsettled, unsettled, "{name}");
            let Load { messages, units } = self.load(name);
            assert_eq!(known.bytes / UNIT, units, "{name}");
            assert_eq!(known.depth + known.unsettled, messages, "{name}");
            check_books(known);
        }
    }
}

/// Checks that every message that entered a queue is still there, or left it in exactly one way.
fn check_books(known: &DestinationStatistics) {
    let name = &*known.destination;
    let counts = &known.counts;
    let expired_elsewhere = Rules::of(name)
        .dead_letters
        .is_some_and(|place| place != name);
    let expired = if expired_elsewhere { 0 } else { counts.expired };
    let given_up = counts.dead_lettered + counts.discarded + expired;
    let there = (known.depth + known.unsettled) as u64;
    let ends = counts.acked + counts.dropped_oldest + given_up;
    assert_eq!(counts.published, there + ends, "{name}: {counts:?}");
}
