//! The test kit, used as applications use it, and what it says when a test fails.

mod checks;
mod conversation;
mod ending;
mod expelled;
mod failing;
mod many;
mod nodes;
mod support;
mod time;
