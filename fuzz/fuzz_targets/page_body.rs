//! The body of a page becomes rows.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::page_body(data);
});
