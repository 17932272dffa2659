//! The sandbox reads a part in only one way.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::sandbox_part(data);
});
