#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| autarco_fuzz::recovery::check(input));
