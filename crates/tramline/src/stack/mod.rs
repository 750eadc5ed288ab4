//! One messaging stack: its builder, and the state its sessions share.

pub(crate) mod builder;
pub(crate) mod clients;
mod extract;
pub(crate) mod intents;
pub(crate) mod limits;
pub(crate) mod messaging;
mod observer;
pub mod policy;
pub(crate) mod presence;
pub(crate) mod rates;
pub(crate) mod registry;
mod review;
pub(crate) mod shared;
pub(crate) mod stats;
#[cfg(feature = "console")]
pub(crate) mod trace;
pub(crate) mod watch;
