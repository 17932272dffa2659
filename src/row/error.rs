//! Why a customer cannot become a row.

/// How many arrays and objects may be open at once, the customer itself included.
///
/// The text is walked with a stack on the heap, so this guards the readers of the table, not this process. Whatever
/// the connector before this one loaded still loads (Python 3.11's json module stops after 994 levels), and Jackson,
/// which many readers are built on, stops at 1,000 by default.
pub const MAX_DEPTH: usize = 1_000;

/// How many keys of a customer that repeats some are looked at: memory for them is bounded.
pub const MAX_KEYS: usize = 100_000;

/// Why a customer cannot become a row. Holds nothing of the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The customer is JSON, but not a JSON object.
    #[error("customer is not a JSON object")]
    NotAnObject,
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("customer nests deeper than {limit} levels")]
    TooDeep {
        /// The deepest nesting that is accepted.
        limit: usize,
    },
    /// The text is not one JSON value.
    #[error("customer is not well-formed JSON")]
    Malformed,
    /// A number that JSON does not know: `NaN`, `Infinity` or `-Infinity`.
    #[error("customer has a number that JSON does not know (NaN or Infinity)")]
    NotANumber,
    /// More keys than [`MAX_KEYS`] are open at once where some are repeated.
    #[error("customer repeats keys and has more than {limit} of them")]
    TooManyKeys {
        /// The most that are accepted.
        limit: usize,
    },
    /// The compact text is longer than a `MessagePack` string can be (4 GiB).
    #[error("customer is longer than a MessagePack string can be")]
    TooLong,
}

/// The text is not JSON where a value should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON")]
pub struct NotJson;
