//! Escapes: characters of a JSON string as Python's `json.dumps` writes them in ASCII.
//!
//! Owns their form: short escapes where JSON has them, otherwise lower-case `\uXXXX`, in UTF-16 units. Invariant:
//! appends only printable ASCII. It does not find the characters.
//!
//! Surrogates need no pairing. Python joins a pair when it reads and splits it when it writes, and keeps lone
//! surrogates, so the UTF-16 units never change.

/// Appends the run of escapes at the start of `bytes` in normalized form. Returns the length of the run in `bytes`, or
/// `None` if a backslash does not start a JSON escape.
pub(super) fn normalize_escapes(bytes: &[u8], output: &mut Vec<u8>) -> Option<usize> {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [b'\\', b'u', a, b, c, d, tail @ ..] => {
                push_unit(hex_unit([*a, *b, *c, *d])?, output);
                tail
            }
            [b'\\', b'/', tail @ ..] => {
                output.push(b'/');
                tail
            }
            [b'\\', letter @ (b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't'), tail @ ..] => {
                output.extend_from_slice(&[b'\\', *letter]);
                tail
            }
            [b'\\', ..] => return None,
            _ => return Some(bytes.len() - rest.len()),
        };
    }
}

/// Appends the run of characters outside printable ASCII at the start of `text` as escapes; returns its length in
/// bytes. Control characters, which must not appear unescaped in a JSON string, end the run.
pub(super) fn escape_unprintable(text: &str, output: &mut Vec<u8>) -> usize {
    let mut units = [0; 2];
    for (index, character) in text.char_indices() {
        if character < '\x7f' {
            return index;
        }
        for unit in character.encode_utf16(&mut units) {
            push_hex(*unit, output);
        }
    }
    text.len()
}

fn push_unit(unit: u16, output: &mut Vec<u8>) {
    match u8::try_from(unit) {
        Ok(0x08) => output.extend_from_slice(b"\\b"),
        Ok(0x0c) => output.extend_from_slice(b"\\f"),
        Ok(b'\n') => output.extend_from_slice(b"\\n"),
        Ok(b'\r') => output.extend_from_slice(b"\\r"),
        Ok(b'\t') => output.extend_from_slice(b"\\t"),
        Ok(special @ (b'"' | b'\\')) => output.extend_from_slice(&[b'\\', special]),
        Ok(printable @ b' '..=b'~') => output.push(printable),
        _ => push_hex(unit, output),
    }
}

fn push_hex(unit: u16, output: &mut Vec<u8>) {
    let [high, low] = unit.to_be_bytes();
    output.extend_from_slice(&[
        b'\\',
        b'u',
        hex_digit(high >> 4),
        hex_digit(high & 0xf),
        hex_digit(low >> 4),
        hex_digit(low & 0xf),
    ]);
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

fn hex_unit(digits: [u8; 4]) -> Option<u16> {
    digits.iter().try_fold(0, |unit: u16, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(unit << 4 | u16::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_utf16_unit_is_written_as_python_writes_it() {
        for unit in 0..=u16::MAX {
            let mut output = Vec::new();
            assert_eq!(normalize_escapes(format!("\\u{unit:04X}x").as_bytes(), &mut output), Some(6));
            let expected = match unit {
                8 => "\\b".to_owned(),
                12 => "\\f".to_owned(),
                10 => "\\n".to_owned(),
                13 => "\\r".to_owned(),
                9 => "\\t".to_owned(),
                0x22 => "\\\"".to_owned(),
                0x5c => "\\\\".to_owned(),
                0x20..=0x7e => char::from(u8::try_from(unit).unwrap()).to_string(),
                _ => format!("\\u{unit:04x}"),
            };
            assert_eq!(output, expected.as_bytes());
        }
    }

    #[test]
    fn invalid_escapes_are_an_error() {
        for text in ["\\", "\\x", "\\u12", "\\u12g4", "\\u00e9\\"] {
            assert_eq!(normalize_escapes(text.as_bytes(), &mut Vec::new()), None, "{text}");
        }
    }

    #[test]
    fn run_ends_before_the_first_printable_or_control_character() {
        for (text, length) in [("é😀x", 6), ("\u{7f}\u{80}\u{1f}", 3), ("é", 2), ("\n", 0)] {
            let mut output = Vec::new();
            assert_eq!(escape_unprintable(text, &mut output), length);
            assert!(output.is_ascii());
        }
    }
}
