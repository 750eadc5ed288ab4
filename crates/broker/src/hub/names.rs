//! Maps from destinations, and the limit on their number.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytestring::ByteString;

use super::accounts::{Payer, Resource, Share, ShareUsedUp};
use crate::destination::Destination;
use crate::sync::RwLock;

/// One in loom models, so that they see races that shards would hide.
const SHARDS: usize = if cfg!(loom) { 1 } else { 64 };

/// A map from destinations whose size counts against a quota.
#[derive(Debug)]
pub(crate) struct Names<T> {
    shards: [RwLock<HashMap<ByteString, NameEntry<T>>>; SHARDS],
    hasher: RandomState,
    quota: Arc<NameQuota>,
}

#[derive(Debug)]
struct NameEntry<T> {
    value: Arc<T>,
    /// The share of the client that first used the name.
    _share: Option<Share>,
}

/// The number of destinations that a hub and its engine keep, and its limit: from
/// [`LocalHub::quota`](crate::LocalHub::quota).
#[derive(Debug)]
pub struct NameQuota {
    used: AtomicUsize,
    limit: usize,
}

/// A limit of destinations is reached.
#[derive(Debug)]
pub(crate) enum NoMoreNames {
    /// The client's share.
    Share(ShareUsedUp),
    /// The limit of all, without the reserve if the request is a client's.
    All {
        /// The limit.
        limit: usize,
    },
}

impl NameQuota {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit,
        }
    }

    /// Takes a place for one more destination; returns false if there is none.
    pub fn take(&self) -> bool {
        self.take_below(self.limit)
    }

    fn take_below(&self, limit: usize) -> bool {
        let taken = self.used.fetch_add(1, Ordering::Relaxed) < limit;
        if !taken {
            self.give_back(1);
        }
        taken
    }

    /// The maximum number of destinations at which a client may use a new one: a sixteenth is reserved for the names
    /// that the application itself uses first.
    pub fn client_limit(&self) -> usize {
        self.limit - self.limit / 16
    }

    /// Takes a place for a name that a request of `payer` uses first.
    fn take_for(&self, payer: Payer<'_>) -> Result<Option<Share>, NoMoreNames> {
        let share = payer().map(|account| account.take(Resource::Destinations));
        let share = share.transpose().map_err(NoMoreNames::Share)?;
        let limit = match share {
            Some(_) => self.client_limit(),
            None => self.limit,
        };
        match self.take_below(limit) {
            true => Ok(share),
            false => Err(NoMoreNames::All { limit }),
        }
    }

    /// Releases the places of `count` destinations that were removed.
    pub fn give_back(&self, count: usize) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }

    /// The maximum number of destinations.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The current number of destinations.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl<T> Names<T> {
    pub(crate) fn new(quota: Arc<NameQuota>) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: RandomState::new(),
            quota,
        }
    }

    pub(crate) fn get(&self, destination: &Destination) -> Option<Arc<T>> {
        self.shard(destination)
            .read()
            .get(destination.as_str())
            .map(|known| Arc::clone(&known.value))
    }

    /// Returns the entry of `destination`. A new one counts against the share of `payer`.
    pub(crate) fn get_or_insert(
        &self,
        destination: &Destination,
        payer: Payer<'_>,
        make: impl FnOnce(ByteString) -> T,
    ) -> Result<Arc<T>, NoMoreNames> {
        if let Some(known) = self.get(destination) {
            return Ok(known);
        }
        let mut shard = self.shard(destination).write();
        if let Some(known) = shard.get(destination.as_str()) {
            return Ok(Arc::clone(&known.value));
        }
        let share = self.quota.take_for(payer)?;
        // A copy: the text may be a slice of a whole frame, which must not be kept alive.
        let name = ByteString::from(destination.as_str());
        let value = Arc::new(make(name.clone()));
        let entry = NameEntry {
            value: Arc::clone(&value),
            _share: share,
        };
        shard.insert(name, entry);
        Ok(value)
    }

    /// Removes the entries that are not used any more.
    pub(crate) fn sweep(&self, is_used: impl Fn(&T) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.write();
            let before = shard.len();
            shard.retain(|_, known| is_used(&known.value));
            self.quota.give_back(before - shard.len());
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    /// The entries that `select` picks.
    pub(crate) fn select(&self, select: impl Fn(&str, &T) -> bool) -> Vec<(ByteString, Arc<T>)> {
        let mut selected = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            let picked = shard
                .iter()
                .filter(|(name, known)| select(name, &known.value));
            selected.extend(picked.map(|(name, known)| (name.clone(), Arc::clone(&known.value))));
        }
        selected
    }

    fn shard(&self, destination: &str) -> &RwLock<HashMap<ByteString, NameEntry<T>>> {
        &self.shards[self.hasher.hash_one(destination) as usize % SHARDS]
    }
}
