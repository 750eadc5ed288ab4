//! Load generator and attackers for servers that speak STOMP over WebSocket; `cargo xtask bench` and `cargo xtask attack`
//! run it.
//!
//! It shares no code with the server under test: what it sends and counts does not depend on what it measures.

pub mod attack;
pub mod connection;
pub mod flood;
mod frames;
pub mod latencies;
pub mod process;
mod victim;
pub mod workload;
