//! Interception of a handshake, before a connection is opened.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytestring::ByteString;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header};

use crate::model::user::User;
use crate::net::endpoint::{Body, offered_protocols, text};

/// A client's request for a connection, as interceptors see it: with all its headers. They may add attributes for the
/// session.
///
/// Given to [`intercept`](super::RawEndpointBuilder::intercept).
pub struct HandshakeRequest {
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    pub(super) attributes: Extensions,
    pub(super) protocol: Option<ByteString>,
}

impl HandshakeRequest {
    /// Takes the parts that interceptors see out of the request.
    pub(super) fn take(parts: &mut Parts, protocol: Option<ByteString>) -> Self {
        Self {
            uri: parts.uri.clone(),
            headers: std::mem::take(&mut parts.headers),
            extensions: std::mem::take(&mut parts.extensions),
            attributes: Extensions::new(),
            protocol,
        }
    }

    /// Puts them back.
    pub(super) fn give_back(self, parts: &mut Parts) -> (Extensions, Option<ByteString>) {
        parts.headers = self.headers;
        parts.extensions = self.extensions;
        (self.attributes, self.protocol)
    }

    /// The request's path and query.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// All headers of the request. A session keeps none but those named by
    /// [`keep_headers`](super::RawEndpointBuilder::keep_headers).
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header's value, if it is present and readable as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Values that middleware added to the request.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The `Origin` header: the web page that the client's script came from. It is an allowed one.
    pub fn origin(&self) -> Option<&str> {
        self.header(header::ORIGIN.as_str())
    }

    /// The client's address, if a middleware put a `std::net::SocketAddr` into the extensions.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.extensions.get().copied()
    }

    /// The session's user, as known so far.
    pub fn user(&self) -> Option<&User> {
        self.extensions.get()
    }

    /// The same request, with this user.
    #[must_use]
    pub fn with_user(mut self, user: User) -> Self {
        self.extensions.insert(user);
        self
    }

    /// The session's [attributes](super::SocketSender::attributes) so far, by type.
    pub fn attributes(&self) -> &Extensions {
        &self.attributes
    }

    /// The same request, with one more attribute for the session; one of the same type is replaced.
    #[must_use]
    pub fn with_attribute<T: Clone + Send + Sync + 'static>(mut self, attribute: T) -> Self {
        self.attributes.insert(attribute);
        self
    }

    /// The sub-protocols that the client offers, in its order.
    pub fn offered_protocols(&self) -> impl Iterator<Item = &str> {
        offered_protocols(&self.headers)
    }

    /// The sub-protocol for the answer: the first of the endpoint's [own](super::RawEndpointBuilder::protocols) that
    /// the client offers.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The same request, to be answered with this sub-protocol. It should be one that the client offers: for any other
    /// the client must close the connection (RFC 6455 §4.1).
    #[must_use]
    pub fn with_protocol(mut self, protocol: impl Into<ByteString>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }
}

/// Leaves out header values, which may be secret.
impl fmt::Debug for HandshakeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeRequest")
            .field("path", &self.uri.path())
            .field("origin", &self.origin())
            .field("user", &self.user())
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// An interceptor's refusal: the HTTP answer that the client receives instead of a connection.
///
/// # Example: a refusal that names the place to get a token
///
/// ```
/// use http::{HeaderValue, StatusCode, header};
/// use tramline::raw::HandshakeRefused;
///
/// let refused = HandshakeRefused::new(StatusCode::UNAUTHORIZED, "log in first")
///     .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
/// assert_eq!(refused.to_string(), "401 Unauthorized: log in first");
/// ```
#[derive(Clone, Debug)]
pub struct HandshakeRefused {
    status: StatusCode,
    reason: ByteString,
    headers: HeaderMap,
}

impl HandshakeRefused {
    /// An answer with this status and a body with the reason. A status below 300 is no refusal, and is replaced by 403.
    ///
    /// Scripts in browsers cannot read either: they see only that the connection failed.
    pub fn new(status: StatusCode, reason: impl Into<ByteString>) -> Self {
        let refuses = status.as_u16() >= 300;
        Self {
            status: if refuses {
                status
            } else {
                StatusCode::FORBIDDEN
            },
            reason: reason.into(),
            headers: HeaderMap::new(),
        }
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = text(self.status, "");
        *response.body_mut() = Body::from(self.reason.into_bytes());
        response.headers_mut().extend(self.headers);
        response
    }
}

impl fmt::Display for HandshakeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.reason)
    }
}

impl std::error::Error for HandshakeRefused {}

type Intercepted = Pin<Box<dyn Future<Output = Result<HandshakeRequest, HandshakeRefused>> + Send>>;

/// A type-erased interceptor.
pub(super) type Interceptor = Box<dyn Fn(HandshakeRequest) -> Intercepted + Send + Sync>;

pub(super) fn erase<I, F>(interceptor: I) -> Interceptor
where
    I: Fn(HandshakeRequest) -> F + Send + Sync + 'static,
    F: Future<Output = Result<HandshakeRequest, HandshakeRefused>> + Send + 'static,
{
    Box::new(move |request| Box::pin(interceptor(request)))
}
