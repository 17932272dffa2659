//! A cursor is sent as it was received.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::page_cursor(data);
});
