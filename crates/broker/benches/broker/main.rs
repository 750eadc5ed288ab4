//! Time and allocations of the broker's parts, measured in isolation.
//!
//! `cargo bench -p tramline-broker -- topics::fan_out`

mod queues;
mod support;
mod topics;

use divan::AllocProfiler;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}
