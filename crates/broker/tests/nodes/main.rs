//! Several nodes in one process, joined by an engine: the interface of hub and engine, tested from outside.
//!
//! `engine` is the example. `harsh` is an engine with faults over the same server. `manual` is an engine whose answers
//! the test gives.

#[path = "../../examples/engine/main.rs"]
mod engine;

mod contract;
mod harsh;
mod links;
mod manual;
mod options;
mod registry;
mod sources;
mod starts;
mod support;
mod unanswered;
mod withdrawal;

#[test]
fn the_example_runs() {
    engine::main().expect("the example runs");
}
