//! Plain text: the part of a JSON string that needs no change.
//!
//! Owns the search for the first byte that must be changed, with the vector instructions of every target (SSE2, NEON).

use wide::u8x16;

/// Number of bytes that are checked at once.
const LANES: usize = 16;

/// The position of the first byte at or after `at` that is a quote, a backslash or not printable ASCII; the end if
/// there is none.
#[inline]
pub(super) fn skip_plain(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(lanes) = rest.first_chunk::<LANES>() else { return at + plain_prefix_length(rest) };
        match not_plain(*lanes) {
            0 => at += LANES,
            found => return at + found.trailing_zeros() as usize,
        }
    }
}

/// Bit *i* is set if byte *i* is not plain.
#[inline]
fn not_plain(lanes: [u8; LANES]) -> u32 {
    let bytes = u8x16::new(lanes);
    let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
    // Wraps around below the space.
    let from_space = bytes - u8x16::splat(b' ');
    let not_printable = from_space.max(u8x16::splat(b'~' - b' ' + 1)).simd_eq(from_space);
    (not_printable | is(b'"') | is(b'\\')).to_bitmask()
}

/// Only for the last bytes of a text.
#[cold]
fn plain_prefix_length(bytes: &[u8]) -> usize {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    bytes.iter().position(|byte| !plain(byte)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_plain_or_found_at_every_position() {
        for byte in 0..=u8::MAX {
            let plain = matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            for length in 1..=3 * LANES {
                for position in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[position] = byte;
                    let expected = if plain { length } else { position };
                    assert_eq!(skip_plain(&bytes, 0), expected, "byte {byte:#x} at {position} of {length}");
                    assert_eq!(skip_plain(&bytes, position), expected);
                }
            }
        }
    }

    #[test]
    fn the_first_of_several_is_found_and_a_position_after_the_end_is_unchanged() {
        assert_eq!(skip_plain(b"abc\"\"defghijklmnopqrstuvwxyz", 0), 3);
        assert_eq!(skip_plain(b"abc\"\"defghijklmnopqrstuvwxyz", 5), 28);
        assert_eq!(skip_plain(b"abc", 3), 3);
        assert_eq!(skip_plain(b"abc", 7), 7);
    }
}
