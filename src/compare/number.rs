//! Numbers: the value behind its spelling.
//!
//! Owns when two spellings are one number. A number that is written as an integer is exact, whatever its size. Any other
//! is the IEEE double that it denotes, which is what Python makes of it: `1.10`, `1.1` and `11e-1` are equal, and so are
//! `1e5`, `100000.0` and `100000`.

use std::io::Write as _;

/// Appends the value of a JSON number to `output`: equal values as equal bytes, different values as different ones.
pub(super) fn write(number: &str, output: &mut Vec<u8>) {
    if !number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return write_whole(number, output);
    }
    match number.parse::<f64>() {
        Ok(double) if double.is_finite() && double.fract() == 0.0 => {
            // All digits of the double, not only those that identify it.
            write_whole(&format!("{double:.0}"), output);
        }
        Ok(double) if double.is_finite() => {
            output.push(b'd');
            output.extend_from_slice(&double.to_bits().to_be_bytes());
        }
        // Too large for a double: only the same spelling is certainly the same number.
        _ => write_text(b'x', number, output),
    }
}

fn write_whole(digits: &str, output: &mut Vec<u8>) {
    write_text(b'i', if digits == "-0" { "0" } else { digits }, output);
}

fn write_text(tag: u8, text: &str, output: &mut Vec<u8>) {
    // A vector takes everything.
    let _ = write!(output, "{}{text};", char::from(tag));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: &str) -> Vec<u8> {
        let mut output = Vec::new();
        write(number, &mut output);
        output
    }

    #[test]
    fn spellings_of_one_double_are_equal() {
        for spellings in [
            &["1.10", "1.1", "11e-1", "0.11E+1"][..],
            &["1e5", "100000.0", "100000", "1E+05"],
            &["0", "-0", "0.0", "-0.0", "0e9", "1e-400"],
            &["-7", "-7.0", "-70e-1"],
            &["1e23", "1.0e+23", "99999999999999991611392"],
            &["0.1", "0.1000000000000000055511151231257827"],
            &["9007199254740993.0", "9007199254740992"],
        ] {
            for spelling in spellings {
                assert_eq!(value(spelling), value(spellings[0]), "{spelling}");
            }
        }
    }

    #[test]
    fn different_numbers_differ() {
        let numbers = [
            "0",
            "1",
            "-1",
            "1.5",
            "-1.5",
            "10",
            "1e2",
            "9007199254740992",
            "9007199254740993",
            "123456789012345678901234567890",
            "123456789012345678901234567891",
            "1e23",
            "100000000000000000000000",
            "1e400",
            "1e401",
            "-1e400",
            "5e-324",
            "1e308",
        ];
        for (at, number) in numbers.iter().enumerate() {
            for other in &numbers[at + 1..] {
                assert_ne!(value(number), value(other), "{number} and {other}");
            }
        }
    }
}
