//! A manifest is used only if it is intact.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::manifest(data);
});
