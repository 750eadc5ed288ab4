//! Password hashes, made and compared off the async threads.

use std::sync::Arc;
use std::thread::available_parallelism;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::name;

/// Logins that wait for their turn; one more is told to come again.
const WAITING: usize = 64;

/// A new Argon2id hash of `password`, with a random salt, in the form that [`Account`](crate::Account) takes.
///
/// It takes some 20 ms and 19 MiB on purpose: call it at a registration in `spawn_blocking`.
///
/// # Example: for a file of users
///
/// ```
/// let hash = tramline_login::hash_password("correct horse battery staple");
/// assert!(hash.starts_with("$argon2id$"));
/// ```
pub fn hash_password(password: &str) -> String {
    password_auth::generate_hash(name::password(password))
}

/// Compares passwords with hashes, so many at a time as there are processors: each takes 19 MiB.
#[derive(Debug)]
pub(crate) struct Hashing {
    turns: Arc<Semaphore>,
    places: Semaphore,
    /// What an unknown name is compared with: the hash that was found last, so that it costs what a known one costs.
    dummy: Mutex<Arc<str>>,
}

/// Too many logins wait already.
#[derive(Debug)]
pub(crate) struct Busy;

impl Hashing {
    pub(crate) fn new() -> Self {
        let turns = available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(turns)),
            places: Semaphore::new(turns + WAITING),
            dummy: Mutex::new(DUMMY.into()),
        }
    }

    /// Whether `password` fits the hash of the user; without one the same work is done, in vain.
    pub(crate) async fn fits(&self, hash: Option<&str>, password: &str) -> Result<bool, Busy> {
        let _place = self.places.try_acquire().map_err(|_| Busy)?;
        let compared: Arc<str> = match hash {
            Some(hash) => {
                let hash: Arc<str> = hash.into();
                *self.dummy.lock() = Arc::clone(&hash);
                hash
            }
            None => Arc::clone(&self.dummy.lock()),
        };
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = turn.await.map_err(|_| Busy)?;
        let password = name::password(password);
        let compare = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            password_auth::verify_password(password, &compared).is_ok()
        });
        // A panic of the hash function is a password that does not fit.
        let fits = compare.await.unwrap_or(false);
        Ok(fits && hash.is_some())
    }
}

/// Argon2id with the parameters of [`hash_password`], of a password that nobody has kept.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$+UjD4+Y76kFPlZloApMn6A$wYSnXybtHccOWs3R3579FlVvzgK1Jcfkymnj5zVlk8U";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dummy_costs_what_a_new_hash_costs() {
        let new = hash_password("x");
        let costs = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(costs(DUMMY), costs(&new));
    }

    #[tokio::test]
    async fn only_a_password_with_a_hash_fits() {
        let hashing = Hashing::new();
        let hash = hash_password("Zoë");
        assert!(hashing.fits(Some(&hash), "Zoe\u{308}").await.unwrap());
        assert!(!hashing.fits(Some(&hash), "zoë").await.unwrap());
        assert!(!hashing.fits(Some("no hash"), "Zoë").await.unwrap());
        assert!(!hashing.fits(None, "Zoë").await.unwrap());
    }

    #[tokio::test]
    async fn one_login_too_many_is_turned_away() {
        let hashing = Hashing::new();
        let all = hashing.places.available_permits();
        let _taken = hashing.places.acquire_many(all as u32).await.unwrap();
        assert!(hashing.fits(None, "x").await.is_err());
    }
}
