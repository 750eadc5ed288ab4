//! Tests the documentation of the broker's queues and of its topics' settings, sentence by sentence, from outside.

mod consumers;
mod dead_letters;
mod expiry;
mod full;
mod memory;
mod races;
mod settings;
mod statistics;
mod support;
mod topics;
mod transactions;
