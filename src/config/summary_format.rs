//! The format of the summary on stdout.

use std::str::FromStr;

/// How the summary on stdout looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryFormat {
    /// For people.
    Text,
    /// One JSON object on one line.
    Json,
    /// No summary.
    None,
}

impl SummaryFormat {
    /// The word that users write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::None => "none",
        }
    }
}

impl FromStr for SummaryFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Text, Self::Json, Self::None].into_iter().find(|format| format.as_str() == text).ok_or(())
    }
}
