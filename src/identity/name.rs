//! Names that are part of API URLs. Each is validated when it is created, so no name can change the meaning of a URL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct NameError {
    rule: &'static str,
}

macro_rules! name {
    ($(#[$documentation:meta])* $name:ident, $lengths:expr, $allowed:expr, $rule:expr) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let allowed: fn(u8) -> bool = $allowed;
                if $lengths.contains(&text.len()) && text.bytes().all(allowed) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { rule: $rule })
                }
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
    (3..=128),
    |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'),
    "3 to 128 lower-case letters, digits or _"
);
name!(
    /// The name of a table.
    TableName,
    (3..=128),
    |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'),
    "3 to 128 lower-case letters, digits or _"
);
name!(
    /// The name of a bulk import session, unique in the account.
    SessionName,
    (3..=200),
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
    "3 to 200 letters, digits, - or _"
);
name!(
    /// The name of a part, unique in its session. Uploading a part again under its name overwrites it.
    PartName,
    (1..=200),
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
    "1 to 200 letters, digits, - or _"
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
