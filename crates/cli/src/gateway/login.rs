//! Logins of clients: by the users of a file, and by tokens.

use std::sync::{Arc, PoisonError, RwLock};

use tramline::login::ConnectRefused;
use tramline::token::{Algorithm, Jwt, Tokens, Verify};
use tramline::{Connect, State, User};
use tramline_login::{FileUsers, Passwords};

use super::file::Section;

/// The login of clients that name themselves in CONNECT.
#[derive(Clone)]
pub(super) struct Logins(Option<Passwords>);

impl Logins {
    pub(super) fn new(users: Option<FileUsers>) -> Self {
        Self(users.map(Passwords::new))
    }
}

/// A CONNECT handler. Whoever has a token or a certificate is known already.
pub(super) async fn login(
    connect: Connect,
    State(Logins(passwords)): State<Logins>,
) -> Result<Option<User>, ConnectRefused> {
    let known = connect.user();
    let (Some(passwords), None, Some(name)) = (passwords, &known, connect.login()) else {
        return Ok(known);
    };
    let user = passwords.check(name, connect.passcode().unwrap_or_default());
    let user = user.await.map_err(|error| {
        tracing::warn!(%error, "a password was not checked");
        ConnectRefused::new("logins do not work at the moment")
    })?;
    user.map(Some)
        .ok_or(ConnectRefused::new("wrong login or passcode"))
}

/// The tokens that are taken, which change when the file is read again.
#[derive(Clone)]
pub(super) struct Keys(Arc<RwLock<Arc<Jwt>>>);

impl Keys {
    pub(super) fn new(jwt: Jwt) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(jwt))))
    }

    pub(super) fn replace(&self, keys: &Self) {
        let new = keys.current();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn current(&self) -> Arc<Jwt> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where tokens are found.
#[derive(PartialEq, Eq)]
pub(super) struct Places {
    cookie: Option<String>,
    query: Option<String>,
    passcode: bool,
}

pub(super) fn tokens(keys: &Keys, places: &Places) -> Tokens {
    let keys = keys.clone();
    let mut tokens = Tokens::new(move |token| {
        let jwt = keys.current();
        async move { jwt.verify(token).await }
    });
    if let Some(name) = &places.cookie {
        tokens = tokens.cookie(name.clone());
    }
    if let Some(name) = &places.query {
        tokens = tokens.query(name.clone());
    }
    match places.passcode {
        true => tokens.passcode(),
        false => tokens,
    }
}

/// Reads the section of tokens.
pub(super) fn read_tokens(section: Section<'_>) -> Option<(Keys, Places)> {
    let places = Places {
        cookie: section.text("cookie"),
        query: section.text("query"),
        passcode: section.switch("passcode").unwrap_or(false),
    };
    let algorithms = algorithms(&section);
    let keys = ["secret", "secret_file", "public_key", "key_set"];
    let given: Vec<_> = keys.into_iter().filter(|key| section.has(key)).collect();
    let jwt = match given[..] {
        ["secret" | "secret_file"] => {
            let secret = section.secret("secret", "secret_file");
            let jwt = secret.map(|secret| Jwt::secret(secret.as_bytes()));
            if section.has("algorithms") && algorithms != [Algorithm::HS256] {
                section.wrong("algorithms", "a secret is for HS256 alone");
            }
            jwt
        }
        ["public_key"] => match algorithms[..] {
            [algorithm] => section
                .content("public_key")
                .map(|pem| Jwt::public_key(algorithm, &pem)),
            _ => {
                let what = "a public key is for one algorithm, such as [\"RS256\"]";
                section.wrong("algorithms", what);
                None
            }
        },
        ["key_set"] => section
            .content("key_set")
            .map(|json| Jwt::key_set(algorithms.iter().copied(), &json)),
        _ => {
            let what = "one key is needed: `secret`, `secret_file`, `public_key` (PEM) or `key_set` (JSON Web Keys)";
            section.wrong("public_key", what);
            None
        }
    };
    let jwt = jwt.and_then(|jwt| jwt.inspect_err(|error| section.wrong(given[0], error)).ok());
    let jwt = with_claims(&section, jwt);
    section.finish();
    Some((Keys::new(jwt?), places))
}

fn with_claims(section: &Section<'_>, jwt: Option<Jwt>) -> Option<Jwt> {
    let issuer = section.text("issuer");
    let audience = section.one_or_more("audience").unwrap_or_default();
    let leeway = section.time("leeway");
    let name_claim = section.text("name_claim");
    let roles_claim = section.text("roles_claim");
    let mut jwt = audience.into_iter().fold(jwt?, Jwt::audience);
    if let Some(issuer) = issuer {
        jwt = jwt.issuer(issuer);
    }
    if let Some(leeway) = leeway {
        jwt = jwt.leeway(leeway);
    }
    if let Some(claim) = name_claim {
        jwt = jwt.name_claim(claim);
    }
    match roles_claim {
        Some(claim) => Some(jwt.roles_claim(claim)),
        None => Some(jwt),
    }
}

fn algorithms(section: &Section<'_>) -> Vec<Algorithm> {
    let names = section.texts("algorithms").unwrap_or_default().into_iter();
    let known = names.filter_map(|name| match name.parse() {
        Ok(algorithm) => Some(algorithm),
        Err(_) => {
            let like = "an algorithm, such as \"RS256\", \"ES256\" or \"EdDSA\"";
            section.wrong("algorithms", format_args!("{name:?} is not {like}"));
            None
        }
    });
    known.collect()
}
