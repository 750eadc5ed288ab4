//! The user of a session, and what is kept of its HTTP request.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use bytestring::ByteString;
use http::{Extensions, HeaderMap, HeaderName};
use serde_json::{Map, Value};
use tramline_stomp::Headers;

use super::network::network;
use super::secret::Secret;

/// The authenticated principal of a session.
///
/// Put one into the HTTP request's extensions (a middleware of your web framework that knows the login does that) and
/// the session that the request opens belongs to that user: handlers extract it, policy rules check it, user
/// destinations find it by name.
///
/// # Example: a user with roles
///
/// ```
/// use tramline::User;
///
/// let user = User::new("alice").with_roles(["admin"]);
/// assert!(user.has_role("admin") && !user.has_role("auditor"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct User(Arc<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    name: ByteString,
    roles: Box<[ByteString]>,
    /// What few users have.
    more: Option<Box<More>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct More {
    claims: Map<String, Value>,
    expires_at: Option<SystemTime>,
}

impl User {
    /// A user called `name` without roles. Names may have any characters, `/` and `@` included.
    pub fn new(name: impl Into<ByteString>) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            roles: Box::default(),
            more: None,
        }))
    }

    /// The same user with these roles, in place of those it had.
    #[must_use]
    pub fn with_roles<R: Into<ByteString>>(self, roles: impl IntoIterator<Item = R>) -> Self {
        self.with(|user| user.roles = roles.into_iter().map(Into::into).collect())
    }

    /// The same user with what its token says about it, for [`Claims`](crate::token::Claims) and
    /// [`claim`](Self::claim); in place of the claims it had. They stay on this node, and `Debug` does not show them.
    #[must_use]
    pub fn with_claims(self, claims: Map<String, Value>) -> Self {
        self.with(|user| user.more.get_or_insert_default().claims = claims)
    }

    /// The same user, whose rights end at `time`: its session is closed with 1008 then, unless it has
    /// [renewed](crate::token) them. A login that has ended already is refused.
    ///
    /// # Example: a login handler that knows the end of a ticket
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tramline::login::ConnectRefused;
    /// use tramline::{Connect, MessageRouter, User};
    ///
    /// async fn login(connect: Connect) -> Result<User, ConnectRefused> {
    ///     let name = connect.login().ok_or(ConnectRefused::new("who are you?"))?;
    ///     Ok(User::new(name).expiring_at(SystemTime::now() + Duration::from_secs(3600)))
    /// }
    ///
    /// let routes: MessageRouter = MessageRouter::new().connect(login);
    /// # let _ = routes;
    /// ```
    #[must_use]
    pub fn expiring_at(self, time: SystemTime) -> Self {
        self.with(|user| user.more.get_or_insert_default().expires_at = Some(time))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns true if the user has the role.
    pub fn has_role(&self, role: &str) -> bool {
        self.0.roles.iter().any(|has| has == role)
    }

    /// What the user's token says under this name: see [`with_claims`](Self::with_claims).
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims()?.get(name)
    }

    /// All that the user's token says; `None` without one.
    pub fn claims(&self) -> Option<&Map<String, Value>> {
        let more = self.0.more.as_deref()?;
        (!more.claims.is_empty()).then_some(&more.claims)
    }

    /// The time at which the user's rights end: see [`expiring_at`](Self::expiring_at).
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.more.as_deref()?.expires_at
    }

    pub(crate) fn shared_name(&self) -> &ByteString {
        &self.0.name
    }

    /// Adds what other nodes need to know besides the name.
    pub(crate) fn describe(&self, details: &mut Headers) {
        for role in &*self.0.roles {
            details.push(ROLE, role.clone());
        }
    }

    /// The user as another node described it.
    pub(crate) fn described(name: &ByteString, details: &Headers) -> Self {
        let roles = details.iter().filter(|(key, _)| *key == ROLE);
        Self::new(name.clone()).with_roles(roles.map(|(_, role)| ByteString::from(role)))
    }
}

/// Without claims, which may be private.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.0.name)
            .field("roles", &self.0.roles)
            .finish_non_exhaustive()
    }
}

const ROLE: &str = "role";

/// A user of that name without roles.
impl From<String> for User {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl From<&str> for User {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

const PATH: &str = "path";
const ORIGIN: &str = "origin";
const REMOTE: &str = "remote";

/// The parts of its HTTP request that a session keeps; over TCP that is the remote address alone.
///
/// It holds only the headers and extensions asked for: a browser sends some 4 KiB of headers, and an idle session should
/// not hold them.
#[derive(Clone, Default)]
pub struct Handshake {
    pub(crate) path: Box<str>,
    pub(crate) origin: Option<Box<str>>,
    pub(crate) remote: Option<SocketAddr>,
    /// What few requests have, or few stacks keep.
    kept: Option<Box<Kept>>,
}

#[derive(Clone, Default)]
struct Kept {
    query: Option<Box<str>>,
    headers: HeaderMap,
    extensions: Extensions,
    /// Until CONNECT.
    token: Option<Secret>,
}

/// Without query, headers and extensions, which may have tokens.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("path", &self.path)
            .field("origin", &self.origin)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl Handshake {
    pub(crate) fn new(path: &str, origin: Option<&str>, remote: Option<SocketAddr>) -> Self {
        Self {
            path: path.into(),
            origin: origin.map(Into::into),
            remote,
            kept: None,
        }
    }

    /// Keeps what there is of these.
    pub(crate) fn keep(
        &mut self,
        query: Option<&str>,
        headers: HeaderMap,
        extensions: Extensions,
        token: Option<Secret>,
    ) {
        if query.is_some() || !headers.is_empty() || !extensions.is_empty() || token.is_some() {
            self.kept = Some(Box::new(Kept {
                query: query.map(Into::into),
                headers,
                extensions,
                token,
            }));
        }
    }

    /// Takes the token of the request, which nobody sees here.
    pub(crate) fn take_token(&mut self) -> Option<Secret> {
        let token = self.kept.as_mut()?.token.take();
        let is_unused = |kept: &mut Box<Kept>| {
            kept.query.is_none() && kept.headers.is_empty() && kept.extensions.is_empty()
        };
        self.kept.take_if(is_unused);
        token
    }

    /// Describes it for other nodes.
    pub(crate) fn describe(&self) -> Headers {
        let mut details = Headers::new();
        details.push(PATH, &*self.path);
        if let Some(origin) = &self.origin {
            details.push(ORIGIN, &**origin);
        }
        if let Some(remote) = &self.remote {
            details.push(REMOTE, remote.to_string());
        }
        details
    }

    /// The handshake as another node described it.
    pub(crate) fn described(details: &Headers) -> Self {
        Self {
            path: details.get(PATH).unwrap_or_default().into(),
            origin: details.get(ORIGIN).map(Into::into),
            remote: details.get(REMOTE).and_then(|text| text.parse().ok()),
            ..Self::default()
        }
    }

    /// The request's path, as the endpoint saw it; empty over TCP, which has no request.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The request's query, without its `?`: `room=7` of `/ws?room=7`.
    pub fn query(&self) -> Option<&str> {
        self.kept.as_ref()?.query.as_deref()
    }

    /// A value that a middleware left in the request's extensions, if its type was named by
    /// [`MessagingBuilder::keep_extension`](crate::MessagingBuilder::keep_extension).
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.kept.as_ref()?.extensions.get()
    }

    /// The `Origin` header: the web page that the client's script came from. Programs other than browsers send none.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The address at the other end of the connection, where the web server provides it: a proxy's, if one is between
    /// and is not [trusted](crate::MessagingBuilder::trusted_proxies) to name the client's.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// The [network] whose anonymous sessions share the broker's limits.
    pub(crate) fn network(&self) -> Option<ByteString> {
        Some(match network(self.remote?.ip()) {
            IpAddr::V4(address) => address.to_string().into(),
            IpAddr::V6(network) => format!("{network}/64").into(),
        })
    }

    /// A header that was named in [`MessagingBuilder::keep_headers`](crate::MessagingBuilder::keep_headers).
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.kept.as_ref()?.headers.get(name)?.to_str().ok()
    }
}
