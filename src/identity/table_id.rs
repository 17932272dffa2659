//! The id of a table object, small enough to be copied.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::ShortHash;

const LENGTH: usize = 20;
/// The text for an id that could not be read.
const UNKNOWN: &str = "unknown";

/// The id of a table object, in the form used in names. A table keeps its id in a rename, and a table that is deleted
/// and created again has a different one (inferred, see `docs/guarantees.md`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableId([u8; LENGTH]);

impl TableId {
    /// The value for a table whose id the API key may not read.
    pub fn unknown() -> Self {
        Self::from_text(UNKNOWN)
    }

    /// The id as returned by the API. An id that cannot be part of a name is replaced by its hash.
    pub fn from_api(id: &str) -> Self {
        if is_plain(id) && id != UNKNOWN {
            Self::from_text(id)
        } else {
            Self::from_text(&ShortHash::of(id.as_bytes()).to_string())
        }
    }

    /// The id from a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        is_plain(text).then(|| Self::from_text(text))
    }

    /// Whether the id could be read.
    pub fn is_known(self) -> bool {
        self != Self::unknown()
    }

    fn from_text(text: &str) -> Self {
        let mut bytes = [0; LENGTH];
        bytes.iter_mut().zip(text.bytes()).for_each(|(byte, of)| *byte = of);
        Self(bytes)
    }
}

fn is_plain(text: &str) -> bool {
    (1..=LENGTH).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
}

impl fmt::Display for TableId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .take_while(|byte| **byte != 0)
            .try_for_each(|byte| write!(formatter, "{}", char::from(*byte)))
    }
}

impl fmt::Debug for TableId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TableId({self})")
    }
}

impl TryFrom<String> for TableId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a table id")
    }
}

impl From<TableId> for String {
    fn from(id: TableId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_invalid_in_names_is_replaced_by_its_hash() {
        assert_eq!(TableId::from_api("284213").to_string(), "284213");
        for id in ["", "A1", "a_b", "123456789012345678901", "unknown"] {
            let text = TableId::from_api(id).to_string();
            assert_eq!((text.len(), TableId::parse(&text)), (16, Some(TableId::from_api(id))), "{id}");
        }
        assert_eq!(format!("{:?}", TableId::from_api("284213")), "TableId(284213)");
        assert!(!TableId::unknown().is_known());
        assert!(TableId::from_api("unknown").is_known());
    }
}
