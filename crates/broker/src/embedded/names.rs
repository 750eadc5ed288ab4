//! What is known by name: topics, queues.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytestring::ByteString;

use crate::Destination;
use crate::sync::RwLock;

/// One for models: whom a shard separates they are to see together.
const SHARDS: usize = if cfg!(loom) { 1 } else { 64 };

/// A map from destinations, whose size counts against a quota.
#[derive(Debug)]
pub(super) struct Names<T> {
    shards: [RwLock<HashMap<ByteString, Arc<T>>>; SHARDS],
    hasher: RandomState,
    quota: Arc<Quota>,
}

/// How many destinations there are and may be.
#[derive(Debug)]
pub(super) struct Quota {
    used: AtomicUsize,
    limit: AtomicUsize,
}

/// There are as many destinations as there may be.
#[derive(Debug)]
pub(super) struct NoMoreNames;

impl Quota {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl<T> Names<T> {
    pub(super) fn new(quota: Arc<Quota>) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: RandomState::new(),
            quota,
        }
    }

    pub(super) fn get(&self, destination: &Destination) -> Option<Arc<T>> {
        self.shard(destination)
            .read()
            .get(destination.as_str())
            .cloned()
    }

    pub(super) fn get_or_insert(
        &self,
        destination: &Destination,
        make: impl FnOnce(ByteString) -> T,
    ) -> Result<Arc<T>, NoMoreNames> {
        if let Some(known) = self.get(destination) {
            return Ok(known);
        }
        let mut shard = self.shard(destination).write();
        if let Some(known) = shard.get(destination.as_str()) {
            return Ok(Arc::clone(known));
        }
        if self.quota.used.fetch_add(1, Ordering::Relaxed) >= self.quota.limit() {
            self.quota.used.fetch_sub(1, Ordering::Relaxed);
            return Err(NoMoreNames);
        }
        // A copy: the text may be a slice of a whole frame, which must not be kept alive.
        let name = ByteString::from(destination.as_str());
        let new = Arc::new(make(name.clone()));
        shard.insert(name, Arc::clone(&new));
        Ok(new)
    }

    /// Forgets what `is_used` denies.
    pub(super) fn sweep(&self, is_used: impl Fn(&T) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.write();
            let before = shard.len();
            shard.retain(|_, known| is_used(known));
            let gone = before - shard.len();
            self.quota.used.fetch_sub(gone, Ordering::Relaxed);
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    /// What is known under the names that `select` picks.
    pub(super) fn select(&self, select: impl Fn(&str, &T) -> bool) -> Vec<(ByteString, Arc<T>)> {
        let mut selected = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            let picked = shard.iter().filter(|(name, known)| select(name, known));
            selected.extend(picked.map(|(name, known)| (name.clone(), Arc::clone(known))));
        }
        selected
    }

    fn shard(&self, destination: &str) -> &RwLock<HashMap<ByteString, Arc<T>>> {
        &self.shards[self.hasher.hash_one(destination) as usize % SHARDS]
    }
}
