//! A recording is used only if it is intact and can be drawn.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::recording(data);
});
