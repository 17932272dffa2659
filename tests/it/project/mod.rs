//! Tests of the project around the program: documents and the corpora of the fuzz targets.

mod fuzz_corpora;
mod generated;
mod interface;
mod log_fields;
mod metrics;
mod readme;
mod retry_rules;
mod state;
mod summary_page;
