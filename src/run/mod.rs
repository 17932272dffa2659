//! A run: what its attempts do next, and doing it.

pub mod decide;
