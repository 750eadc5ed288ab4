//! One messaging stack: its builder, and what its sessions share.

pub(crate) mod builder;
pub(crate) mod dispatch;
mod extract;
pub(crate) mod limits;
pub(crate) mod messaging;
pub mod policy;
pub(crate) mod prefix;
pub(crate) mod presence;
pub(crate) mod registry;
pub(crate) mod shared;
pub(crate) mod stats;
