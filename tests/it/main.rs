//! What the program promises, tested from outside.

mod http_limits;
mod row_corpus;
mod row_properties;
