//! Tests of what lies beside the program: documents and the corpora of the fuzz targets.

mod fuzz_corpora;
mod readme;
