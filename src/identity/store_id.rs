//! The identity of a Yotpo store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name_rule::{Characters, NameError, NameRule};

/// The id of a Yotpo store (its app key): up to 128 letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId(String);

impl StoreId {
    /// The rule that it follows.
    pub const RULE: NameRule = NameRule { min_length: 1, max_length: 128, characters: Characters::MixedCase };

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::RULE.check(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for StoreId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<StoreId> for String {
    fn from(store: StoreId) -> Self {
        store.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
