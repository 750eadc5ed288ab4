//! The guide: pages to read, in the order a newcomer meets things.

#[doc = include_str!("broker.md")]
pub mod broker {}
