use std::fmt;

/// The command of a frame: its first line.
///
/// Commands are case-sensitive (STOMP 1.2, "Augmented BNF").
///
/// # Example: which frames carry a body
///
/// ```
/// use tramline_stomp::Command;
///
/// assert_eq!(Command::parse(b"SEND"), Some(Command::Send));
/// assert_eq!(Command::parse(b"send"), None);
/// assert!(Command::Send.may_have_body());
/// assert!(!Command::Subscribe.may_have_body());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Command {
    /// A client opens its session.
    Connect,
    /// The same as CONNECT, since 1.1: it lets servers distinguish it from HTTP's CONNECT.
    Stomp,
    /// The server accepts the session.
    Connected,
    /// A client sends a message to a destination.
    Send,
    /// A client subscribes to a destination.
    Subscribe,
    /// A client ends a subscription.
    Unsubscribe,
    /// A client has consumed a message.
    Ack,
    /// A client has not consumed a message.
    Nack,
    /// A client opens a transaction.
    Begin,
    /// A client completes a transaction.
    Commit,
    /// A client aborts a transaction.
    Abort,
    /// A client ends its session.
    Disconnect,
    /// The server delivers a message to a subscription.
    Message,
    /// The server has done what a frame with `receipt` asked for.
    Receipt,
    /// The server reports a failure and closes.
    Error,
}

impl Command {
    /// The command as written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Connect => "CONNECT",
            Command::Stomp => "STOMP",
            Command::Connected => "CONNECTED",
            Command::Send => "SEND",
            Command::Subscribe => "SUBSCRIBE",
            Command::Unsubscribe => "UNSUBSCRIBE",
            Command::Ack => "ACK",
            Command::Nack => "NACK",
            Command::Begin => "BEGIN",
            Command::Commit => "COMMIT",
            Command::Abort => "ABORT",
            Command::Disconnect => "DISCONNECT",
            Command::Message => "MESSAGE",
            Command::Receipt => "RECEIPT",
            Command::Error => "ERROR",
        }
    }

    /// Parses a line without its line end.
    pub fn parse(line: &[u8]) -> Option<Command> {
        Some(match line {
            b"CONNECT" => Command::Connect,
            b"STOMP" => Command::Stomp,
            b"CONNECTED" => Command::Connected,
            b"SEND" => Command::Send,
            b"SUBSCRIBE" => Command::Subscribe,
            b"UNSUBSCRIBE" => Command::Unsubscribe,
            b"ACK" => Command::Ack,
            b"NACK" => Command::Nack,
            b"BEGIN" => Command::Begin,
            b"COMMIT" => Command::Commit,
            b"ABORT" => Command::Abort,
            b"DISCONNECT" => Command::Disconnect,
            b"MESSAGE" => Command::Message,
            b"RECEIPT" => Command::Receipt,
            b"ERROR" => Command::Error,
            _ => return None,
        })
    }

    /// Returns true if a frame with this command may carry a body: SEND, MESSAGE and ERROR (STOMP 1.2, "Body").
    pub fn may_have_body(self) -> bool {
        matches!(self, Command::Send | Command::Message | Command::Error)
    }

    /// Returns true for frames of the opening handshake, which are never escaped (STOMP 1.2, "Value Encoding").
    pub(crate) fn is_handshake(self) -> bool {
        matches!(self, Command::Connect | Command::Stomp | Command::Connected)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
