//! `tramline serve` and `check`: the program itself, with clients of all kinds, and what operators write wrong.

#![cfg(unix)]

mod check;
mod script;
mod server;
mod support;
