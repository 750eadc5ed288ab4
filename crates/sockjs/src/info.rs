//! The fixed answers: greeting and info.

use crate::config::Config;

/// Body of the greeting: what a curious person sees at the endpoint's own address.
///
/// Source: sockjs-protocol 0.3.3, "Greeting url".
pub const GREETING: &str = "Welcome to SockJS!\n";

/// What `/info` tells a client before it chooses a transport.
///
/// The client also times this request to know how long to wait for a transport to open, so answer it without delay.
///
/// The document has a fourth member, `origins`, which the protocol calls ignored and every server fills with `*:*`; so does
/// this one. Who may connect is decided when they do.
///
/// Source: sockjs-protocol 0.3.3, "Info test".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Whether the client may try WebSocket.
    pub websocket: bool,
    /// Whether the client must send cookies, for load balancers that keep clients on a server by them.
    pub cookie_needed: bool,
    /// 32 unpredictable bits, other ones each time: browsers had no good source when the protocol was made.
    pub entropy: u32,
}

impl Info {
    /// The answer of an endpoint with this configuration.
    #[must_use]
    pub fn new(config: &Config, entropy: u32) -> Self {
        Self {
            websocket: config.websocket,
            cookie_needed: config.cookie_needed,
            entropy,
        }
    }

    /// The body; its content type is [`headers::JSON`](crate::headers::JSON).
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
