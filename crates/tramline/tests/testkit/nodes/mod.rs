//! Whole stacks on several nodes in one process: policy, router, registry, presence, publisher and sessions over an engine
//! that joins their hubs.
//!
//! `engine` is the broker's example, `harsh` an engine over the same server with faults: late answers, answers that never
//! come, lost links. Their server is a thread: where time is paused, only what never comes is waited for.

#[expect(
    dead_code,
    reason = "the example's own program, and what its own tests use"
)]
#[path = "../../../../broker/examples/engine/main.rs"]
mod engine;
#[expect(dead_code, reason = "what the broker's own tests use")]
#[path = "../../../../broker/tests/nodes/harsh.rs"]
mod harsh;

mod answers;
mod closing;
mod events;
mod links;
mod presence;
mod registry;
mod starts;
mod support;
mod unanswered;
mod users;
