//! Names that are part of API URLs. Each is validated when it is created, so no name can change the meaning of a URL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name_rule::{Characters, NameError, NameRule};

macro_rules! name {
    ($(#[$documentation:meta])* $name:ident, $min_length:literal to $max_length:literal, $characters:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The rule that it follows.
            pub const RULE: NameRule = NameRule {
                min_length: $min_length,
                max_length: $max_length,
                characters: Characters::$characters,
            };

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::RULE.check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

/// For names that this program builds itself.
macro_rules! unchecked {
    ($($name:ident),*) => { $(
        impl $name {
            /// A name built from fields that always result in a valid name.
            pub(super) fn new_unchecked(text: String) -> Self {
                debug_assert!(text.parse::<Self>().is_ok(), "{text}");
                Self(text)
            }
        }
    )* };
}

unchecked!(TableName, SessionName, PartName);

name!(
    /// The name of a database.
    DatabaseName,
    3 to 128,
    LowerCase
);
name!(
    /// The name of a table.
    TableName,
    3 to 128,
    LowerCase
);
name!(
    /// The name of a bulk import session, unique in the account.
    SessionName,
    3 to 200,
    MixedCase
);
name!(
    /// The name of a part, unique in its session. Uploading a part again under its name overwrites it.
    PartName,
    1 to 200,
    MixedCase
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_change_a_url_are_invalid() {
        for text in ["", "ab", "Upper", "a/b", "../x", "a b", "a%2f", "ünf", "a?b", "a.b"] {
            assert!(text.parse::<DatabaseName>().is_err(), "{text}");
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
        for text in ["", "ab", "a/b", "a.b", "a b", "ü12"] {
            assert!(text.parse::<SessionName>().is_err(), "{text}");
        }
        assert_eq!("yotpo_1".parse::<TableName>().unwrap().to_string(), "yotpo_1");
        assert!("x".repeat(129).parse::<TableName>().is_err());
    }
}
