//! What a request shows besides the name of its session.

use std::net::IpAddr;

/// What tells a client from others who know the name of its session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The cookie that a browser was given, which no URL, log or `Referer` has.
    Cookie(u128),
    /// Without cookies: the network of the client, and a hash of its `Authorization`.
    Network(Option<IpAddr>, u64),
}
