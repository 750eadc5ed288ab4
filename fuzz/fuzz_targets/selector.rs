//! Hands inputs of libFuzzer to `tramline_fuzz::selector`, which says what is held to be true.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tramline_fuzz::selector::run(data));
