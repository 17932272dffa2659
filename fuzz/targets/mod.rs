//! The fuzz targets: properties that must hold for any bytes that reach the program from outside.
//!
//! Each target takes arbitrary bytes, asserts properties of the program's result, and returns whether the program accepted
//! them. This is the library of the fuzz crate and a module of the integration tests, which replay the corpus and
//! mutations of it on stable Rust. Nothing here may therefore need a fuzzer.

mod compare_input;
mod delay_headers;
mod manifest;
mod page_body;
mod page_cursor;
mod recording;
mod sandbox_part;
mod settings_file;
mod state_file;
mod unique_keys;

pub use compare_input::compare_input;
pub use delay_headers::delay_headers;
pub use manifest::manifest;
pub use page_body::page_body;
pub use page_cursor::page_cursor;
pub use recording::recording;
pub use sandbox_part::sandbox_part;
pub use settings_file::settings_file;
pub use state_file::state_file;

/// How the program handled an input. A corpus without both kinds would prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It used the input.
    Accepted,
    /// It reported the input as invalid.
    Rejected,
}
