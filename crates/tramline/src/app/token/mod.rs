//! Tokens: who a session belongs to, and until when.

mod claims;
#[cfg(feature = "jwt")]
mod jwt;
#[cfg(feature = "jwt")]
mod keys;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::Mutex;
use tramline_stomp::{Connect, Headers};

pub use self::claims::Claims;
#[cfg(feature = "jwt")]
pub use self::jwt::{Algorithm, Jwt};
#[cfg(feature = "jwt")]
pub use self::keys::{Fetch, KeyError};
use crate::model::clock::now;
use crate::model::secret::Secret;
use crate::model::user::User;
use crate::net::endpoint::{TokenPlaces, bearer};

/// Checks tokens: `Jwt` of the feature `jwt`, or an async function for tokens of any other kind.
///
/// # Example: tokens that another service knows
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tramline::User;
/// use tramline::token::{TokenError, Tokens};
///
/// async fn introspect(token: String) -> Result<User, TokenError> {
///     # async fn ask(_: &str) -> Result<Option<(String, u64)>, std::io::Error> { Ok(None) }
///     let answer = ask(&token).await.map_err(TokenError::unavailable)?;
///     let (name, seconds) = answer.ok_or(TokenError::invalid("unknown"))?;
///     Ok(User::new(name).expiring_at(SystemTime::now() + Duration::from_secs(seconds)))
/// }
///
/// let tokens = Tokens::new(introspect);
/// # let _ = tokens;
/// ```
pub trait Verify: Send + Sync + 'static {
    /// Returns the user whose token this is: with its roles, with [claims](User::with_claims), and with the
    /// [end](User::expiring_at) of its rights.
    ///
    /// # Errors
    ///
    /// [`TokenError`]; the login is refused.
    fn verify(&self, token: String) -> impl Future<Output = Result<User, TokenError>> + Send;
}

impl<F, Fut> Verify for F
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<User, TokenError>> + Send,
{
    fn verify(&self, token: String) -> impl Future<Output = Result<User, TokenError>> + Send {
        self(token)
    }
}

/// Why a token is not taken: a text that its client may read, and one for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    kind: Kind,
    detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Invalid,
    Expired,
    Unavailable,
}

impl TokenError {
    /// It is no token of ours. `detail` is for the log, at DEBUG: never the token.
    pub fn invalid(detail: impl fmt::Display) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// It was one.
    pub fn expired() -> Self {
        Self::new(Kind::Expired, "it has expired")
    }

    /// Whether it is one cannot be found out now. `detail` is for the log, at WARN.
    pub fn unavailable(detail: impl fmt::Display) -> Self {
        Self::new(Kind::Unavailable, detail)
    }

    fn new(kind: Kind, detail: impl fmt::Display) -> Self {
        let detail = detail.to_string();
        Self { kind, detail }
    }

    /// The text for the log.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns whether the server is at fault.
    pub(crate) fn is_fault(&self) -> bool {
        self.kind == Kind::Unavailable
    }
}

/// The text for the client.
impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Invalid => "the token is not valid",
            Kind::Expired => "the token has expired; connect again with a new one",
            Kind::Unavailable => "the server cannot check tokens now; try again later",
        })
    }
}

impl std::error::Error for TokenError {}

/// Logins by token: where tokens are looked for, and how they are checked. For
/// [`MessagingBuilder::tokens`](crate::MessagingBuilder::tokens).
///
/// A token is taken from the CONNECT frame's header `Authorization: Bearer TOKEN`, else from that header of the HTTP
/// request; from a [cookie](Self::cookie), the [query](Self::query) or the [passcode](Self::passcode) only if asked for. A
/// token that is not valid refuses the login; without a token, the session has the user that it would have had. A
/// [`connect`](crate::MessageRouter::connect) handler is called with the token's user.
///
/// # The end of a token
///
/// A session's rights end with its user's, at [`User::expires_at`]:
///
/// * A minute before ([`notice`](Self::notice)), the session receives a message at `/user/queue/session`, where every client
///   may subscribe unless the policy denies it:
///   `{"kind":"token-expiring","expires-in":60,"renew-at":"/user/queue/session"}`, times in seconds.
/// * It **renews** by a SEND of its new token to that destination: as header `Authorization: Bearer TOKEN`, or as the body.
///   The answer is `{"kind":"token-renewed","expires-in":3600}`, and a RECEIPT if the frame asks for one. Nothing else
///   happens to the session: subscriptions go on, and no message is lost. The new token may have other roles: its
///   subscriptions are [checked again](crate::Registry::recheck_session). It must be the same user's. A token that is not
///   taken is answered at `/user/queue/errors` (`token-refused`), and the session keeps the one that it has.
/// * A session that does not renew is closed with 1008 and that reason, whatever it is doing.
///
/// # Example: tokens of two users
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tramline::policy::{Policy, authenticated, permit};
/// use tramline::test::TestMessaging;
/// use tramline::token::{TokenError, Tokens};
/// use tramline::{EmbeddedBroker, Messaging, User};
///
/// async fn verify(token: String) -> Result<User, TokenError> {
///     let (name, seconds) = token.split_once('.').ok_or(TokenError::invalid("no dot"))?;
///     let seconds = seconds.parse().map_err(TokenError::invalid)?;
///     Ok(User::new(name).expiring_at(SystemTime::now() + Duration::from_secs(seconds)))
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
/// let messaging = Messaging::builder()
///     .broker(EmbeddedBroker::new().topics("/topic"))
///     .tokens(Tokens::new(verify))
///     .policy(Policy::builder().on_connect(authenticated()).otherwise(permit()))
///     .build()?;
/// let app = TestMessaging::new(messaging);
/// let alice = app.connect_with(|client| client.header("Authorization", "Bearer alice.600")).await;
/// let mut session = alice.subscribe("/user/queue/session").await;
/// alice.send("/user/queue/session", "alice.3600").await;
/// assert!(session.next_text().await.contains("token-renewed"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "give it to `MessagingBuilder::tokens`"]
pub struct Tokens {
    verify: Box<dyn Fn(String) -> VerifyFuture + Send + Sync>,
    pub(crate) places: TokenPlaces,
    in_passcode: bool,
    pub(crate) notice: Duration,
}

/// A check of a token that runs.
pub(crate) type VerifyFuture = Pin<Box<dyn Future<Output = Result<User, TokenError>> + Send>>;

/// The time before its end at which a session is told. Enough for a page whose timers a browser slows down to one a minute.
const NOTICE: Duration = Duration::from_secs(60);

impl Tokens {
    /// Logins by tokens that `verify` checks.
    pub fn new(verify: impl Verify) -> Self {
        let verify = Arc::new(verify);
        Self {
            verify: Box::new(move |token| {
                let verify = Arc::clone(&verify);
                Box::pin(async move { verify.verify(token).await })
            }),
            places: TokenPlaces {
                in_header: true,
                ..TokenPlaces::default()
            },
            in_passcode: false,
            notice: NOTICE,
        }
    }

    /// Takes a token from the cookie of this name, too. Pages of other origins are
    /// [refused](crate::MessagingBuilder::allowed_origins), so that they cannot use a visitor's cookie.
    pub fn cookie(mut self, name: impl Into<ByteString>) -> Self {
        self.places.in_cookie = Some(name.into());
        self
    }

    /// Takes a token from the parameter of this name in the query of the HTTP request, too. Queries are written to the logs
    /// of proxies: use tokens that live for a minute and are taken once.
    pub fn query(mut self, name: impl Into<ByteString>) -> Self {
        self.places.in_query = Some(name.into());
        self
    }

    /// Takes the CONNECT frame's `passcode` for a token, too: clients of brokers have no other header to set. The `login`
    /// beside it says nothing.
    pub fn passcode(mut self) -> Self {
        self.in_passcode = true;
        self
    }

    /// Sets the time before its end at which a session receives `token-expiring`. Default 60 s, enough for a page in the
    /// background, whose timers run once a minute. A session that lives less than twice as long receives it at half its
    /// time.
    pub fn notice(mut self, time: Duration) -> Self {
        self.notice = time;
        self
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("places", &self.places)
            .field("in_passcode", &self.in_passcode)
            .field("notice", &self.notice)
            .finish_non_exhaustive()
    }
}

/// The tokens of a stack.
#[derive(Debug)]
pub(crate) struct TokenService {
    pub(crate) tokens: Tokens,
    /// Where clients renew theirs, and hear about them.
    pub(crate) destination: ByteString,
    revoked: Mutex<Revoked>,
}

/// Ids of tokens that are revoked, each until its time.
#[derive(Debug, Default)]
struct Revoked {
    until: HashMap<ByteString, Instant>,
    swept: Option<Instant>,
}

/// The time for which a revoked token is remembered: longer than one should live.
const REVOKED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl TokenService {
    pub(crate) fn new(tokens: Tokens, destination: ByteString) -> Self {
        Self {
            tokens,
            destination,
            revoked: Mutex::default(),
        }
    }

    /// The token of a CONNECT frame.
    pub(crate) fn of_connect(&self, frame: &Connect) -> Option<Secret> {
        let passcode = frame.passcode.as_deref();
        let passcode = passcode.filter(|passcode| self.tokens.in_passcode && !passcode.is_empty());
        of_headers(&frame.headers).or_else(|| passcode.map(Secret::new))
    }

    pub(crate) fn verify(&self, token: Secret) -> VerifyFuture {
        (self.tokens.verify)(token.into_string())
    }

    /// Refuses the token of this id from now on.
    pub(crate) fn revoke(&self, id: &str) {
        let now = now();
        let mut revoked = self.revoked.lock();
        let is_due = |swept: Instant| now.saturating_duration_since(swept) >= NOTICE;
        if revoked.swept.is_none_or(is_due) {
            revoked.swept = Some(now);
            revoked.until.retain(|_, until| *until > now);
        }
        revoked.until.insert(id.into(), now + REVOKED);
    }

    /// Returns whether the user's token was revoked.
    pub(crate) fn is_revoked(&self, user: &User) -> bool {
        let id = token_id(user);
        let revoked = self.revoked.lock();
        id.is_some_and(|id| revoked.until.get(id).is_some_and(|until| *until > now()))
    }
}

/// The id of a user's token.
pub(crate) fn token_id(user: &User) -> Option<&str> {
    user.claim("jti")?.as_str()
}

/// The token in a frame's header `Authorization`, whose name may have any case.
pub(crate) fn of_headers(headers: &Headers) -> Option<Secret> {
    let mut headers = headers.iter();
    let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    bearer(value).map(Secret::new)
}
