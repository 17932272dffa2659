//! Whether text on a stream is colored.

use std::str::FromStr;

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorChoice {
    /// Colors where they help.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// The word that users write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    /// Whether to use colors on a stream. `NO_COLOR` (<https://no-color.org>) disables them if it is not empty, and so does the
    /// terminal type `dumb`, unless the user wants them always.
    pub fn has_color(self, is_terminal: bool, no_color: Option<&str>, term: Option<&str>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => is_terminal && no_color.is_none_or(str::is_empty) && term != Some("dumb"),
        }
    }
}

impl FromStr for ColorChoice {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Auto, Self::Always, Self::Never].into_iter().find(|choice| choice.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_means_a_terminal_that_can_and_a_user_who_does_not_object() {
        for (choice, is_terminal, no_color, term, expected) in [
            (ColorChoice::Auto, true, None, Some("xterm"), true),
            (ColorChoice::Auto, true, Some(""), None, true),
            (ColorChoice::Auto, true, Some("1"), Some("xterm"), false),
            (ColorChoice::Auto, true, None, Some("dumb"), false),
            (ColorChoice::Auto, false, None, Some("xterm"), false),
            (ColorChoice::Always, false, Some("1"), Some("dumb"), true),
            (ColorChoice::Never, true, None, Some("xterm"), false),
        ] {
            assert_eq!(
                choice.has_color(is_terminal, no_color, term),
                expected,
                "{choice:?} {no_color:?} {term:?}"
            );
        }
    }
}
