//! A process that is killed under load: what it was told is stored, is; what it was told is gone, is.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::client::{Client, hub, send, settle, to};
use tramline_broker::Outcome;
use tramline_store::{Store, StoreOptions};

/// The directory and the first number, for the process that is killed.
const CHILD: &str = "TRAMLINE_STORE_CHILD";

fn options() -> StoreOptions {
    StoreOptions::default().file_bytes(64 * 1024)
}

/// The process that is killed. It says what it is about to do in capital letters, and what is confirmed in small ones.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let (first, directory) = order.split_once(' ').unwrap();
    let hub = hub(Store::open_with(directory, options()).unwrap());
    let client = Client::consuming(&hub, "/queue/a");
    let away = Client::durable(&hub, "away", TOPIC);
    println!("w 0");
    let first: u64 = first.parse().unwrap();
    for number in first.. {
        let body = number.to_string();
        println!("S {body}");
        send(&hub, "/queue/a", &[&body]).unwrap();
        println!("s {body}");
        println!("P {body}");
        send(&hub, TOPIC, &[&body]).unwrap();
        println!("p {body}");
        if number % 4 == 0 {
            let delivery = away.take(1).remove(0);
            let body = String::from_utf8(delivery.message.body().to_vec()).unwrap();
            println!("R {body}");
            away.settle(&delivery, Outcome::Accepted);
            println!("r {body}");
        }
        if number % 3 != 0 {
            continue;
        }
        let delivery = client.take(1).remove(0);
        let body = String::from_utf8(delivery.message.body().to_vec()).unwrap();
        if number % 2 == 0 {
            println!("A {body}");
            client.settle(&delivery, Outcome::Accepted);
            println!("a {body}");
        } else {
            println!("M {body}");
            let accepted = settle(&delivery, Outcome::Accepted);
            client.commit(vec![accepted], vec![to("/queue/b", &body)]);
            println!("m {body}");
        }
    }
}

/// It has a durable subscription.
const TOPIC: &str = "/topic/kept/a";

/// What is known of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Sending,
    Sent,
    Settling,
    Settled,
    Moving,
    Moved,
}

#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, Known>,
    /// Those to the topic.
    published: BTreeMap<u64, Known>,
    /// True once the durable subscription is confirmed.
    subscribed: bool,
}

impl Model {
    fn note(&mut self, line: &str) {
        // The harness writes in front of the first line.
        let mut words = line.rsplitn(3, ' ');
        let (number, word) = (words.next(), words.next());
        let (Some(Ok(number)), Some(word)) = (number.map(str::parse), word) else {
            return;
        };
        let of_topic = match word {
            "w" => return self.subscribed = true,
            "P" => Some(Known::Sending),
            "p" => Some(Known::Sent),
            "R" => Some(Known::Settling),
            "r" => Some(Known::Settled),
            _ => None,
        };
        if let Some(known) = of_topic {
            self.published.insert(number, known);
            return;
        }
        let known = match word {
            "S" => Known::Sending,
            "s" => Known::Sent,
            "A" => Known::Settling,
            "a" => Known::Settled,
            "M" => Known::Moving,
            "m" => Known::Moved,
            _ => return,
        };
        self.messages.insert(number, known);
    }

    /// Compares with what the store has, which is the truth from then on.
    fn check(&mut self, directory: &Path) {
        let store = Store::open_with(directory, options()).unwrap();
        assert!(!store.report().has_losses(), "{}", store.report());
        let contents = support::contents(&store);
        store.close().unwrap();
        let numbers = |queue: &str| -> BTreeSet<u64> {
            let messages = contents.get(queue).into_iter().flatten();
            messages.map(|(body, _)| body.parse().unwrap()).collect()
        };
        let (a, b) = (numbers("/queue/a"), numbers("/queue/b"));
        for (number, known) in &mut self.messages {
            let there = (a.contains(number), b.contains(number));
            let is_right = match known {
                Known::Sending | Known::Settling => !there.1,
                Known::Sent => there == (true, false),
                Known::Settled => there == (false, false),
                Known::Moving => there.0 != there.1,
                Known::Moved => there == (false, true),
            };
            assert!(
                is_right,
                "{number} was {known:?} and is in a and b: {there:?}"
            );
            *known = match there {
                (true, _) => Known::Sent,
                (_, true) => Known::Moved,
                _ => Known::Settled,
            };
        }
        let subscription = support::subscription(&contents, "away", TOPIC);
        assert!(subscription.is_some() || !self.subscribed);
        let waiting = subscription.unwrap_or_default();
        let waiting: BTreeSet<u64> = waiting.iter().map(|body| body.parse().unwrap()).collect();
        for (number, known) in &mut self.published {
            let there = waiting.contains(number);
            match known {
                Known::Sent => assert!(there, "{number} was confirmed, and does not wait"),
                Known::Settled => assert!(!there, "{number} was settled, and is back"),
                _ => {}
            }
            *known = if there { Known::Sent } else { Known::Settled };
        }
        assert!(
            waiting
                .iter()
                .all(|number| self.published.contains_key(number))
        );
        let known: BTreeSet<_> = self.messages.keys().copied().collect();
        assert!(a.union(&b).all(|number| known.contains(number)));
    }
}

fn kill(times: usize) {
    let directory = Directory::new();
    let mut model = Model::default();
    for round in 0..times {
        let next = model
            .messages
            .last_key_value()
            .map_or(0, |(last, _)| last + 1);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(CHILD, format!("{next} {}", directory.0.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It goes on while this reads, so it is killed somewhere behind.
        let mut after = 50 + round * 7 % 50;
        for line in lines {
            model.note(&line.unwrap());
            if after == 0 {
                child.kill().unwrap();
            }
            after = after.saturating_sub(1);
        }
        child.wait().unwrap();
        assert!(model.messages.len() > 5, "the child did something");
        model.check(&directory.0);
    }
}

/// A directory for one test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("tramline-kill-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn some_kills() {
    kill(5);
}

/// For `cargo xtask soak`.
#[test]
#[ignore = "takes minutes"]
fn a_thousand_kills() {
    kill(1000);
}

#[test]
fn a_store_belongs_to_one_process() {
    let path = std::env::temp_dir().join(format!("tramline-lock-{}", std::process::id()));
    let store = Store::open(&path).unwrap();
    let refused = Store::open(&path).unwrap_err();
    assert!(refused.to_string().contains("is in use"), "{refused}");
    assert!(tramline_store::repair(&path).is_err());
    // Looking is free.
    assert!(tramline_store::inspect(&path).is_ok());
    store.close().unwrap();
    drop(Store::open(&path).unwrap());
    std::fs::remove_dir_all(&path).unwrap();
}
