//! The network's side: HTTP endpoints, transports, wire forms, timers.

pub(crate) mod compression;
pub(crate) mod drain;
pub(crate) mod endpoint;
pub(crate) mod lifecycle;
pub(crate) mod listener;
pub(crate) mod measures;
pub(crate) mod message;
pub(crate) mod open_sessions;
pub(crate) mod places;
pub(crate) mod proof;
pub(crate) mod secured;
#[cfg(feature = "serve")]
pub(crate) mod served;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod wheel;
pub(crate) mod wire;
