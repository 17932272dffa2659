//! A settings file is accepted or rejected as a whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::settings_file(data);
});
