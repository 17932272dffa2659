//! Tests of the bytes of a row, against files of examples and by properties.

mod corpus;
mod properties;
