use std::{fmt, str::FromStr};

use crate::text::excerpt;

/// How a subscription's messages are acknowledged: the `ack` header of SUBSCRIBE.
///
/// # Example: the spelling on the wire
///
/// ```
/// use tramline_stomp::AckMode;
///
/// assert_eq!("client-individual".parse(), Ok(AckMode::ClientIndividual));
/// assert_eq!(AckMode::Client.to_string(), "client");
/// assert_eq!(AckMode::default(), AckMode::Auto, "what an absent header means");
/// assert!("Auto".parse::<AckMode>().is_err(), "values are case-sensitive");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AckMode {
    /// A message is done once it was sent; the client sends no ACK.
    #[default]
    Auto,
    /// The client acknowledges; one ACK counts for all messages of the subscription up to its own.
    Client,
    /// The client acknowledges each message. STOMP 1.0 does not define this mode, but its sessions may use it.
    ClientIndividual,
}

impl AckMode {
    /// Every mode.
    pub const ALL: [AckMode; 3] = [AckMode::Auto, AckMode::Client, AckMode::ClientIndividual];

    /// The value of the `ack` header.
    pub fn as_str(self) -> &'static str {
        match self {
            AckMode::Auto => "auto",
            AckMode::Client => "client",
            AckMode::ClientIndividual => "client-individual",
        }
    }
}

impl fmt::Display for AckMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AckMode {
    type Err = InvalidAckMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        AckMode::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| InvalidAckMode(excerpt(text)))
    }
}

/// A text that is not one of the three ack modes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not an ack mode; send auto, client or client-individual")]
pub struct InvalidAckMode(String);
