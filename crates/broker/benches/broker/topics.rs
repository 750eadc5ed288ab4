//! Topics: the cost of publishing among many subscriptions that do not match, and to many that do.

use divan::Bencher;
use divan::counter::ItemsCount;
use tramline_broker::{Destination, EmbeddedBroker, Hub, Overflow, Shares, TopicSettings};

use crate::support::{Client, message, publish};

const UNRELATED: &[usize] = &[1, 1_000, 100_000, 1_000_000];

const SUBSCRIBERS: usize = 10_000;

/// A broker that lets one session have everything.
fn unbounded() -> EmbeddedBroker {
    let all = Shares::new(2_000_000, 2_000_000, 2_000_000);
    EmbeddedBroker::new()
        .topics("/topic")
        .max_destinations(3_000_000)
        .max_destinations_each(2_000_000, 2_000_000)
        .max_patterns(all)
        .max_scanned_patterns(all)
}

/// Publishes to one subscriber among `others` subscriptions to the destinations that `names` returns.
fn among(others: usize, names: impl Fn(usize) -> String, bencher: Bencher<'_, '_>) {
    let broker = Hub::new(unbounded());
    let unrelated = Client::open(&broker);
    for other in 0..others {
        unrelated.subscribe(&broker, other as u32, names(other));
    }
    let client = Client::open(&broker);
    client.subscribe(&broker, 0, "/topic/rooms/mine");
    let destination = Destination::parse("/topic/rooms/mine").unwrap();
    let mut batch = Vec::new();
    bencher
        .with_inputs(|| vec![message(&destination)])
        .bench_local_values(|message| {
            assert_eq!(publish(&broker, message), 1);
            client.take(&mut batch)
        });
}

#[divan::bench(args = UNRELATED)]
fn publish_among_exact(bencher: Bencher<'_, '_>, others: usize) {
    among(others, |other| format!("/topic/rooms/{other}"), bencher);
}

#[divan::bench(args = UNRELATED)]
fn publish_among_patterns(bencher: Bencher<'_, '_>, others: usize) {
    among(others, |other| format!("/topic/rooms/{other}/*"), bencher);
}

/// Like [`publish_among_patterns`], for the first publish to a topic, which looks it up in the patterns.
#[divan::bench(args = UNRELATED)]
fn first_publish_among_patterns(bencher: Bencher<'_, '_>, others: usize) {
    let broker = Hub::new(unbounded());
    let unrelated = Client::open(&broker);
    for other in 0..others {
        unrelated.subscribe(&broker, other as u32, format!("/topic/rooms/{other}/*"));
    }
    let destination = Destination::parse("/topic/rooms/nobody's/door").unwrap();
    bencher
        .with_inputs(|| vec![message(&destination)])
        .bench_local_values(|message| publish(&broker, message));
}

/// A name, and the patterns of a form by number.
type Form = (&'static str, fn(usize) -> String);

/// The forms of patterns that are indexed.
const FORMS: [Form; 5] = [
    ("prefix", |n| format!("/topic/rooms/{n}x*")),
    ("suffix", |n| format!("/topic/rooms/*x{n}")),
    ("both", |n| format!("/topic/rooms/a*{n}")),
    ("tail", |n| format!("/topic/**/{n}")),
    ("star", |n| format!("/topic/rooms/*/{n}")),
];

/// Adds a pattern, publishes to a topic that looks at the patterns again, and removes it, among `others` of its form.
#[divan::bench(args = FORMS.map(|(name, _)| name), consts = [1_000, 1_000_000])]
fn subscribe_publish_unsubscribe<const OTHERS: usize>(bencher: Bencher<'_, '_>, form: &str) {
    let names = FORMS.iter().find(|(name, _)| *name == form).unwrap().1;
    let broker = Hub::new(unbounded());
    let unrelated = Client::open(&broker);
    for other in 0..OTHERS {
        unrelated.subscribe(&broker, other as u32, names(other));
    }
    let client = Client::open(&broker);
    client.subscribe(&broker, 0, "/topic/rooms/mine");
    let destination = Destination::parse("/topic/rooms/mine").unwrap();
    let mut batch = Vec::new();
    let mut slot = 0;
    bencher
        .with_inputs(|| vec![message(&destination)])
        .bench_local_values(|message| {
            slot += 1;
            client.subscribe(&broker, slot, names(OTHERS + slot as usize));
            assert_eq!(publish(&broker, message), 1);
            drop(broker.unsubscribe(client.id, slot));
            client.take(&mut batch)
        });
}

fn crowd(settings: TopicSettings) -> (Hub, Vec<Client>) {
    let broker = Hub::new(
        EmbeddedBroker::new()
            .topics("/topic")
            .topic_settings("/topic/**", settings),
    );
    let clients: Vec<_> = (0..SUBSCRIBERS).map(|_| Client::open(&broker)).collect();
    for client in &clients {
        client.subscribe(&broker, 0, "/topic/all");
    }
    (broker, clients)
}

/// One message into each of 10,000 outboxes, which another thread would empty.
#[divan::bench(max_time = 3)]
fn fan_out_push(bencher: Bencher<'_, '_>) {
    let (broker, clients) = crowd(TopicSettings::default());
    let destination = Destination::parse("/topic/all").unwrap();
    let mut batch = Vec::new();
    bencher
        .counter(ItemsCount::new(SUBSCRIBERS))
        .with_inputs(|| {
            for client in &clients {
                client.take(&mut batch);
            }
            vec![message(&destination)]
        })
        .bench_local_values(|message| assert_eq!(publish(&broker, message), SUBSCRIBERS));
}

#[divan::bench(max_time = 3)]
fn fan_out_push_and_take(bencher: Bencher<'_, '_>) {
    push_and_take(TopicSettings::default(), bencher);
}

/// The same for a topic that keeps the latest message of each key: 16 messages of one key, of which one is taken.
#[divan::bench(max_time = 3)]
fn fan_out_conflated(bencher: Bencher<'_, '_>) {
    let latest = Overflow::latest("content-type");
    push_and_take(TopicSettings::default().overflow(latest), bencher);
}

fn push_and_take(settings: TopicSettings, bencher: Bencher<'_, '_>) {
    const BURST: usize = 16;
    let (broker, clients) = crowd(settings);
    let destination = Destination::parse("/topic/all").unwrap();
    let mut batch = Vec::new();
    bencher
        .counter(ItemsCount::new(SUBSCRIBERS * BURST))
        .with_inputs(|| (0..BURST).map(|_| message(&destination)).collect())
        .bench_local_values(|messages| {
            publish(&broker, messages);
            for client in &clients {
                assert!(client.take(&mut batch) > 0);
            }
        });
}
