//! How rows reach the table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How rows reach the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are added to the existing rows.
    Append,
    /// They replace the existing rows.
    Replace,
}

impl Mode {
    /// The value of `--mode`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Replace => "replace",
        }
    }

    /// The one that this one is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Append => Self::Replace,
            Self::Replace => Self::Append,
        }
    }

    /// The letter for it in the name of a ballot.
    pub(super) const fn letter(self) -> char {
        match self {
            Self::Append => 'a',
            Self::Replace => 'r',
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Append, Self::Replace].into_iter().find(|mode| mode.as_str() == text).ok_or(())
    }
}
