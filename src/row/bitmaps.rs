//! Bitmaps: where in 64 bytes of JSON the bytes are that need a look.
//!
//! Owns the classification of bytes, with the vector instructions that every target has (SSE2, NEON). Invariant: bit *i*
//! speaks of byte *i*. It does not know whether a byte is inside a string; the compactor does.

use wide::u8x16;

/// Bytes classified at a time.
pub(super) const BLOCK: usize = 64;

/// A byte that is in no bitmap: fills up the last block.
const FILLER: u8 = b'0';

/// Bytes in a vector register that every target has.
const LANES: usize = 16;

/// The bits that tell `{ } [ ]` from each other; with all of them set, the four are one byte.
const BRACKET_BITS: u8 = b'{' ^ b'[' | b'{' ^ b'}';

/// Classes of the bytes of one block; bit *i* stands for byte *i*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bitmaps {
    /// `"`.
    pub(super) quotes: u64,
    /// What never passes as it is: `\` and everything that is not printable ASCII.
    pub(super) unprintable: u64,
    /// What needs a look outside strings only: `{ } [ ] :` and the space, which does not pass there. Also `Y`, `y`, `_` and
    /// DEL, which look like brackets at the price of a single comparison, and are not there in JSON.
    pub(super) structure: u64,
}

impl Bitmaps {
    /// Classifies the first block of `bytes`; missing bytes are in no class.
    #[inline]
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes.first_chunk::<BLOCK>() {
            Some(block) => Self::of_block(block),
            None => Self::of_short(bytes),
        }
    }

    fn of_short(bytes: &[u8]) -> Self {
        let mut block = [FILLER; BLOCK];
        block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self::of_block(&block)
    }

    #[inline]
    fn of_block(block: &[u8; BLOCK]) -> Self {
        let mut bitmaps = Self::default();
        for (index, lanes) in block.as_chunks::<LANES>().0.iter().enumerate() {
            let shift = index * LANES;
            let bytes = u8x16::new(*lanes);
            let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
            // Wraps around below the space.
            let from_space = bytes - u8x16::splat(b' ');
            let not_printable = from_space.max(u8x16::splat(b'~' - b' ' + 1)).simd_eq(from_space);
            let brackets = (bytes | u8x16::splat(BRACKET_BITS)).simd_eq(u8x16::splat(b'{' | BRACKET_BITS));
            let structure = brackets | is(b':') | is(b' ');
            bitmaps.quotes |= u64::from(is(b'"').to_bitmask()) << shift;
            bitmaps.unprintable |= u64::from((not_printable | is(b'\\')).to_bitmask()) << shift;
            bitmaps.structure |= u64::from(structure.to_bitmask()) << shift;
        }
        bitmaps
    }
}

/// For each bit, the parity of the bits up to it and itself: set from an opening quote to before the closing one.
#[inline]
pub(super) fn prefix_parity(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit_of(bytes: &[u8], index: usize, class: impl Fn(u8) -> bool) -> u64 {
        u64::from(bytes.get(index).is_some_and(|byte| class(*byte))) << index
    }

    #[test]
    fn every_byte_in_every_place_is_in_its_classes_only() {
        for byte in 0..=u8::MAX {
            for length in 1..=BLOCK {
                let mut bytes = vec![b'a'; length];
                bytes[length - 1] = byte;
                bytes[0] ^= u8::from(length > 1) * (b'a' ^ b'"');
                let mut expected = Bitmaps::default();
                for index in 0..length {
                    expected.quotes |= bit_of(&bytes, index, |byte| byte == b'"');
                    expected.unprintable |=
                        bit_of(&bytes, index, |byte| byte == b'\\' || !(b' '..=b'~').contains(&byte));
                    expected.structure |= bit_of(&bytes, index, |byte| b"{}[]: Yy_\x7f".contains(&byte));
                }
                assert_eq!(Bitmaps::of(&bytes), expected, "byte {byte:#x} last of {length}");
            }
        }
    }

    #[test]
    fn parity_is_set_from_an_opening_quote_to_before_the_closing_one() {
        assert_eq!(prefix_parity(0b0010_0100), 0b0001_1100);
        assert_eq!(prefix_parity(1 << 63), 1 << 63);
        assert_eq!(prefix_parity(1), u64::MAX);
    }
}
