//! The login: what an application holds.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use axum::middleware::from_fn_with_state;
use bytestring::ByteString;
use http::request::Parts;
use tower_sessions::cookie::SameSite;
use tower_sessions::{Expiry, SessionManagerLayer, SessionStore};

use crate::forms;
use crate::guard::guard;
use crate::live::{Live, LiveSessions, WebSession};
use crate::name::Name;
use crate::pages::{self, LoginForm};
use crate::passwords::{Passwords, PasswordsError};
use crate::rules::Rules;
use crate::store::{MemorySessions, Store};
use crate::throttle::{Attempts, Throttle};
use crate::ticket::{Ends, TICKET, Ticket, millis, now};
use crate::users::{Account, AnyUsers, Users, UsersError};

/// The login of an application: its pages, its web sessions, and the tie to its sockets. Clones share it.
///
/// Made by [`Login::builder`]; see the [crate's page](crate) for a whole application.
#[derive(Clone)]
pub struct Login(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    passwords: Passwords,
    pub(crate) store: Store,
    pub(crate) live: LiveSessions,
    pub(crate) ends: Ends,
    pub(crate) rules: Rules,
    pub(crate) basic: Option<String>,
    pub(crate) csrf: bool,
    pub(crate) secure: bool,
    cookie: String,
    pub(crate) after_login: String,
    pub(crate) page: Option<Page>,
    address: Address,
    attempts: Attempts,
    sweeping: AtomicBool,
}

type Page = Box<dyn Fn(&LoginForm) -> String + Send + Sync>;
type Address = Box<dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync>;

/// Makes a [`Login`].
#[must_use = "finish with `build`"]
pub struct LoginBuilder {
    users: Box<dyn AnyUsers>,
    store: Arc<dyn SessionStore>,
    ends: Ends,
    rules: Rules,
    basic: Option<String>,
    csrf: bool,
    secure: bool,
    cookie: String,
    after_login: String,
    page: Option<Page>,
    address: Address,
    throttle: Throttle,
    errors: Vec<String>,
}

/// All that is wrong with a [`LoginBuilder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginError(Vec<String>);

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the login cannot be built: {}", self.0.join("; "))
    }
}

impl std::error::Error for LoginError {}

impl Login {
    /// A login for these users, by which every path is closed to others; [`open`](LoginBuilder::open) names the exceptions.
    pub fn builder(users: impl Users) -> LoginBuilder {
        LoginBuilder {
            users: Box::new(users),
            store: Arc::new(MemorySessions::default()),
            ends: Ends {
                idle: Duration::from_secs(30 * 60),
                absolute: Duration::from_secs(12 * 3600),
            },
            rules: Rules::default(),
            basic: None,
            csrf: true,
            secure: true,
            cookie: "session".to_owned(),
            after_login: "/".to_owned(),
            page: None,
            address: Box::new(address_of),
            throttle: Throttle::default(),
            errors: Vec::new(),
        }
    }

    /// Puts the login in front of an application: adds the pages and lets through what is [open](LoginBuilder::open) or
    /// comes from somebody who has logged in. Such a request has the [`User`](tramline::User) and the [`WebSession`] in its extensions, and
    /// axum's handlers may also take the `tower_sessions::Session` for values of their own.
    ///
    /// | Request | Answer |
    /// |---|---|
    /// | `GET /login` | the page with the form; `?next=/path` says where it leads |
    /// | `POST /login` | form fields `name`, `password`, `_csrf`, `next`: 303 to the path, 401, 403 or 429 with a page that says why. To a script that does not accept `text/html`: 204, or the text alone |
    /// | `POST /logout` | ends the web session and its sockets: 303 to the login page, or 204 |
    /// | `GET /csrf` | `{"headerName":"X-CSRF-TOKEN","parameterName":"_csrf","token":"…"}`, Spring's `CsrfToken` |
    /// | a page that needs a login | 303 to the login page |
    /// | anything else that needs one | 401 |
    ///
    /// All four paths are open. Call it last, on the router that has all routes: routes that are added later are open.
    ///
    /// # Panics
    ///
    /// If the router has one of these routes itself.
    pub fn protect(&self, app: Router) -> Router {
        let sessions = SessionManagerLayer::new(self.0.store.clone())
            .with_name(self.0.cookie.clone())
            .with_secure(self.0.secure)
            .with_http_only(true)
            .with_same_site(SameSite::Lax)
            .with_path("/")
            // A cookie's own end would not know of traffic on sockets.
            .with_expiry(Expiry::OnSessionEnd);
        app.merge(forms::router(self))
            .layer(from_fn_with_state(self.clone(), guard))
            .layer(sessions)
    }

    /// Ends all web sessions of a user, on this and every other node that has the same store, and closes the sockets that
    /// this process has of them, with 1008 and the reason. Returns how many sockets were closed; other nodes close theirs
    /// within a minute.
    ///
    /// Call it after a changed password or a removed user. Sessions that begin afterwards are not concerned.
    ///
    /// # Errors
    ///
    /// That of the store. The sockets of this process are closed all the same.
    ///
    /// # Example: a password is changed
    ///
    /// ```
    /// use tramline_login::{Login, MemoryUsers, UsersError};
    ///
    /// async fn change(users: &MemoryUsers, login: &Login, name: &str, new: &str) -> Result<usize, UsersError> {
    ///     users.set_password(name, new)?;
    ///     login.revoke_user(name, "your password was changed").await
    /// }
    /// # let _ = change;
    /// ```
    pub async fn revoke_user(
        &self,
        name: &str,
        reason: impl Into<ByteString>,
    ) -> Result<usize, UsersError> {
        let name = Name::parse(name)?;
        let reason = reason.into();
        let stored = self.0.store.revoke(name.as_str()).await;
        let mut closed = 0;
        for live in self.0.live.all() {
            if live.user == name.as_str() {
                closed += self.0.end(&live, reason.clone()).await;
            }
        }
        stored?;
        Ok(closed)
    }

    /// Ends one web session and closes its sockets, with 1008 and the reason. Returns how many sockets were closed.
    pub async fn revoke(&self, session: &WebSession, reason: impl Into<ByteString>) -> usize {
        self.0.end(&session.0, reason.into()).await
    }

    /// Looks for sessions that have ended, as the task does that does so by itself, as if it were so much later.
    #[doc(hidden)]
    pub async fn look_as_if_later(&self, later: Duration) {
        self.0.sweep(now().saturating_add(millis(later))).await;
    }

    pub(crate) fn csrf(&self) -> bool {
        self.0.csrf
    }

    /// Starts the task that looks for web sessions that have ended by themselves, once; it ends with the login. Must be called
    /// in a runtime.
    pub(crate) fn start_sweeping(&self) {
        if self.0.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let every = (self.0.ends.idle / 4).clamp(Duration::from_millis(50), LONGEST_SWEEP);
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                shared.sweep(now()).await;
            }
        });
    }
}

/// How late an end in time may be noticed.
const LONGEST_SWEEP: Duration = Duration::from_secs(30);

/// How often a session is written and looked for in the store, in milliseconds.
const STORED_EVERY: u64 = 60_000;

/// The outcome of a name and a password.
pub(crate) enum Verdict {
    Right(Account),
    Wrong,
    Wait(Duration),
    Busy,
}

impl Shared {
    /// Compares a name and a password; costs the same whether or not there is such a user.
    pub(crate) async fn attempt(
        &self,
        name: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Result<Verdict, UsersError> {
        let name = Name::parse(name).ok();
        let key = name.as_ref().map_or("", Name::as_str);
        let attempt = match self.attempts.begin(key, address, Instant::now()) {
            Ok(attempt) => attempt,
            Err(wait) => return Ok(Verdict::Wait(wait)),
        };
        match self.passwords.account(name.as_ref(), password).await {
            Ok(Some(account)) => {
                self.attempts.succeeded(attempt, Instant::now());
                Ok(Verdict::Right(account))
            }
            Ok(None) => Ok(Verdict::Wrong),
            Err(PasswordsError::Busy) => Ok(Verdict::Busy),
            Err(PasswordsError::Users(error)) => Err(error),
        }
    }

    pub(crate) fn address(&self, parts: &Parts) -> Option<IpAddr> {
        (self.address)(parts)
    }

    /// Ends a web session in the store and here; returns how many sockets were closed. First the store, so that whoever comes
    /// back is not let in.
    pub(crate) async fn end(&self, live: &Live, reason: ByteString) -> usize {
        if let Err(error) = self.store.delete(&live.id).await {
            tracing::error!(%error, "ended web session not removed from its store");
        }
        live.end(reason)
    }

    /// Whether the ticket of a session holds, and its account; `Err` has the reason for its end.
    pub(crate) async fn check(
        &self,
        ticket: &Ticket,
        seen: u64,
        now: u64,
    ) -> Result<Result<Account, &'static str>, UsersError> {
        if now >= ticket.since.saturating_add(millis(self.ends.absolute)) {
            return Ok(Err("your login has reached its end: log in again"));
        }
        if now >= self.ends.at(ticket.since, seen) {
            return Ok(Err(
                "you were logged out because nothing happened for a while",
            ));
        }
        let Some(account) = self.passwords.users().account(&ticket.user).await? else {
            return Ok(Err("your account was removed"));
        };
        if account.print() != ticket.print {
            return Ok(Err("your password was changed: log in again"));
        }
        if self.store.is_revoked(&ticket.user, ticket.since).await? {
            return Ok(Err("your login was revoked: log in again"));
        }
        Ok(Ok(account))
    }

    /// Ends what has ended by itself, and writes down what sockets have prolonged.
    async fn sweep(&self, now: u64) {
        for live in self.live.all() {
            live.prune();
            if live.ended().is_some() {
                continue;
            }
            let seen = live.seen(now);
            let is_due = now >= self.ends.at(live.since, seen);
            let is_unwritten =
                seen >= live.stored.load(Ordering::Relaxed) + self.ends.written_every();
            let is_unchecked = now >= live.checked.load(Ordering::Relaxed) + STORED_EVERY;
            if !(is_due || is_unwritten || is_unchecked) {
                continue;
            }
            match self.look(&live, seen, now, is_unwritten).await {
                Ok(None) => live.checked.store(now, Ordering::Relaxed),
                Ok(Some(reason)) => {
                    self.end(&live, ByteString::from_static(reason)).await;
                }
                // A store that does not answer ends nobody's session; one that is due ends without it.
                Err(error) => {
                    tracing::warn!(%error, "web session not looked up in its store");
                    if is_due {
                        live.end(ByteString::from_static(IDLE));
                    }
                }
            }
        }
    }

    /// The reason why a session has ended, if it has; else its `seen` is written down.
    async fn look(
        &self,
        live: &Live,
        seen: u64,
        now: u64,
        write: bool,
    ) -> Result<Option<&'static str>, UsersError> {
        let Some(mut record) = self.store.load(&live.id).await? else {
            return Ok(Some("your login has ended: log in again"));
        };
        let Some(mut ticket) = Ticket::of(&record) else {
            return Ok(Some("your login has ended: log in again"));
        };
        // Another node may have seen it later.
        let seen = seen.max(ticket.seen);
        live.touch(seen);
        if let Err(reason) = self.check(&ticket, seen, now).await? {
            return Ok(Some(reason));
        }
        if write {
            ticket.seen = seen;
            record
                .data
                .insert(TICKET.to_owned(), serde_json::to_value(&ticket)?);
            self.store.save(&record).await?;
            live.stored.store(seen, Ordering::Relaxed);
        }
        Ok(None)
    }
}

const IDLE: &str = "you were logged out because nothing happened for a while";

impl LoginBuilder {
    /// Opens a path to everybody: `"/"`, `"/about"`, or all below one: `"/assets/**"`. Default: none but the login's own. May be
    /// called several times.
    pub fn open(mut self, path: &str) -> Self {
        self.errors.extend(self.rules.open(path).err());
        self
    }

    /// Says where a messaging endpoint is mounted, or a raw one. Requests there, and below for SockJS, need a login as others do,
    /// but no CSRF token: the endpoint checks their origin, and CONNECT has the token. May be called several times.
    pub fn sockets(mut self, path: &str) -> Self {
        self.errors.extend(self.rules.sockets(path).err());
        self
    }

    /// Sets the store of web sessions: one of `tower-sessions`, for example for SQLite or Redis. Default [`MemorySessions`].
    pub fn store(mut self, store: impl SessionStore) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// Sets the time after which an unused web session ends. Requests and the frames of its sockets use it. Default 30 minutes,
    /// as servlets have it; at least 1 s.
    pub fn idle_end(mut self, time: Duration) -> Self {
        self.ends.idle = time;
        self
    }

    /// Sets the time after which a web session ends however much it is used. Default 12 hours: a working day.
    pub fn absolute_end(mut self, time: Duration) -> Self {
        self.ends.absolute = time;
        self
    }

    /// Lets programs log in with each request, by HTTP Basic; `realm` is what clients show. Each such request costs a comparison
    /// of the password, some 20 ms. Default: off.
    pub fn http_basic(mut self, realm: &str) -> Self {
        if realm.is_empty()
            || !realm
                .bytes()
                .all(|b| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\')
        {
            self.errors.push(format!(
                "realm {realm:?}: must be printable ASCII without quotes and backslashes"
            ));
        }
        self.basic = Some(realm.to_owned());
        self
    }

    /// Sets the path to which a login leads that was not asked for by a page. Default `/`.
    pub fn after_login(mut self, path: &str) -> Self {
        if crate::redirect::local(path).is_none() {
            self.errors.push(format!(
                "after login {path:?}: must be a path of this server"
            ));
        }
        self.after_login = path.to_owned();
        self
    }

    /// Sets the name of the cookie with the web session. Default `session`.
    pub fn cookie_name(mut self, name: &str) -> Self {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            self.errors.push(format!(
                "cookie name {name:?}: must have letters, digits, `-`, `_` and `.` only"
            ));
        }
        self.cookie = name.to_owned();
        self
    }

    /// Sets how often passwords may be guessed. Default [`Throttle::default`].
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = throttle;
        self
    }

    /// Sets the page with the form. Default: a plain one in English. Escape what you write into it; [`LoginForm::hidden_fields`]
    /// is HTML already.
    ///
    /// # Example: a page of one's own
    ///
    /// ```
    /// use tramline_login::{Login, MemoryUsers, escape};
    ///
    /// let login = Login::builder(MemoryUsers::new()).page(|form| {
    ///     let problem = form.problem.as_deref().map(escape).unwrap_or_default();
    ///     format!(
    ///         "<!doctype html><title>Welcome</title><p role=alert>{problem}</p><form method=post action=/login>{}\
    ///          <input name=name><input name=password type=password><button>Log in</button></form>",
    ///         form.hidden_fields()
    ///     )
    /// });
    /// # let _ = login;
    /// ```
    pub fn page(mut self, page: impl Fn(&LoginForm) -> String + Send + Sync + 'static) -> Self {
        self.page = Some(Box::new(page));
        self
    }

    /// Sets how a client's address is found, for the throttle. Default: the `SocketAddr` in the request's extensions, which
    /// [`tramline::serve`](tramline::serve()) puts there, or axum's `ConnectInfo`. Behind a proxy that is the proxy's: read
    /// its header then.
    ///
    /// # Example: the address that the proxy in front adds
    ///
    /// ```
    /// use tramline_login::{Login, MemoryUsers};
    ///
    /// let login = Login::builder(MemoryUsers::new()).client_address(|parts| {
    ///     let forwarded = parts.headers.get("x-forwarded-for")?.to_str().ok()?;
    ///     forwarded.rsplit(',').next()?.trim().parse().ok()
    /// });
    /// # let _ = login;
    /// ```
    pub fn client_address(
        mut self,
        address: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.address = Box::new(address);
        self
    }

    /// Sends the cookies without `Secure`, for a server that pages reach by plain HTTP. Whoever can read the network can then take
    /// over sessions. Default: `Secure`, which browsers take from `localhost` too, without TLS.
    pub fn plain_http(mut self) -> Self {
        self.secure = false;
        self
    }

    /// Asks for no CSRF token, neither in CONNECT nor in requests. What is left is the cookie's `SameSite=Lax`, and the check of
    /// where a request comes from. For pages that cannot send the token. Default: it is asked for.
    pub fn without_csrf_tokens(mut self) -> Self {
        self.csrf = false;
        self
    }

    /// Builds the login. Starts nothing.
    ///
    /// # Errors
    ///
    /// [`LoginError`] with all that is wrong.
    ///
    /// # Example: two errors at once
    ///
    /// ```
    /// use tramline_login::{Login, MemoryUsers};
    ///
    /// let error = Login::builder(MemoryUsers::new()).open("about").after_login("https://evil.example").build().unwrap_err();
    /// let text = error.to_string();
    /// assert!(text.contains("path \"about\"") && text.contains("must be a path of this server"), "{text}");
    /// ```
    pub fn build(mut self) -> Result<Login, LoginError> {
        for path in pages::PATHS {
            self.errors.extend(self.rules.open(path).err());
        }
        if self.ends.idle < Duration::from_secs(1) {
            self.errors.push(format!(
                "idle end of {:?}: must be at least 1 s",
                self.ends.idle
            ));
        }
        if self.ends.absolute < self.ends.idle {
            self.errors.push(format!(
                "absolute end of {:?}: must not be earlier than the idle end of {:?}",
                self.ends.absolute, self.ends.idle
            ));
        }
        if !self.errors.is_empty() {
            return Err(LoginError(self.errors));
        }
        Ok(Login(Arc::new(Shared {
            passwords: Passwords::of(self.users),
            store: Store::new(self.store, self.ends),
            live: LiveSessions::default(),
            ends: self.ends,
            rules: self.rules,
            basic: self.basic,
            csrf: self.csrf,
            secure: self.secure,
            cookie: self.cookie,
            after_login: self.after_login,
            page: self.page,
            address: self.address,
            attempts: Attempts::new(self.throttle),
            sweeping: AtomicBool::new(false),
        })))
    }
}

/// The address that the server knows.
fn address_of(parts: &Parts) -> Option<IpAddr> {
    let served = parts.extensions.get::<SocketAddr>();
    let connected = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    served
        .or(connected.map(|ConnectInfo(address)| address))
        .map(SocketAddr::ip)
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("rules", &self.0.rules)
            .field("ends", &self.0.ends)
            .field("live", &self.0.live)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LoginBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginBuilder")
            .field("rules", &self.rules)
            .field("ends", &self.ends)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}
