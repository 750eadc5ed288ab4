//! The shares of sessions, users and addresses in what the clients of a hub use up together.
//!
//! A session has an account below that of its user, or of its address if it is anonymous, below that of all clients.
//! Taking something counts in all three; the first that has reached its limit refuses, and nothing is counted.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytestring::ByteString;

use crate::sync::Mutex;

/// One in loom models, so that they see races that shards would hide.
const SHARDS: usize = if cfg!(loom) { 1 } else { 16 };

/// The kinds of [`Resource`].
pub(super) const RESOURCES: usize = 4;

/// The amounts of one [`Resource`] that a session, a user or address, and all clients together may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shares {
    /// The maximum of one session.
    pub session: usize,
    /// The maximum of all sessions of one user, or of all anonymous sessions from one address.
    pub account: usize,
    /// The maximum of all sessions.
    pub all: usize,
}

impl Shares {
    /// Creates shares: of a session, of a user or address, and of all together.
    pub const fn new(session: usize, account: usize, all: usize) -> Self {
        Self {
            session,
            account,
            all,
        }
    }
}

/// Something that clients have a [share](Shares) of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// Names of destinations that came into use by a client's SEND or SUBSCRIBE:
    /// [`max_destinations_each`](crate::HubSettings::max_destinations_each).
    Destinations,
    /// Subscriptions to patterns that are indexed: [`max_patterns`](crate::HubSettings::max_patterns).
    Patterns,
    /// Subscriptions to patterns that are [compared one by one](crate::Pattern::is_scanned):
    /// [`max_scanned_patterns`](crate::HubSettings::max_scanned_patterns).
    ScannedPatterns,
    /// Bytes of messages that clients sent, with their overhead, until they are delivered and settled; those of open
    /// transactions included: [`max_bytes_each`](crate::HubSettings::max_bytes_each).
    Bytes,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Destinations => "destinations in use",
            Self::Patterns => "subscriptions with wildcards",
            Self::ScannedPatterns => {
                "subscriptions with `?`, several `*` in a segment, or many segments with wildcards"
            }
            Self::Bytes => "bytes of messages that wait",
        })
    }
}

impl Resource {
    fn remedy(self) -> &'static str {
        match self {
            Self::Destinations => "use fewer names",
            Self::Patterns => "unsubscribe from some",
            Self::ScannedPatterns => "unsubscribe from some, or use at most one `*` a segment",
            Self::Bytes => "send it again when some are delivered",
        }
    }
}

/// The holder of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// One session.
    Session,
    /// All sessions of a user.
    User,
    /// All anonymous sessions from an address.
    Address,
    /// All sessions.
    All,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "the session has",
            Self::User => "the sessions of the user have",
            Self::Address => "the anonymous sessions of the address have",
            Self::All => "all sessions together have",
        })
    }
}

/// A share is used up: nothing more of it is given out until some of it is released. Clients receive the text, which says
/// what they can do; which setting raises the limit is said by [`Resource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{holder} {limit} {resource}, as many as the broker allows; {}", .resource.remedy())]
#[non_exhaustive]
pub struct ShareUsedUp {
    /// The holder of the share.
    pub holder: Holder,
    /// The resource that it is a share of.
    pub resource: Resource,
    /// The limit that was reached.
    pub limit: usize,
}

/// The accounts of a hub's users and addresses, as long as a session or something counted refers to them.
#[derive(Debug)]
pub(super) struct Accounts {
    named: [Mutex<HashMap<Name, Weak<Account>>>; SHARDS],
    hasher: RandomState,
    limits: [Shares; RESOURCES],
    all: Arc<Account>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    User(ByteString),
    Address(ByteString),
}

/// The use that a session, a user, an address, or all together make of their shares.
#[derive(Debug)]
pub(crate) struct Account {
    holder: Holder,
    used: [AtomicUsize; RESOURCES],
    limits: [usize; RESOURCES],
    /// The account that this one is a part of.
    whole: Option<Arc<Account>>,
    /// Of the account of everything: the bytes of messages that wait for readers.
    unwritten: AtomicUsize,
    /// Where it is known by name.
    known: Option<Box<(Weak<Accounts>, Name)>>,
}

/// Returns the account of a request's client, asked for only if it is needed; `None` for the application's own.
pub(crate) type Payer<'a> = &'a dyn Fn() -> Option<Arc<Account>>;

/// One taken from an account, and given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    account: Arc<Account>,
    resource: Resource,
}

/// Bytes that are counted in an account, and in those that it is a part of, until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: usize,
    unwritten: bool,
}

impl Accounts {
    /// The account of everything: of all clients, and of the application's own messages.
    pub(super) fn all(&self) -> &Arc<Account> {
        &self.all
    }

    /// `limits` in the order of [`Resource`].
    pub(super) fn new(limits: [Shares; RESOURCES]) -> Arc<Self> {
        let all = Account::new(Holder::All, limits.map(|limit| limit.all), None, None);
        Arc::new(Self {
            named: Default::default(),
            hasher: RandomState::new(),
            limits,
            all: Arc::new(all),
        })
    }

    /// Creates the account of a session.
    pub(super) fn of_session(
        self: &Arc<Self>,
        user: Option<&ByteString>,
        address: Option<&str>,
    ) -> Arc<Account> {
        let name = match (user, address) {
            (Some(user), _) => Some(Name::User(user.clone())),
            (None, Some(address)) => Some(Name::Address(address.into())),
            (None, None) => None,
        };
        let whole = match name {
            Some(name) => self.named(name),
            None => Arc::clone(&self.all),
        };
        let limits = self.limits.map(|limit| limit.session);
        Arc::new(Account::new(Holder::Session, limits, Some(whole), None))
    }

    fn named(self: &Arc<Self>, name: Name) -> Arc<Account> {
        let mut named = self.shard(&name).lock();
        if let Some(known) = named.get(&name).and_then(Weak::upgrade) {
            return known;
        }
        let holder = match name {
            Name::User(_) => Holder::User,
            Name::Address(_) => Holder::Address,
        };
        let limits = self.limits.map(|limit| limit.account);
        let (whole, known) = (
            Arc::clone(&self.all),
            Box::new((Arc::downgrade(self), name.clone())),
        );
        let account = Arc::new(Account::new(holder, limits, Some(whole), Some(known)));
        named.insert(name, Arc::downgrade(&account));
        account
    }

    fn shard(&self, name: &Name) -> &Mutex<HashMap<Name, Weak<Account>>> {
        &self.named[self.hasher.hash_one(name) as usize % SHARDS]
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.named.iter().map(|named| named.lock().len()).sum()
    }
}

impl Account {
    fn new(
        holder: Holder,
        limits: [usize; RESOURCES],
        whole: Option<Arc<Self>>,
        known: Option<Box<(Weak<Accounts>, Name)>>,
    ) -> Self {
        Self {
            holder,
            used: Default::default(),
            limits,
            whole,
            unwritten: AtomicUsize::new(0),
            known,
        }
    }

    /// Checks that `bytes` more are within the shares of a session, and of its user or address. Concurrent publishers may
    /// exceed a share together, by one message each.
    pub(crate) fn check_bytes(&self, bytes: usize) -> Result<(), ShareUsedUp> {
        let mut account = self;
        while let Some(whole) = account.whole.as_deref() {
            let limit = account.max_bytes();
            if account.bytes().saturating_add(bytes) > limit {
                return Err(ShareUsedUp {
                    holder: account.holder,
                    resource: Resource::Bytes,
                    limit,
                });
            }
            account = whole;
        }
        Ok(())
    }

    /// Counts `bytes`, whether or not there is room for them; `unwritten` if they wait for readers.
    pub(crate) fn charge(self: Arc<Self>, bytes: usize, unwritten: bool) -> Charge {
        let mut charge = Charge {
            account: self,
            bytes: 0,
            unwritten,
        };
        charge.grow(bytes);
        charge
    }

    /// The bytes of messages that wait for readers: of the account of everything.
    pub(crate) fn unwritten(&self) -> usize {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// The bytes that are counted.
    pub(crate) fn bytes(&self) -> usize {
        self.used[Resource::Bytes as usize].load(Ordering::Relaxed)
    }

    /// The maximum of [`bytes`](Self::bytes).
    pub(crate) fn max_bytes(&self) -> usize {
        self.limits[Resource::Bytes as usize]
    }

    /// Takes one of `resource`, here and in the accounts that this one is a part of.
    pub(crate) fn take(self: &Arc<Self>, resource: Resource) -> Result<Share, ShareUsedUp> {
        let (mut next, at) = (Some(self), resource as usize);
        while let Some(account) = next {
            let limit = account.limits[at];
            if account.used[at].fetch_add(1, Ordering::Relaxed) >= limit {
                self.give_back(resource, Some(account));
                return Err(ShareUsedUp {
                    holder: account.holder,
                    resource,
                    limit,
                });
            }
            next = account.whole.as_ref();
        }
        Ok(Share {
            account: Arc::clone(self),
            resource,
        })
    }

    /// Gives back one of `resource`, here and in the accounts above up to `last`.
    fn give_back(&self, resource: Resource, last: Option<&Arc<Self>>) {
        let mut next = Some(self);
        while let Some(account) = next {
            account.used[resource as usize].fetch_sub(1, Ordering::Relaxed);
            if last.is_some_and(|last| std::ptr::eq(&raw const **last, account)) {
                return;
            }
            next = account.whole.as_deref();
        }
    }
}

impl Charge {
    /// Counts `bytes` more.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.count(|counter| counter.fetch_add(bytes, Ordering::Relaxed));
        self.bytes += bytes;
    }

    /// Applies `change` to each counter that the bytes are counted in.
    fn count(&self, change: impl Fn(&AtomicUsize) -> usize) {
        let mut account = &*self.account;
        change(&account.used[Resource::Bytes as usize]);
        while let Some(whole) = account.whole.as_deref() {
            account = whole;
            change(&account.used[Resource::Bytes as usize]);
        }
        if self.unwritten {
            change(&account.unwritten);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let bytes = self.bytes;
        self.count(|counter| counter.fetch_sub(bytes, Ordering::Relaxed));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.give_back(self.resource, None);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Some((accounts, name)) = self.known.as_deref() else {
            return;
        };
        let Some(accounts) = accounts.upgrade() else {
            return;
        };
        let mut named = accounts.shard(name).lock();
        // A session that came meanwhile may have made a new one.
        if named
            .get(name)
            .is_some_and(|known| known.strong_count() == 0)
        {
            named.remove(name);
            if named.len() < named.capacity() / 4 {
                named.shrink_to_fit();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: [Shares; RESOURCES] = [Shares::new(2, 3, 4); RESOURCES];

    fn refusal(account: &Arc<Account>) -> (Holder, usize) {
        let error = account.take(Resource::Patterns).unwrap_err();
        (error.holder, error.limit)
    }

    #[test]
    fn the_first_limit_refuses_and_nothing_is_counted() {
        let accounts = Accounts::new(LIMITS);
        let alice = Some(ByteString::from("alice"));
        let first = accounts.of_session(alice.as_ref(), None);
        let second = accounts.of_session(alice.as_ref(), None);
        let other = accounts.of_session(None, Some("192.0.2.1"));
        let take = |account: &Arc<Account>| account.take(Resource::Patterns).unwrap();
        let firsts = [take(&first), take(&first)];
        assert_eq!(refusal(&first), (Holder::Session, 2));
        let third = take(&second);
        assert_eq!(refusal(&second), (Holder::User, 3));
        let fourth = take(&other);
        assert_eq!(refusal(&other), (Holder::All, 4));
        drop(third);
        drop(take(&other));
        drop((firsts, fourth));
        for account in [&first, &second, &other, &accounts.all] {
            assert_eq!(account.used[1].load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn bytes_count_in_all_accounts_until_they_are_released() {
        let accounts = Accounts::new([Shares::new(100, 150, 200); RESOURCES]);
        let alice = Some(ByteString::from("alice"));
        let first = accounts.of_session(alice.as_ref(), None);
        let second = accounts.of_session(alice.as_ref(), None);
        let mut charge = Arc::clone(&first).charge(40, true);
        charge.grow(50);
        first.check_bytes(10).unwrap();
        let error = first.check_bytes(11).unwrap_err();
        assert_eq!((error.holder, error.limit), (Holder::Session, 100));
        second.check_bytes(60).unwrap();
        let error = second.check_bytes(61).unwrap_err();
        assert_eq!((error.holder, error.limit), (Holder::User, 150));
        let own = Arc::clone(accounts.all()).charge(80, false);
        let all = accounts.all();
        assert_eq!((all.bytes(), all.unwritten()), (170, 90));
        second.check_bytes(60).unwrap();
        drop((charge, own));
        for account in [&first, &second, accounts.all()] {
            assert_eq!((account.bytes(), account.unwritten()), (0, 0));
        }
    }

    #[test]
    fn unused_accounts_are_removed() {
        let accounts = Accounts::new(LIMITS);
        let user = ByteString::from("alice");
        let session = accounts.of_session(Some(&user), None);
        let share = session.take(Resource::Destinations).unwrap();
        drop(session);
        assert_eq!(accounts.len(), 1, "a share outlives the session");
        let again = accounts.of_session(Some(&user), None);
        drop(share);
        assert_eq!(accounts.len(), 1);
        drop(again);
        assert_eq!(accounts.len(), 0);
    }

    #[test]
    fn errors_name_limit_and_remedy() {
        let error = ShareUsedUp {
            holder: Holder::Session,
            resource: Resource::ScannedPatterns,
            limit: 16,
        };
        assert_eq!(
            error.to_string(),
            "the session has 16 subscriptions with `?`, several `*` in a segment, or many segments with wildcards, as \
             many as the broker allows; unsubscribe from some, or use at most one `*` a segment"
        );
    }
}
