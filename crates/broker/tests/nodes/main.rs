//! Several nodes in one process, joined by an engine: the cut between hub and engine, tested from outside.
//!
//! `engine` is the example. `harsh` is an engine over the same server with faults. `manual` is an engine whose answers the
//! test gives.

#[path = "../../examples/engine/main.rs"]
mod engine;

mod contract;
mod harsh;
mod links;
mod manual;
mod registry;
mod sources;
mod starts;
mod support;
mod unanswered;

#[test]
fn the_example_runs() {
    engine::main().expect("the example runs");
}
