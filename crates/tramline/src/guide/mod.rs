//! The guide: pages to read, in the order a newcomer meets things.
//!
//! 1. [Getting started](getting_started): from `cargo new` to two browsers that see a greeting
//! 2. [Handlers](handlers): routes, what handlers take, order
//! 3. [Replies](replies): where what they return goes, and sending from elsewhere
//! 4. [Users](users): logins, messages to one user, who is there
//! 5. [The broker](broker): topics, queues, acknowledgements, transactions
//! 6. [Missing nothing](missing_nothing): history, and clients that come back
#![cfg_attr(
    feature = "durable",
    doc = "7. [Durability](durability): queues that outlive the process"
)]
//! 8. [Security](security): logins, tokens, rules, and what SockJS adds
//! 9. [Errors](errors): what can go wrong, and who hears of it
//! 10. [Events](events): events, interceptors, layers
#![cfg_attr(
    feature = "test",
    doc = "11. [Testing](testing): handlers as functions, and clients in memory"
)]
//! 12. [Deploying](deploying): shutdown, counters, logs
#![cfg_attr(
    feature = "metrics",
    doc = "13. [Metrics and health](metrics): Prometheus, dashboards, alarms"
)]
#![cfg_attr(
    feature = "console",
    doc = "14. [The console](console): a page for operators"
)]
//! 15. [Scaling out](scaling_out): several nodes with RabbitMQ, ActiveMQ or Artemis
//!
//! Logging in by a form is the page of the crate `tramline-login`.
//!
//! About transports: [which one, or none](which_transport), [SockJS](sockjs), [behind a proxy](behind_a_proxy),
//! [mounting](mounting) in axum, hyper and others,
//! [WebSocket without STOMP](crate::raw).
//!
//! To look things up: [timeouts and limits](timeouts_and_limits).
#![cfg_attr(
    feature = "settings",
    doc = "And [settings](settings), for operators, from a file and the environment."
)]
//!
//! For those who know Spring: [the table of everything](spring), and [a back end moved step by step](migrating).

#[doc = include_str!("getting-started.md")]
pub mod getting_started {}

#[doc = include_str!("handlers.md")]
#[doc = ""]
#[cfg_attr(feature = "garde", doc = "[`Valid`]: crate::extract::Valid")]
#[cfg_attr(not(feature = "garde"), doc = "[`Valid`]: #validation")]
#[cfg_attr(feature = "test", doc = "[test kit]: crate::guide::testing")]
#[cfg_attr(not(feature = "test"), doc = "[test kit]: crate#tests")]
pub mod handlers {}

#[doc = include_str!("replies.md")]
pub mod replies {}

#[doc = include_str!("users.md")]
pub mod users {}

#[doc = include_str!("broker.md")]
pub mod broker {}

#[doc = include_str!("missing-nothing.md")]
pub mod missing_nothing {}
#[cfg(feature = "durable")]
#[doc = include_str!("durability.md")]
pub mod durability {}

#[doc = include_str!("errors.md")]
#[doc = ""]
#[cfg_attr(feature = "garde", doc = "[`Valid`]: crate::extract::Valid")]
#[cfg_attr(
    not(feature = "garde"),
    doc = "[`Valid`]: crate::guide::handlers#validation"
)]
pub mod errors {}

#[doc = include_str!("events.md")]
pub mod events {}

#[cfg(feature = "test")]
#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("deploying.md")]
#[doc = ""]
#[cfg_attr(feature = "settings", doc = "[`Settings`]: crate::settings::Settings")]
#[cfg_attr(not(feature = "settings"), doc = "[`Settings`]: crate#limits")]
#[cfg_attr(
    feature = "metrics",
    doc = "[metrics and health]: crate::guide::metrics"
)]
#[cfg_attr(
    not(feature = "metrics"),
    doc = "[metrics and health]: #health-and-counters"
)]
pub mod deploying {}

#[cfg(feature = "metrics")]
#[doc = include_str!("metrics.md")]
pub mod metrics {}

#[cfg(feature = "console")]
#[doc = include_str!("console.md")]
pub mod console {}

#[doc = include_str!("scaling-out.md")]
pub mod scaling_out {}

#[doc = include_str!("which-transport.md")]
pub mod which_transport {}

#[doc = include_str!("sockjs.md")]
pub mod sockjs {}

#[doc = include_str!("behind-a-proxy.md")]
pub mod behind_a_proxy {}

#[doc = include_str!("mounting.md")]
pub mod mounting {}

#[doc = include_str!("timeouts-and-limits.md")]
pub mod timeouts_and_limits {}

#[cfg(feature = "settings")]
#[doc = include_str!("settings.md")]
pub mod settings {}

#[doc = include_str!("spring.md")]
#[doc = ""]
#[cfg_attr(feature = "garde", doc = "[`Valid`]: crate::extract::Valid")]
#[cfg_attr(
    not(feature = "garde"),
    doc = "[`Valid`]: crate::guide::handlers#validation"
)]
#[cfg_attr(feature = "settings", doc = "[`Settings`]: crate::settings::Settings")]
#[cfg_attr(not(feature = "settings"), doc = "[`Settings`]: crate#limits")]
#[cfg_attr(feature = "test", doc = "[test kit]: crate::test")]
#[cfg_attr(not(feature = "test"), doc = "[test kit]: crate#tests")]
pub mod spring {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[cfg(test)]
mod spring_tests;
#[cfg(test)]
pub(crate) mod tests;
