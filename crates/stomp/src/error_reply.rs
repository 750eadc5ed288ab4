use bytestring::ByteString;

use crate::command::Command;
use crate::frame::Frame;
use crate::headers::Headers;

/// The content of an ERROR frame.
///
/// # Example: a reply that tells the client what to do
///
/// ```
/// use tramline_stomp::ErrorReply;
///
/// let reply = ErrorReply::new("the token has expired")
///     .detail("log in again and connect with the new token")
///     .receipt(Some("r-7".into()));
/// let frame = reply.into_frame();
///
/// assert_eq!(frame.headers.get("message"), Some("the token has expired"));
/// assert_eq!(frame.headers.get("receipt-id"), Some("r-7"));
/// assert_eq!(frame.headers.get("content-type"), Some("text/plain"));
/// assert_eq!(frame.body, "log in again and connect with the new token");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ErrorReply {
    /// The `message` header: one line.
    pub message: ByteString,
    /// The body, as plain text unless `headers` has a `content-type`. If it is empty, the frame's body is the message: front
    /// ends show the body.
    pub body: String,
    /// The `receipt` of the frame that failed, if it asked for one.
    pub receipt: Option<ByteString>,
    /// Further headers.
    pub headers: Headers,
}

impl ErrorReply {
    /// Creates a reply with this message, as header and as body.
    pub fn new(message: impl Into<ByteString>) -> Self {
        Self {
            message: message.into(),
            body: String::new(),
            receipt: None,
            headers: Headers::new(),
        }
    }

    /// Sets the body.
    #[must_use]
    pub fn detail(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the `receipt-id`, from the `receipt` of the frame that failed (STOMP 1.2, "ERROR": it should be there when
    /// the frame asked for a receipt).
    #[must_use]
    pub fn receipt(mut self, receipt: Option<ByteString>) -> Self {
        self.receipt = receipt;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Creates the ERROR frame: `message`, `receipt-id`, `content-type`, the further headers, the body.
    pub fn into_frame(self) -> Frame {
        let mut frame = Frame::new(Command::Error);
        let name = ByteString::from_static;
        let body = match self.body.is_empty() && self.headers.get("content-type").is_none() {
            true => self.message.to_string(),
            false => self.body,
        };
        frame.headers.push(name("message"), self.message);
        if let Some(receipt) = self.receipt {
            frame.headers.push(name("receipt-id"), receipt);
        }
        if !body.is_empty() && self.headers.get("content-type").is_none() {
            frame.headers.push(name("content-type"), name("text/plain"));
        }
        frame.headers.extend(self.headers);
        frame.body(body)
    }
}
