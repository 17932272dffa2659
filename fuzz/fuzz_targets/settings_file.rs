//! A settings file is taken whole or refused whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    yotpo_td_fuzz::settings_file(data);
});
