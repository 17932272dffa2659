//! Vocabularies: what a string must look like to be shown although strings are masked.
//!
//! Owns the checks of the content. Invariant: an e-mail address, a telephone number or free text is in none of them. It does
//! not know keys: which key has which vocabulary is [`super::mask()`]'s.

/// What the strings under a key look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// A date of 1900 to 2199, with or without time, fraction and offset.
    Timestamp,
    /// An identifier such as `never_subscribed`.
    Word,
    /// Three capital letters.
    Currency,
    /// The name of a tier: short, without the marks of addresses and long numbers.
    Tier,
}

const MAX_WORD: usize = 32;
const MAX_TIER: usize = 40;
/// A telephone number or id has more.
const MAX_TIER_DIGITS: usize = 4;

impl Vocabulary {
    /// Whether the content of a JSON string, as spelled in a row, is in it.
    pub(super) fn contains(self, text: &str) -> bool {
        match self {
            Self::Timestamp => is_timestamp(text).is_some(),
            Self::Word => {
                let is_word = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
                (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(is_word)
            }
            Self::Currency => text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
            Self::Tier => is_tier(text),
        }
    }
}

fn is_tier(text: &str) -> bool {
    // With its escapes, in which there are digits.
    let Ok(name) = serde_json::from_str::<String>(&format!("\"{text}\"")) else { return false };
    let is_usual = |character: char| {
        character.is_alphanumeric()
            || matches!(character, ' ' | '-' | '_' | '&' | '+' | '\'' | '"' | '(' | ')')
    };
    let digits = name.chars().filter(|character| character.is_numeric()).count();
    name.chars().count() <= MAX_TIER && digits <= MAX_TIER_DIGITS && name.chars().all(is_usual)
}

fn is_timestamp(text: &str) -> Option<()> {
    let (year, month, day) = (text.get(..2)?, text.get(5..7)?, text.get(8..10)?);
    let is_date =
        ["19", "20", "21"].contains(&year) && ("01"..="12").contains(&month) && ("01"..="31").contains(&day);
    let rest = after(text, "0000-00-00").filter(|_| is_date)?;
    if rest.is_empty() {
        return Some(());
    }
    let mut rest = after(rest, "T00:00:00").or_else(|| after(rest, " 00:00:00"))?;
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|character: char| character.is_ascii_digit());
        if !(1..=9).contains(&(fraction.len() - rest.len())) {
            return None;
        }
    }
    let offsets = ["Z", " UTC", "+00:00", "-00:00", "+0000", "-0000"];
    let is_offset = rest.is_empty() || offsets.iter().any(|shape| after(rest, shape) == Some(""));
    is_offset.then_some(())
}

/// The text after a beginning of this shape, in which `0` is any digit.
fn after<'a>(text: &'a str, shape: &str) -> Option<&'a str> {
    let (beginning, rest) = text.split_at_checked(shape.len())?;
    let fits = beginning.bytes().zip(shape.bytes()).all(|(byte, expected)| match expected {
        b'0' => byte.is_ascii_digit(),
        _ => byte == expected,
    });
    fits.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_contains(vocabulary: Vocabulary, inside: &[&str], outside: &[&str]) {
        for text in inside {
            assert!(vocabulary.contains(text), "{vocabulary:?} {text}");
        }
        for text in outside {
            assert!(!vocabulary.contains(text), "{vocabulary:?} {text}");
        }
    }

    #[test]
    fn timestamps_are_those_that_yotpo_sends() {
        assert_contains(
            Vocabulary::Timestamp,
            &[
                "2020-04-01T18:58:01",
                "2027-02-27T00:00:00.000+00:00",
                "2022-11-08T15:57:14Z",
                "2022-08-18",
                "2022-08-18 10:11:12",
                "2022-08-18T10:11:12 UTC",
                "2022-08-18T10:11:12.123456789-0530",
            ],
            &[
                "",
                "2022",
                "20220818",
                "2022-13-18",
                "2022-00-18",
                "2022-08-32",
                "2022-0é-18",
                "é022-08-18",
                "2125551234",
                "5555-12-34",
                "ann@example.com",
                "2022-08-18 ann@example.com",
                "2022-08-18T10:11:12 Ann",
                "2022-08-18T10:11:12.",
                "2022-08-18T10:11:12.15551234567",
                "2022-08-18T10:11:12+15551234567",
                "2022-08-18T10:11",
            ],
        );
    }

    #[test]
    fn words_and_currencies_are_identifiers() {
        assert_contains(
            Vocabulary::Word,
            &["enabled", "never_subscribed", "HARD_BOUNCE"],
            &["", "two words", "ann@example", "5551234567", "Zo\\u00eb", &"a".repeat(33)],
        );
        assert_contains(Vocabulary::Currency, &["USD", "EUR"], &["", "usd", "US", "USDT", "U1D"]);
    }

    #[test]
    fn tiers_are_short_names_without_addresses_and_long_numbers() {
        assert_contains(
            Vocabulary::Tier,
            &[
                "Flow",
                "Gold+ (2026)",
                "VIP & Friends",
                "VIP \\\"1\\\"",
                "\\u304a\\u6c17\\u306b\\u5165\\u308a",
                "Or",
            ],
            &[
                "ann@example.com",
                "+1 555 123 4567",
                "https://example.com",
                "a.b",
                "\\ud83d",
                "\\n",
                &"a".repeat(41),
            ],
        );
    }
}
