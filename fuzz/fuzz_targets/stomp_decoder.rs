#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tramline_fuzz::stomp_decoder::run(data));
