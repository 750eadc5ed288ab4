#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tramline_fuzz::broker::run(data));
