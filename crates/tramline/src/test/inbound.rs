//! A message as extractors see it, without a client.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use bytestring::ByteString;
use http::{Extensions, HeaderName, HeaderValue, Request};
use serde::Serialize;
use tramline_stomp::Headers;

use crate::model::inbound::{Cause, Inbound, SessionRecord};
use crate::model::user::User;
use crate::net::endpoint::{Front, session_info};

/// Begins a client's message to `destination`, for testing an extractor of your own by itself.
///
/// # Example: an extractor and its rejection
///
/// ```
/// use tramline::extract::FromMessageParts;
/// use tramline::test::inbound;
/// use tramline::{Inbound, Rejection};
///
/// /// The `priority` header; normal is 4.
/// #[derive(Debug, PartialEq)]
/// struct Priority(u8);
///
/// impl<S: Sync> FromMessageParts<S> for Priority {
///     type Rejection = Rejection;
///
///     async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
///         let Some(text) = message.headers().get("priority") else { return Ok(Self(4)) };
///         text.parse().map(Self).map_err(|error| Rejection::bad_message(format!("priority {text:?}: {error}")))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let urgent = inbound("/app/orders").user("alice").header("priority", "9").body("one").build();
/// assert_eq!(Priority::from_message_parts(&urgent, &()).await, Ok(Priority(9)));
///
/// let wrong = inbound("/app/orders").header("priority", "very").build();
/// let rejection = Priority::from_message_parts(&wrong, &()).await.unwrap_err();
/// assert!(rejection.to_string().contains("priority \"very\""));
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn inbound(destination: impl Into<ByteString>) -> TestInbound {
    let destination = destination.into();
    TestInbound {
        headers: Headers::from_iter([("destination", &*destination)]),
        destination,
        captures: Vec::new(),
        body: Bytes::new(),
        user: None,
        kept: Vec::new(),
        extensions: Extensions::new(),
    }
}

/// Makes an [`Inbound`]: from [`inbound`].
#[derive(Clone, Debug)]
#[must_use = "finish with `build`"]
pub struct TestInbound {
    destination: ByteString,
    headers: Headers,
    captures: Vec<(ByteString, ByteString)>,
    body: Bytes,
    user: Option<User>,
    kept: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
}

impl TestInbound {
    /// Sets the sender. Default: an anonymous session.
    pub fn user(mut self, user: impl Into<User>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// One more header of the frame; `destination` is there already.
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Adds a capture of the route's pattern, decoded: a message that no router matched has no captures of its own.
    pub fn capture(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.captures.push((name.into(), value.into()));
        self
    }

    /// The body. Default: empty.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body, as JSON.
    ///
    /// # Panics
    ///
    /// If `value` cannot be written as JSON.
    #[track_caller]
    pub fn json(self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => panic!("the body cannot be written as JSON: {error}"),
        }
    }

    /// A header of the session's HTTP request that is [kept](crate::MessagingBuilder::keep_headers), for
    /// [`Handshake::header`](crate::login::Handshake::header).
    pub fn kept_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.kept.push((name, value));
        self
    }

    /// Adds a value as a layer would for the handler: see [`Extension`](crate::extract::Extension).
    pub fn extension(mut self, value: impl Clone + Send + Sync + 'static) -> Self {
        self.extensions.insert(value);
        self
    }

    /// The message, from a session of its own.
    pub fn build(self) -> Inbound {
        let front = Front {
            keep_headers: self.kept.iter().map(|(name, _)| name.clone()).collect(),
            ..Front::default()
        };
        let (mut request, ()) = Request::new(()).into_parts();
        request.headers.extend(self.kept);
        if let Some(user) = self.user {
            request.extensions.insert(user);
        }
        let session = SessionRecord::new(session_info(&front, &request), Weak::new(), "memory");
        Inbound {
            captures: self.captures,
            headers: self.headers,
            body: self.body,
            extensions: self.extensions,
            ..Inbound::new(Arc::new(session), Cause::Message, self.destination)
        }
    }
}
