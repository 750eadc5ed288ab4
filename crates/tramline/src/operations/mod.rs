//! What operators see of a process: metrics, health and the console.

mod answer;
#[cfg(feature = "console")]
pub(crate) mod console;
#[cfg(feature = "metrics")]
mod exposition;
#[cfg(feature = "metrics")]
mod families;
pub(crate) mod health;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
