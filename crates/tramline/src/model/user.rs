//! The user of a session, and what is kept of its HTTP request.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytestring::ByteString;
use http::{Extensions, HeaderMap, HeaderName};
use tramline_stomp::Headers;

use super::network::network;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    name: ByteString,
    roles: Vec<ByteString>,
}

impl User {
    /// A user called `name` without roles. Names may have any characters, `/` and `@` included.
    pub fn new(name: impl Into<ByteString>) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            roles: Vec::new(),
        }))
    }

    /// The same user with these roles, in place of those it had.
    #[must_use]
    pub fn with_roles<R: Into<ByteString>>(self, roles: impl IntoIterator<Item = R>) -> Self {
        Self(Arc::new(Inner {
            name: self.0.name.clone(),
            roles: roles.into_iter().map(Into::into).collect(),
        }))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns true if the user has the role.
    pub fn has_role(&self, role: &str) -> bool {
        self.0.roles.iter().any(|has| has == role)
    }

    pub(crate) fn shared_name(&self) -> &ByteString {
        &self.0.name
    }

    /// Adds what other nodes need to know besides the name.
    pub(crate) fn describe(&self, details: &mut Headers) {
        for role in &self.0.roles {
            details.push(ROLE, role.clone());
        }
    }

    /// The user as another node described it.
    pub(crate) fn described(name: &ByteString, details: &Headers) -> Self {
        let roles = details.iter().filter(|(key, _)| *key == ROLE);
        Self::new(name.clone()).with_roles(roles.map(|(_, role)| ByteString::from(role)))
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
    pub(crate) fn keep(&mut self, query: Option<&str>, headers: HeaderMap, extensions: Extensions) {
        if query.is_some() || !headers.is_empty() || !extensions.is_empty() {
            self.kept = Some(Box::new(Kept {
                query: query.map(Into::into),
                headers,
                extensions,
            }));
        }
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
