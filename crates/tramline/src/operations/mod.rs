//! What operators see of a process: metrics and health.

mod answer;
#[cfg(feature = "metrics")]
mod exposition;
#[cfg(feature = "metrics")]
mod families;
pub(crate) mod health;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
