//! The fixed answers: greeting and info.

use crate::config::Config;

/// Body of the greeting, for people who open the endpoint's address.
///
/// Source: sockjs-protocol 0.3.3, "Greeting url".
pub const GREETING: &str = "Welcome to SockJS!\n";

/// The document at `/info`, which a client reads before it chooses a transport.
///
/// The client also times this request to know how long to wait for a transport to open, so answer it without delay.
///
/// The document has a fourth member, `origins`, which the protocol ignores and every server sets to `*:*`; so does this
/// one. Origins are checked when clients connect.
///
/// Source: sockjs-protocol 0.3.3, "Info test".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// True if the client may try WebSocket.
    pub websocket: bool,
    /// True if the client must send cookies, for load balancers that route by them.
    pub cookie_needed: bool,
    /// 32 unpredictable bits, new in each answer: browsers had no good source when the protocol was made.
    pub entropy: u32,
}

impl Info {
    /// Creates the answer of an endpoint with this configuration.
    #[must_use]
    pub fn new(config: &Config, entropy: u32) -> Self {
        Self {
            websocket: config.websocket,
            cookie_needed: config.cookie_needed,
            entropy,
        }
    }

    /// Returns the body; its content type is [`headers::JSON`](crate::headers::JSON).
    ///
    /// # Example: a document
    ///
    /// ```
    /// use tramline_sockjs::Info;
    ///
    /// let info = Info { websocket: true, cookie_needed: false, entropy: 7 };
    /// assert_eq!(
    ///     info.to_json(),
    ///     r#"{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":7}"#,
    /// );
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self {
            websocket,
            cookie_needed,
            entropy,
        } = self;
        format!(
            r#"{{"websocket":{websocket},"origins":["*:*"],"cookie_needed":{cookie_needed},"entropy":{entropy}}}"#
        )
    }
}
