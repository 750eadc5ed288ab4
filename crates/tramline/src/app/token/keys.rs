//! The keys that tokens are checked with.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;

use super::TokenError;
use crate::model::clock::now;

/// Why there are no keys: a text for the developer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError(pub(super) String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

/// Fetches documents by HTTP for [`Jwt`](super::Jwt): an async function of the application's, by the HTTP client that it
/// has. It gets a URL and returns the body of a successful answer.
pub trait Fetch: Send + Sync + 'static {
    /// Fetches a document.
    ///
    /// # Errors
    ///
    /// The reason, for the log.
    fn fetch(&self, url: String) -> impl Future<Output = Result<Bytes, String>> + Send;
}

impl<F, Fut, B, E> Fetch for F
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<B, E>> + Send,
    B: Into<Bytes>,
    E: fmt::Display,
{
    async fn fetch(&self, url: String) -> Result<Bytes, String> {
        let answer = self(url).await;
        answer.map(Into::into).map_err(|error| error.to_string())
    }
}

/// Where keys come from.
pub(super) enum Keys {
    Fixed(KeySet),
    Remote(Remote),
}

/// Keys, by their ids.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    /// `None` where the key does not say: then it is any of its family.
    algorithm: Option<KeyAlgorithm>,
    key: DecodingKey,
}

impl KeySet {
    pub(super) fn of(key: DecodingKey) -> Self {
        Self(vec![Key {
            id: None,
            algorithm: None,
            key,
        }])
    }

    /// Reads a JSON Web Key Set. Keys that are not for signatures, of kinds that this library does not know, and secrets
    /// (which nobody publishes) are left out.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let mut set: serde_json::Value =
            serde_json::from_slice(json).map_err(|error| format!("no key set: {error}"))?;
        let keys = set.get_mut("keys").and_then(|keys| keys.as_array_mut());
        let Some(keys) = keys else {
            return Err("no key set: it has no `keys`".into());
        };
        // One key of an unknown kind must not hide the others.
        let keys = std::mem::take(keys).into_iter();
        let keys = keys.filter_map(|key| {
            let set = serde_json::json!({ "keys": [key] });
            serde_json::from_value::<JwkSet>(set).ok()
        });
        let keys = keys.flat_map(|set| set.keys).filter_map(|jwk| {
            let is_secret = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
            let usage = jwk.common.public_key_use.as_ref();
            let signs =
                usage.is_none_or(|usage| *usage == jsonwebtoken::jwk::PublicKeyUse::Signature);
            if is_secret || !signs {
                return None;
            }
            Some(Key {
                key: DecodingKey::from_jwk(&jwk).ok()?,
                algorithm: jwk.common.key_algorithm,
                id: jwk.common.key_id,
            })
        });
        let keys: Vec<_> = keys.collect();
        match keys.is_empty() {
            true => Err("the key set has no key for signatures".into()),
            false => Ok(Self(keys)),
        }
    }

    /// The key with this id; without one, the only key.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let is_for = |key: &&Key| {
            let known = key.algorithm.map(|known| known.to_string());
            known.is_none_or(|known| known == format!("{algorithm:?}"))
        };
        let mut keys = self.0.iter().filter(is_for);
        let key = match id {
            Some(id) => keys.find(|key| key.id.as_deref().is_none_or(|known| known == id)),
            None => keys.next().filter(|_| self.0.len() == 1),
        };
        key.map(|key| &key.key)
    }
}

/// Keys at a URL.
pub(super) struct Remote {
    url: String,
    fetch: Box<dyn Fn(String) -> Fetching + Send + Sync>,
    known: RwLock<Known>,
    /// Held while keys are fetched: once for all who wait.
    turn: tokio::sync::Mutex<()>,
}

type Fetching = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

#[derive(Default)]
struct Known {
    keys: Arc<KeySet>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

/// The age from which keys are fetched again: a key that its issuer has taken back is not taken for longer.
const MAX_AGE: Duration = Duration::from_secs(10 * 60);

/// The time between two attempts: whoever sends tokens of unknown keys causes no more.
const BETWEEN: Duration = Duration::from_secs(10);

/// The time for one attempt.
pub(super) const FETCH_TIME: Duration = Duration::from_secs(10);

impl Remote {
    pub(super) fn new(url: String, fetch: Arc<impl Fetch>) -> Self {
        Self {
            url,
            fetch: Box::new(move |url| {
                let fetch = Arc::clone(&fetch);
                Box::pin(async move { fetch.fetch(url).await })
            }),
            known: RwLock::default(),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// Fetches the keys, unless somebody has tried just before.
    async fn refresh(&self) -> Result<(), String> {
        let asked = now();
        let _turn = self.turn.lock().await;
        {
            let mut known = self.known.write();
            let has_tried = known
                .tried
                .is_some_and(|at| at >= asked || now().saturating_duration_since(at) < BETWEEN);
            if has_tried {
                return match known.fetched {
                    Some(_) => Ok(()),
                    None => Err("the keys could not be fetched just before".into()),
                };
            }
            known.tried = Some(now());
        }
        let fetching = tokio::time::timeout(FETCH_TIME, (self.fetch)(self.url.clone()));
        let json = match fetching.await {
            Ok(json) => json?,
            Err(_) => return Err(format!("no answer within {FETCH_TIME:?}")),
        };
        let keys = Arc::new(KeySet::parse(&json)?);
        let mut known = self.known.write();
        known.keys = keys;
        known.fetched = Some(now());
        Ok(())
    }

    fn is_old(&self) -> bool {
        let known = self.known.read();
        known
            .fetched
            .is_none_or(|at| now().saturating_duration_since(at) >= MAX_AGE)
    }

    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.known.read().keys)
    }
}

impl Keys {
    /// Calls `verify` with the key of this id.
    pub(super) async fn with<T>(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        verify: impl FnOnce(&DecodingKey) -> T,
    ) -> Result<T, TokenError> {
        let unknown = || TokenError::invalid("no key of ours has signed it");
        let remote = match self {
            Self::Fixed(keys) => {
                return keys.find(id, algorithm).map(verify).ok_or_else(unknown);
            }
            Self::Remote(remote) => remote,
        };
        let mut keys = remote.keys();
        if remote.is_old() || keys.find(id, algorithm).is_none() {
            let refreshed = remote.refresh().await;
            keys = remote.keys();
            // Keys that were fetched before are taken while their issuer is away.
            if let Err(error) = refreshed
                && keys.find(id, algorithm).is_none()
            {
                return Err(TokenError::unavailable(format_args!(
                    "keys of {}: {error}",
                    remote.url
                )));
            }
        }
        keys.find(id, algorithm).map(verify).ok_or_else(unknown)
    }
}
