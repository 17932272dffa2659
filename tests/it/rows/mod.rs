//! Tests of the bytes of a row: examples from files, and properties.

mod corpus;
mod properties;
