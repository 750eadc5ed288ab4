//! Values that handlers, sessions and the stack share: users, messages, effects, events.

pub(crate) mod attributes;
pub(crate) mod buckets;
pub(crate) mod build_error;
pub(crate) mod clock;
pub(crate) mod connected;
pub(crate) mod counter;
pub(crate) mod disconnected;
pub(crate) mod effects;
pub(crate) mod events;
#[cfg(feature = "metrics")]
pub(crate) mod histogram;
pub(crate) mod inbound;
pub(crate) mod log;
pub(crate) mod network;
pub(crate) mod panics;
pub(crate) mod prefix;
pub(crate) mod rates;
pub(crate) mod rejection;
pub(crate) mod reply;
pub(crate) mod secret;
pub(crate) mod temporary;
pub(crate) mod traffic;
pub(crate) mod user;
pub(crate) mod values;
