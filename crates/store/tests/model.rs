//! The broker with a store behaves like a list of messages, for any sequence of operations, crashes and restarts.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use support::client::{Client, NOW, hub, send, settle, to, wait};
use support::disk::{Disk, Loss};
use tramline_broker::{Hub, Outcome};
use tramline_store::{Store, StoreOptions};

/// Two queues, and a topic with a durable subscription, which is one more list.
const QUEUES: [&str; 3] = ["/queue/a", "/queue/b", "/topic/kept/a"];

const TOPIC: usize = 2;

/// The deliveries that a consumer has at once.
const CREDIT: usize = 100;

#[derive(Clone, Debug)]
enum Operation {
    /// Sends so many messages to a queue as one batch.
    Send(usize, usize),
    /// Takes what a queue has, and settles every n-th.
    Consume(usize, usize, Outcome),
    /// Takes what a queue has, and moves every n-th to the next one, in one transaction.
    Move(usize, usize),
    /// Stops in order, and starts again.
    Restart,
    /// Loses power, and starts again.
    Crash(Loss),
}

fn operation() -> impl Strategy<Value = Operation> {
    let queue = || 0..QUEUES.len();
    let outcome = select(vec![
        Outcome::Accepted,
        Outcome::Accepted,
        Outcome::Released,
    ]);
    prop_oneof![
        6 => (queue(), 1..20_usize).prop_map(|(queue, count)| Operation::Send(queue, count)),
        4 => (queue(), 1..4_usize, outcome)
            .prop_map(|(queue, each, outcome)| Operation::Consume(queue, each, outcome)),
        2 => (queue(), 1..4_usize).prop_map(|(queue, each)| Operation::Move(queue, each)),
        1 => Just(Operation::Restart),
        2 => select(&Loss::ALL[..]).prop_map(Operation::Crash),
    ]
}

/// A message that was confirmed.
#[derive(Clone, Debug)]
struct Kept {
    body: String,
    /// It came back, or may have been delivered before a crash.
    again: bool,
}

struct World {
    disk: Arc<Disk>,
    hub: Hub,
    queues: [Vec<Kept>; 3],
    next: usize,
}

fn open(disk: &Arc<Disk>) -> Hub {
    // Small files, so that they are compacted all the time.
    let options = StoreOptions::default()
        .file_bytes(4 * 1024)
        .max_bytes(1 << 30);
    let store = Store::open_in(disk.clone(), options).unwrap();
    let report = store.report();
    assert!(!report.has_losses(), "{report}");
    hub(store)
}

impl World {
    fn new() -> Self {
        let disk = Arc::new(Disk::default());
        let hub = open(&disk);
        Client::durable(&hub, "model", QUEUES[TOPIC]).close();
        Self {
            hub,
            disk,
            queues: Default::default(),
            next: 0,
        }
    }

    fn perform(&mut self, operation: &Operation) {
        // A consumer has all of a queue at once.
        let has_room = match *operation {
            Operation::Send(queue, count) => self.queues[queue].len() + count <= CREDIT,
            Operation::Move(..) => self.queues.iter().map(Vec::len).sum::<usize>() <= CREDIT,
            _ => true,
        };
        if !has_room {
            return;
        }
        match *operation {
            Operation::Send(queue, count) => {
                let numbers = self.next..self.next + count;
                let bodies: Vec<_> = numbers.map(|number| format!("message {number}")).collect();
                self.next += count;
                let texts: Vec<_> = bodies.iter().map(String::as_str).collect();
                send(&self.hub, QUEUES[queue], &texts).unwrap();
                let kept = bodies.into_iter().map(|body| Kept { body, again: false });
                self.queues[queue].extend(kept);
            }
            Operation::Consume(queue, each, outcome) => {
                self.consume(queue, |client, deliveries| {
                    let mut settled = BTreeSet::new();
                    for (at, delivery) in deliveries.iter().enumerate().step_by(each) {
                        client.settle(delivery, outcome);
                        if outcome == Outcome::Accepted {
                            settled.insert(at);
                        }
                    }
                    settled
                });
            }
            Operation::Move(queue, each) => {
                let mut moved = Vec::new();
                let next = (queue + 1) % QUEUES.len();
                self.consume(queue, |client, deliveries| {
                    let other = QUEUES[next];
                    let mut settles = Vec::new();
                    let mut settled = BTreeSet::new();
                    for (at, delivery) in deliveries.iter().enumerate().step_by(each) {
                        settles.push(settle(delivery, Outcome::Accepted));
                        settled.insert(at);
                        let body = delivery.message.body().to_vec();
                        moved.push(String::from_utf8(body).unwrap());
                    }
                    let publishes = moved.iter().map(|body| to(other, body));
                    client.commit(settles, publishes.collect());
                    settled
                });
                let moved = moved.into_iter().map(|body| Kept { body, again: false });
                self.queues[next].extend(moved);
            }
            Operation::Restart => {
                wait(self.hub.stop(NOW));
                self.hub = open(&self.disk);
            }
            Operation::Crash(loss) => {
                let crashed = self.disk.after_crash(self.disk.operations(), loss);
                // A disk that begins with what is left, and an empty list of operations.
                self.disk = Arc::new(crashed);
                self.hub = open(&self.disk);
                for kept in self.queues.iter_mut().flatten() {
                    kept.again = true;
                }
            }
        }
    }

    /// Takes all of a queue, compares it, and has some of it settled; the rest comes back.
    fn consume(
        &mut self,
        queue: usize,
        settle: impl FnOnce(&Client<'_>, &[tramline_broker::Delivery]) -> BTreeSet<usize>,
    ) {
        let kept = &mut self.queues[queue];
        if kept.is_empty() {
            return;
        }
        let client = match queue {
            TOPIC => Client::durable(&self.hub, "model", QUEUES[TOPIC]),
            _ => Client::consuming(&self.hub, QUEUES[queue]),
        };
        let count = kept.len();
        let deliveries = client.take(count);
        assert_eq!(deliveries.len(), count);
        for (kept, delivery) in kept.iter().zip(&deliveries) {
            assert_eq!(delivery.message.body(), kept.body.as_bytes());
            assert_eq!(delivery.redeliveries > 0, kept.again, "{}", kept.body);
        }
        let settled = settle(&client, &deliveries);
        client.close();
        let mut at = 0..;
        kept.retain_mut(|kept| {
            kept.again = true;
            at.next().is_some_and(|at| !settled.contains(&at))
        });
    }

    /// Everything is there, once and in order, also after the power fails now.
    fn check(&self) {
        let crashed = self
            .disk
            .after_crash(self.disk.operations(), Loss::Everything);
        let options = StoreOptions::default()
            .file_bytes(4 * 1024)
            .max_bytes(1 << 30);
        let store = Store::open_in(Arc::new(crashed), options).unwrap();
        let mut found = support::contents(&store);
        let subscription = support::subscription(&found, "model", QUEUES[TOPIC]);
        let waiting = self.queues[TOPIC].iter().map(|kept| kept.body.clone());
        assert_eq!(subscription, Some(waiting.collect()));
        found.retain(|name, _| name.starts_with("/queue/"));
        let expected: BTreeMap<_, Vec<_>> = QUEUES
            .iter()
            .zip(&self.queues)
            .take(TOPIC)
            .filter(|(_, kept)| !kept.is_empty())
            .map(|(name, kept)| {
                let bodies = kept.iter().map(|kept| kept.body.clone());
                ((*name).to_owned(), bodies.collect())
            })
            .collect();
        let found: BTreeMap<_, Vec<_>> = found
            .into_iter()
            .map(|(name, messages)| {
                let bodies = messages.into_iter().map(|(body, _)| body);
                (name, bodies.collect())
            })
            .collect();
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn a_broker_that_crashes_is_a_list(operations in prop::collection::vec(operation(), 1..40)) {
        let mut world = World::new();
        for operation in &operations {
            world.perform(operation);
        }
        world.check();
    }
}

/// A hundred, unless the environment says otherwise, as `cargo xtask soak` does.
fn cases() -> u32 {
    let said = std::env::var("PROPTEST_CASES").ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(100)
}
