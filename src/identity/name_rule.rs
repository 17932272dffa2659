//! The rule that a name follows: its length and its characters. The only place that knows both.

use std::fmt;

/// How long a name may be, and which characters it may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// Minimum number of characters.
    pub min_length: usize,
    /// Maximum number of characters.
    pub max_length: usize,
    /// Allowed characters.
    pub characters: Characters,
}

/// Characters that a name may contain. All of them are ASCII and safe in an URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Characters {
    /// `a` to `z`, digits and `_`.
    LowerCase,
    /// `A` to `Z`, `a` to `z`, digits, `-` and `_`.
    MixedCase,
}

/// A text that does not follow the rule of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct NameError {
    pub(super) rule: NameRule,
}

impl NameRule {
    /// Whether `text` follows the rule.
    pub fn accepts(self, text: &str) -> bool {
        (self.min_length..=self.max_length).contains(&text.len())
            && text.bytes().all(|byte| self.characters.contains(byte))
    }

    /// A regular expression for the texts that follow the rule.
    pub fn pattern(self) -> String {
        let class = match self.characters {
            Characters::LowerCase => "[a-z0-9_]",
            Characters::MixedCase => "[A-Za-z0-9_-]",
        };
        format!("^{class}{{{},{}}}$", self.min_length, self.max_length)
    }

    /// The error for a text that does not follow the rule.
    pub(super) fn check(self, text: &str) -> Result<(), NameError> {
        if self.accepts(text) { Ok(()) } else { Err(NameError { rule: self }) }
    }
}

impl Characters {
    fn contains(self, byte: u8) -> bool {
        match self {
            Self::LowerCase => matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'),
            Self::MixedCase => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        }
    }
}

impl fmt::Display for NameRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let characters = match self.characters {
            Characters::LowerCase => "lower-case letters, digits or _",
            Characters::MixedCase => "letters, digits, - or _",
        };
        write!(formatter, "{} to {} {characters}", self.min_length, self.max_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_what_it_accepts() {
        let lower = NameRule { min_length: 2, max_length: 3, characters: Characters::LowerCase };
        let mixed = NameRule { characters: Characters::MixedCase, ..lower };
        assert_eq!(lower.to_string(), "2 to 3 lower-case letters, digits or _");
        assert_eq!(mixed.to_string(), "2 to 3 letters, digits, - or _");
        assert_eq!(lower.pattern(), "^[a-z0-9_]{2,3}$");
        assert_eq!(mixed.pattern(), "^[A-Za-z0-9_-]{2,3}$");
        for (text, is_lower, is_mixed) in [
            ("a", false, false),
            ("az", true, true),
            ("_09", true, true),
            ("aZ-", false, true),
            ("abcd", false, false),
            ("a b", false, false),
            ("a/b", false, false),
            ("é", false, false),
        ] {
            assert_eq!((lower.accepts(text), mixed.accepts(text)), (is_lower, is_mixed), "{text}");
        }
    }
}
