//! The greeting as the gallery mounts it: by text (`main.rs`, a whole application) and by JSON.

#[path = "main.rs"]
#[allow(
    dead_code,
    missing_docs,
    reason = "`main` is for running the example alone"
)]
mod greeting;
pub mod json;

pub use greeting::messaging;
