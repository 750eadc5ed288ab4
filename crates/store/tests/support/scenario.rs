//! A store in use, and a model of what it confirmed.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use tramline_broker::{
    Change, Destination, Durability, Fetched, Headers, Journal as _, JournalError, Key, Message,
    Publish,
};
use tramline_store::{Store, StoreOptions};

use super::Contents;
use super::disk::Disk;

/// Files so small that a scenario fills some.
pub(crate) fn options() -> StoreOptions {
    StoreOptions::default()
        .file_bytes(1024)
        .max_bytes(64 * 1024)
}

/// A store whose confirmed changes are remembered, each with the disk's operations before and after.
pub(crate) struct Journal {
    pub(crate) store: Store,
    disk: Arc<Disk>,
    queues: BTreeMap<Key, (String, String)>,
    history: Vec<Step>,
}

/// A record: when it was begun and confirmed, in operations of the disk.
#[derive(Clone, Debug)]
struct Step {
    begun: usize,
    confirmed: usize,
    changes: Vec<Effect>,
}

#[derive(Clone, Debug)]
enum Effect {
    Enqueued(Key, String, String),
    Removed(Key),
    Redelivered(Key, u32),
}

/// What a store confirmed.
pub(crate) struct Confirmed(Vec<Step>);

impl Journal {
    pub(crate) fn open(disk: Arc<Disk>) -> Self {
        Self {
            store: Store::open_in(disk.clone(), options()).unwrap(),
            disk,
            queues: BTreeMap::new(),
            history: Vec::new(),
        }
    }

    pub(crate) fn check(&self, bytes: usize) -> Result<(), JournalError> {
        self.store.check(bytes)
    }

    pub(crate) fn fetch(&self, keys: &[Key]) -> Vec<Fetched> {
        super::fetch(&self.store, keys)
    }

    /// Stores messages as records of their own, and waits for the last.
    pub(crate) fn enqueue(
        &mut self,
        queue: &str,
        bodies: &[&str],
    ) -> Result<Vec<Key>, JournalError> {
        let mut keys = Vec::new();
        for body in bodies {
            keys.extend(self.commit(&[(queue, body)], &[], &[])?);
        }
        Ok(keys)
    }

    pub(crate) fn remove(&mut self, keys: &[Key]) -> Result<(), JournalError> {
        self.commit(&[], keys, &[]).map(drop)
    }

    pub(crate) fn redelivered(&mut self, key: Key, count: u32) -> Result<(), JournalError> {
        self.commit(&[], &[], &[(key, count)]).map(drop)
    }

    /// Stores a record, and waits until it is synced.
    pub(crate) fn commit(
        &mut self,
        messages: &[(&str, &str)],
        removed: &[Key],
        redelivered: &[(Key, u32)],
    ) -> Result<Vec<Key>, JournalError> {
        let begun = self.disk.operations();
        let made: Vec<_> = messages
            .iter()
            .map(|(queue, body)| {
                let destination = Destination::parse((*queue).to_owned()).unwrap();
                let headers = Headers::from_iter([("kind", "test")]);
                let publish = Publish::new(destination, headers, (*body).to_owned());
                (
                    (*queue).to_owned().into(),
                    Message::new(publish, "id".into(), None),
                )
            })
            .collect();
        let mut changes: Vec<_> = made
            .iter()
            .map(|(queue, message)| Change::Enqueue { queue, message })
            .collect();
        changes.extend(removed.iter().map(|key| Change::Remove { key: *key }));
        let counts = redelivered.iter().copied();
        changes.extend(counts.map(|(key, count)| Change::Redelivered { key, count }));
        let appended = self.store.append(&changes);
        let mut effects = Vec::new();
        let mut keys = Vec::new();
        for (at, (queue, body)) in messages.iter().enumerate() {
            let key = Key(appended.first.0 + at as u64);
            keys.push(key);
            effects.push(Effect::Enqueued(key, (*queue).into(), (*body).into()));
        }
        effects.extend(removed.iter().map(|key| Effect::Removed(*key)));
        let counts = redelivered.iter().copied();
        effects.extend(counts.map(|(key, count)| Effect::Redelivered(key, count)));
        let (sender, receiver) = mpsc::channel();
        let disk = Arc::clone(&self.disk);
        self.store.when_stored(
            appended.ticket,
            Durability::Synced,
            // The operations so far, before the thread does more.
            Box::new(move |stored| sender.send(stored.map(|()| disk.operations())).unwrap()),
        );
        let confirmed = receiver.recv().unwrap();
        self.history.push(Step {
            begun,
            confirmed: confirmed.clone().unwrap_or(usize::MAX),
            changes: effects,
        });
        confirmed.map(|_| keys)
    }

    pub(crate) fn confirmed(&self) -> Confirmed {
        Confirmed(self.history.clone())
    }
}

impl Confirmed {
    /// Checks what a store has that crashed after `point` operations: everything that was confirmed by then, nothing
    /// that was not begun, and of the one record in between all or nothing.
    pub(crate) fn check(&self, point: usize, found: &Contents, context: &str) {
        let sure = self.0.iter().filter(|step| step.confirmed <= point).count();
        let begun = self.0.iter().filter(|step| step.begun <= point).count();
        let possible = sure..=begun.max(sure);
        let matches = possible.clone().any(|steps| *found == self.after(steps));
        assert!(
            matches,
            "{context}: {found:?} is none of {:?}",
            possible.map(|steps| self.after(steps)).collect::<Vec<_>>()
        );
    }

    /// The contents after the first `steps` records.
    pub(crate) fn after(&self, steps: usize) -> Contents {
        let mut messages = BTreeMap::new();
        for effect in self.0[..steps].iter().flat_map(|step| &step.changes) {
            match effect {
                Effect::Enqueued(key, queue, body) => {
                    messages.insert(*key, (queue.clone(), body.clone(), 0));
                }
                Effect::Removed(key) => {
                    messages.remove(key);
                }
                Effect::Redelivered(key, count) => {
                    if let Some(message) = messages.get_mut(key) {
                        message.2 = *count;
                    }
                }
            }
        }
        let mut contents = Contents::new();
        for (queue, body, redeliveries) in messages.into_values() {
            contents
                .entry(queue)
                .or_default()
                .push((body, redeliveries));
        }
        contents
    }
}

/// Some messages, acknowledgements, a transaction and a dead letter; enough to fill files and to compact them.
pub(crate) fn run(journal: &mut Journal) {
    let long = "x".repeat(150);
    // The first file keeps most of its messages, so that it is not compacted while their removals are.
    let kept: Vec<_> = (0..4).map(|number| format!("k{number} {long}")).collect();
    let kept: Vec<_> = kept.iter().map(String::as_str).collect();
    let kept = journal.enqueue("/queue/kept", &kept).unwrap();
    let first = journal.enqueue("/queue/a", &["a0", "a1", "a2"]).unwrap();
    journal.redelivered(first[1], 2).unwrap();
    journal.remove(&first[..1]).unwrap();
    // A dead letter and its removal.
    journal
        .commit(&[("/queue/dead", "a2")], &first[2..], &[])
        .unwrap();
    // A transaction across queues, with an acknowledgement.
    let more = journal.enqueue("/queue/b", &["b0", "b1"]).unwrap();
    journal
        .commit(&[("/queue/a", "t0"), ("/queue/b", "t1")], &more[..1], &[])
        .unwrap();
    journal.remove(&kept[..1]).unwrap();
    for round in 0..4 {
        let bodies: Vec<_> = (0..6)
            .map(|number| format!("{round}.{number} {long}"))
            .collect();
        let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
        let keys = journal.enqueue("/queue/c", &bodies).unwrap();
        journal.remove(&keys[1..]).unwrap();
    }
}
