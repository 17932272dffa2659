//! Delay headers are honoured.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::delay_headers(data);
});
