//! Why a customer cannot become a row.

/// Maximum number of nested arrays and objects, including the customer itself.
///
/// The parser keeps its stack on the heap, so this protects the readers of the table, not this process. Everything that
/// the Python job loaded is still loaded (the json module of Python 3.11 fails after 994 levels), and Jackson, on which
/// many readers are based, fails at 1,000 by default.
pub const MAX_DEPTH: usize = 1_000;

/// Maximum number of keys of a customer with duplicate keys. It bounds the memory for them.
pub const MAX_KEYS: usize = 100_000;

/// Why a customer cannot become a row. Contains no customer data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The customer is JSON, but not a JSON object.
    #[error("customer is not a JSON object")]
    NotAnObject,
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("customer nests deeper than {limit} levels")]
    TooDeep {
        /// The maximum nesting.
        limit: usize,
    },
    /// The text is not one JSON value.
    #[error("customer is not well-formed JSON")]
    Malformed,
    /// A number that is not valid in JSON: `NaN`, `Infinity` or `-Infinity`.
    #[error("customer contains a number that is not valid in JSON (NaN or Infinity)")]
    NotANumber,
    /// The open objects have duplicate keys and more keys than [`MAX_KEYS`].
    #[error("customer has duplicate keys and more than {limit} keys")]
    TooManyKeys {
        /// The maximum number of keys.
        limit: usize,
    },
    /// The compact text is longer than a `MessagePack` string can be (4 GiB).
    #[error("customer is longer than the maximum of a MessagePack string")]
    TooLong,
}

/// The text is not JSON where a value should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON")]
pub struct NotJson;
