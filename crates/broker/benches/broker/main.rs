//! What the broker's parts cost by themselves, in time and in allocations.
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
