//! A state file is followed only when it is whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::state_file(data);
});
