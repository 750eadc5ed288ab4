//! The echo as the gallery mounts it; `main.rs` is a whole application.

#[path = "main.rs"]
#[allow(
    dead_code,
    missing_docs,
    reason = "`main` is for running the example alone"
)]
mod transports;

pub use transports::Echoes;
