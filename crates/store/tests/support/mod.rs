//! A disk, and what is asked of a store.

#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod client;
pub(crate) mod disk;
pub(crate) mod scenario;

use std::collections::BTreeMap;
use std::sync::mpsc;

use tramline_broker::{Fetched, Journal, Key};
use tramline_store::Store;

/// The messages of each queue: body, redeliveries.
pub(crate) type Contents = BTreeMap<String, Vec<(String, u32)>>;

pub(crate) fn fetch(store: &Store, keys: &[Key]) -> Vec<Fetched> {
    let (sender, receiver) = mpsc::channel();
    store.fetch(
        keys.to_vec(),
        Box::new(move |fetched| sender.send(fetched).unwrap()),
    );
    receiver.recv().unwrap()
}

/// Everything that a store recovered, in order. Each store tells it once.
pub(crate) fn contents(store: &Store) -> Contents {
    let mut contents = Contents::new();
    for queue in store.recover() {
        let fetched = fetch(store, &queue.keys);
        let read = fetched.into_iter().map(|fetched| {
            let message = fetched.message.expect("it was read at the start");
            let body = String::from_utf8(message.publish.body.to_vec()).unwrap();
            (body, message.redeliveries)
        });
        contents.insert(queue.name.to_string(), read.collect());
    }
    contents
}

pub(crate) fn bodies(store: &Store, queue: &str) -> Vec<String> {
    let messages = contents(store).remove(queue).unwrap_or_default();
    messages.into_iter().map(|(body, _)| body).collect()
}

/// The messages of alice's durable subscription `id` to `destination`; `None` if the store says nothing of it.
pub(crate) fn subscription(found: &Contents, id: &str, destination: &str) -> Option<Vec<String>> {
    let names = found.keys();
    let ending = format!(":alice:{id}:{destination}");
    let is_there = names.clone().any(|name| name.ends_with(&ending));
    let messages = found.get(&format!("subscription{ending}"));
    let bodies = messages.into_iter().flatten().map(|(body, _)| body.clone());
    is_there.then(|| bodies.collect())
}
