//! A file that can be read equals itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::compare_input(data);
});
