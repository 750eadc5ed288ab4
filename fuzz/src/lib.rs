//! What Tramline's fuzz targets hold to be true.
//!
//! Each module is a target: `run` takes any bytes and panics where a promise is broken. `fuzz_targets/` hands them to
//! libFuzzer; `tests/seeds.rs` replays `seeds/<target>/` on stable.
//!
//! # How inputs are written
//!
//! Inputs are text as far as may be, so that seeds can be written by hand, read in a review and mended when a target
//! changes; that is why operations are lines and not the bytes of an `Arbitrary` value. The first line holds options
//! and the lengths of the pieces that a stream is cut into: `A` is 1 byte, `B` 2, … `_` 31, `a` 33, … `@` is none.
//! Targets over bytes take the rest as their stream. Targets over operations read a letter and its argument from each
//! line; in texts `|` stands for LF and `^` for NUL. Lines that mean nothing are passed over.

pub mod broker;
pub mod selector;
pub mod sockjs;
pub mod stomp_decoder;
pub mod stomp_pair;
pub mod stomp_server;
pub mod websocket;

mod script;

/// What a target does with an input.
pub type Run = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Run); 7] = [
    ("broker", broker::run),
    ("selector", selector::run),
    ("sockjs", sockjs::run),
    ("stomp_decoder", stomp_decoder::run),
    ("stomp_pair", stomp_pair::run),
    ("stomp_server", stomp_server::run),
    ("websocket", websocket::run),
];
