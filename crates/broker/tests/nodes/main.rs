//! Several nodes in one process, joined by an engine: the cut between hub and engine, tried from outside.

mod contract;
#[path = "../../examples/engine/main.rs"]
mod engine;

#[test]
fn the_example_runs() {
    engine::main().expect("the example runs");
}
