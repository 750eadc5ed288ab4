//! The guide: pages to read, in the order a newcomer meets things.

#[doc = include_str!("broker.md")]
pub mod broker {}

#[doc = include_str!("which-transport.md")]
pub mod which_transport {}

#[doc = include_str!("sockjs.md")]
pub mod sockjs {}

#[doc = include_str!("behind-a-proxy.md")]
pub mod behind_a_proxy {}

#[doc = include_str!("timeouts-and-limits.md")]
pub mod timeouts_and_limits {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[cfg(feature = "settings")]
#[doc = include_str!("settings.md")]
pub mod settings {}

#[cfg(feature = "test")]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[cfg(test)]
pub(crate) mod tests;
