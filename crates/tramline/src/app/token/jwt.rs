//! JSON Web Tokens.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytestring::ByteString;
pub use jsonwebtoken::Algorithm;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::keys::{FETCH_TIME, Fetch, KeyError, KeySet, Keys, Remote};
use super::{TokenError, Verify};
use crate::model::clock::wall_clock;
use crate::model::user::User;

/// JSON Web Tokens (RFC 7519), signed by keys that the application has, or that an issuer publishes. Feature `jwt`.
///
/// * **Only the algorithms that are named** are taken, so that neither `none` nor a secret made of a public key passes; a key
///   checks signatures of its own kind alone.
/// * A token must have `exp`, and what is required by [`issuer`](Self::issuer) and [`audience`](Self::audience). A token for
///   an audience is refused where none is set. `nbf` counts. Clocks may differ by [`leeway`](Self::leeway).
/// * The user is the claim `sub`, or [another](Self::name_claim); its roles are those of [`roles_claim`](Self::roles_claim).
///   All claims go to [`Claims`](super::Claims).
///
/// # Example: a public key in a file
///
/// ```no_run
/// use tramline::token::{Algorithm, Jwt, Tokens};
///
/// let key = std::fs::read("issuer.pem")?;
/// let jwt = Jwt::public_key(Algorithm::RS256, &key)?
///     .issuer("https://login.example")
///     .audience("chat")
///     .roles_claim("roles");
/// let tokens = Tokens::new(jwt);
/// # let _ = tokens;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "give it to `Tokens::new`"]
pub struct Jwt {
    keys: Keys,
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    audience: Vec<String>,
    leeway: Duration,
    name_claim: ByteString,
    roles_claim: Option<ByteString>,
}

/// Bytes of the longest token: more than any that fits into a header.
const LONGEST: usize = 16 * 1024;

/// The fewest bytes of a secret: those of the shortest signature that is made with it (RFC 7518 §3.2).
const SHORTEST_SECRET: usize = 32;

impl Jwt {
    fn new(keys: Keys, algorithms: Vec<Algorithm>) -> Self {
        Self {
            keys,
            algorithms,
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::from_secs(60),
            name_claim: ByteString::from_static("sub"),
            roles_claim: None,
        }
    }

    /// Tokens that are signed by the private part of this key: RSA (`RS…`, `PS…`), elliptic curve (`ES…`) or Ed25519
    /// (`EdDSA`), in PEM.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the key cannot be read, or the algorithm is one of secrets.
    pub fn public_key(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        let key = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                return Err(KeyError(format!(
                    "{algorithm:?} has a secret, not a public key: use `Jwt::secret`"
                )));
            }
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
            _ => DecodingKey::from_rsa_pem(pem),
        };
        let key =
            key.map_err(|error| KeyError(format!("no public key for {algorithm:?}: {error}")))?;
        Ok(Self::new(Keys::Fixed(KeySet::of(key)), vec![algorithm]))
    }

    /// Tokens that are signed with a secret that both sides have, by HS256: whoever checks these tokens can make them.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the secret has less than 32 bytes.
    ///
    /// # Example: a secret that is too short to be one
    ///
    /// ```
    /// use tramline::token::Jwt;
    ///
    /// let error = Jwt::secret(b"password").unwrap_err();
    /// assert!(error.to_string().contains("8 bytes"));
    /// ```
    pub fn secret(secret: &[u8]) -> Result<Self, KeyError> {
        let length = secret.len();
        if length < SHORTEST_SECRET {
            return Err(KeyError(format!(
                "a secret of {length} bytes can be guessed: HS256 needs {SHORTEST_SECRET} random bytes"
            )));
        }
        let key = DecodingKey::from_secret(secret);
        let key = key.map_err(|error| KeyError(format!("no secret: {error}")))?;
        let keys = KeySet::of(key);
        Ok(Self::new(Keys::Fixed(keys), vec![Algorithm::HS256]))
    }

    /// Tokens that are signed by one of the keys of a JSON Web Key Set (RFC 7517), as from a file.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if it has no key for signatures, or an algorithm is one of secrets.
    pub fn key_set(
        algorithms: impl IntoIterator<Item = Algorithm>,
        json: &[u8],
    ) -> Result<Self, KeyError> {
        let keys = KeySet::parse(json).map_err(KeyError)?;
        Self::published(Keys::Fixed(keys), algorithms)
    }

    /// Tokens that are signed by one of the keys that are published at `url`, as JSON Web Key Set. They are fetched at the first
    /// token, when one has an unknown key (at most once in 10 s), and when they are 10 minutes old; while that fails, keys
    /// that were fetched before go on.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if an algorithm is one of secrets, or there is none.
    pub fn remote_keys(
        algorithms: impl IntoIterator<Item = Algorithm>,
        url: impl Into<String>,
        fetch: impl Fetch,
    ) -> Result<Self, KeyError> {
        let remote = Remote::new(url.into(), Arc::new(fetch));
        Self::published(Keys::Remote(remote), algorithms)
    }

    /// Tokens of an OpenID Connect provider: fetches its description, which says where its keys are, and requires it as the
    /// [`issuer`](Self::issuer). Set the [`audience`](Self::audience) too.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the description cannot be fetched, or is another issuer's.
    ///
    /// # Example: with any HTTP client
    ///
    /// ```no_run
    /// use tramline::token::{Algorithm, Jwt, Tokens};
    ///
    /// # async fn get(_: &str) -> Result<Vec<u8>, std::io::Error> { Ok(Vec::new()) }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let fetch = |url: String| async move { get(&url).await }; // reqwest: get(url).await?.error_for_status()?.bytes().await
    /// let jwt = Jwt::discover([Algorithm::RS256], "https://login.example", fetch).await?.audience("chat");
    /// let tokens = Tokens::new(jwt);
    /// # let _ = tokens;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn discover(
        algorithms: impl IntoIterator<Item = Algorithm>,
        issuer: impl Into<String>,
        fetch: impl Fetch,
    ) -> Result<Self, KeyError> {
        let issuer = issuer.into();
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let fetched = tokio::time::timeout(FETCH_TIME, fetch.fetch(url.clone())).await;
        let wrong = |why: &dyn fmt::Display| KeyError(format!("{url}: {why}"));
        let json = fetched
            .map_err(|_| wrong(&format_args!("no answer within {FETCH_TIME:?}")))?
            .map_err(|error| wrong(&error))?;
        let description: Value = serde_json::from_slice(&json).map_err(|error| wrong(&error))?;
        let text = |name: &str| description.get(name).and_then(Value::as_str);
        if text("issuer") != Some(&issuer) {
            return Err(wrong(&format_args!(
                "it describes the issuer {:?}, not {issuer:?}",
                text("issuer").unwrap_or_default()
            )));
        }
        let keys = text("jwks_uri").ok_or_else(|| wrong(&"it has no `jwks_uri`"))?;
        Ok(Self::remote_keys(algorithms, keys, fetch)?.issuer(issuer))
    }

    fn published(
        keys: Keys,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, KeyError> {
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        let is_secret = |algorithm: &&Algorithm| {
            matches!(
                algorithm,
                Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
            )
        };
        if let Some(algorithm) = algorithms.iter().find(is_secret) {
            return Err(KeyError(format!(
                "{algorithm:?} has a secret, which no key set publishes"
            )));
        }
        if algorithms.is_empty() {
            return Err(KeyError("no algorithm: no token could be valid".into()));
        }
        Ok(Self::new(keys, algorithms))
    }

    /// Takes only tokens of this issuer (`iss`).
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Takes only tokens that are for this audience (`aud`), or for another that was set.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience.push(audience.into());
        self
    }

    /// Sets by how much the issuer's clock may differ from this one. Default 60 s. A token, and its session, end that much
    /// later.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets the claim that names the user. Default `sub`. It must be one that the issuer's users cannot choose.
    pub fn name_claim(mut self, claim: impl Into<ByteString>) -> Self {
        self.name_claim = claim.into();
        self
    }

    /// Sets the claim that has the user's roles: a list of texts, or one text with spaces between them, as `scope` is.
    /// Default: none, and so no roles. A `.` leads into an object: `realm_access.roles`.
    pub fn roles_claim(mut self, claim: impl Into<ByteString>) -> Self {
        self.roles_claim = Some(claim.into());
        self
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        // Looked at by `user`, by a clock that tests can stop.
        validation.validate_exp = false;
        let mut required = vec!["exp"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    /// The user of claims that are signed.
    fn user(&self, claims: Map<String, Value>) -> Result<User, TokenError> {
        let time = |name: &str| -> Result<Option<SystemTime>, TokenError> {
            let Some(value) = claims.get(name) else {
                return Ok(None);
            };
            let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0);
            let since = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let time = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
            match time {
                Some(time) => Ok(Some(time)),
                None => Err(TokenError::invalid(format_args!("`{name}` is no time"))),
            }
        };
        let now = wall_clock();
        if let Some(begin) = time("nbf")?
            && begin
                .duration_since(now)
                .is_ok_and(|wait| wait > self.leeway)
        {
            return Err(TokenError::invalid("it is not valid yet"));
        }
        let end = time("exp")?.ok_or_else(|| TokenError::invalid("it has no `exp`"))?;
        let end = end.checked_add(self.leeway).unwrap_or(end);
        if end <= now {
            return Err(TokenError::expired());
        }
        let name = claims.get(&*self.name_claim).and_then(Value::as_str);
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            let claim = &self.name_claim;
            return Err(TokenError::invalid(format_args!("it has no `{claim}`")));
        };
        let mut user = User::new(name).expiring_at(end);
        if let Some(path) = &self.roles_claim {
            let mut roles = claims.get(&**path);
            if roles.is_none() {
                let (first, rest) = path.split_once('.').unwrap_or((path, ""));
                let found = claims.get(first);
                roles =
                    found.and_then(|found| rest.split('.').try_fold(found, |at, key| at.get(key)));
            }
            user = match roles {
                Some(Value::Array(roles)) => {
                    user.with_roles(roles.iter().filter_map(Value::as_str))
                }
                Some(Value::String(roles)) => user.with_roles(roles.split_whitespace()),
                _ => user,
            };
        }
        Ok(user.with_claims(claims))
    }
}

impl Verify for Jwt {
    async fn verify(&self, token: String) -> Result<User, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::invalid(format_args!(
                "it has {} bytes, and {LONGEST} are the most",
                token.len()
            )));
        }
        let header = decode_header(&token).map_err(TokenError::invalid)?;
        if !self.algorithms.contains(&header.alg) {
            return Err(TokenError::invalid(format_args!(
                "it is signed by {:?}, and only {:?} is taken",
                header.alg, self.algorithms
            )));
        }
        let validation = self.validation(header.alg);
        let id = header.kid.as_deref();
        let decoded = self.keys.with(id, header.alg, |key| {
            decode::<Map<String, Value>>(&token, key, &validation)
        });
        let claims = decoded.await?.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => TokenError::expired(),
            _ => TokenError::invalid(error),
        })?;
        self.user(claims.claims)
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("algorithms", &self.algorithms)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
