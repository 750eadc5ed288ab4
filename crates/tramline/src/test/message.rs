//! Messages that a test's client received.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tramline_stomp::{Headers, Message};

use super::transcript::shown_body;

/// A MESSAGE that a client of the test kit received.
#[derive(Clone, PartialEq, Eq)]
pub struct TestMessage(pub(super) Message);

impl TestMessage {
    /// The destination, as the client sees it: `/user/queue/errors`.
    pub fn destination(&self) -> &str {
        &self.0.destination
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name)
    }

    /// All headers, as sent.
    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(self.body()) {
            Ok(text) => text,
            Err(error) => panic!("{self:?} has a body that is no text: {error}"),
        }
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON of a `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(self.body()).unwrap_or_else(|error| {
            let wanted = std::any::type_name::<T>();
            panic!("{self:?} has a body that is no JSON of a `{wanted}`: {error}")
        })
    }
}

impl fmt::Debug for TestMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = shown_body(self.body());
        write!(f, "a message to {:?} | {body}", self.destination())
    }
}

/// The notice that a client receives of a message that was not handled as it should have been, if the application
/// leaves that to [`Rejection`](crate::Rejection)'s default: from
/// [`TestClient::expect_rejection`](super::TestClient::expect_rejection).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TestRejection {
    /// The kind of failure, as clients read it: `bad-message`.
    pub kind: String,
    /// The error.
    pub error: String,
    /// The destination of the message.
    pub destination: String,
    /// Values that the application added for programs to read.
    #[serde(default)]
    pub details: Option<serde_json::Value>,
}
