//! What the program promises, tested from outside.

mod row_corpus;
mod row_properties;
