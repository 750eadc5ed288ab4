//! The relay over real brokers, which each test starts or shares.

mod brokers;
mod contract;
mod faults;
mod nodes;
mod proxy;
mod refusals;
mod support;
