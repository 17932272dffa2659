//! Numbers and durations for people: separators between thousands, plurals, and two units of a duration.

use std::time::Duration;

/// A number with separators between thousands.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 page`, `1,200 pages`.
pub fn count(things: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(things), if things == 1 { one } else { many })
}

/// A rate or limit with one decimal.
pub fn decimal(value: f64) -> String {
    // A float that is too large for the integer saturates, and nobody reads its decimals.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; never negative here"
    )]
    let tenths = (value.max(0.0) * 10.0).round() as u64;
    format!("{}.{}", number(tenths / 10), tenths % 10)
}

/// A duration in its two largest units, rounded down to whole seconds: `7s`, `3m 05s`, `26h 03m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{}h {minutes:02}m", number(hours)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_and_plurals_are_right() {
        let numbers = [0, 7, 999, 1_000, 12_345, 123_456, 1_234_567, u64::MAX].map(number);
        let expected =
            ["0", "7", "999", "1,000", "12,345", "123,456", "1,234,567", "18,446,744,073,709,551,615"];
        assert_eq!(numbers, expected);
        let counts = [0, 1, 2, 1_000].map(|pages| count(pages, "page", "pages"));
        assert_eq!(counts, ["0 pages", "1 page", "2 pages", "1,000 pages"]);
        assert_eq!(
            [0.0, 4.46, 4.999, 1_000_000.0, -1.0].map(decimal),
            ["0.0", "4.5", "5.0", "1,000,000.0", "0.0"]
        );
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let durations =
            [0, 59, 60, 185, 3_599, 3_600, 93_780].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(durations, ["0s", "59s", "1m 00s", "3m 05s", "59m 59s", "1h 00m", "26h 03m"]);
    }
}
