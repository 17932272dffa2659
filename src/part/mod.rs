//! Parts: rows as gzip files for a bulk import session.
//!
//! Owns the compressed form. The rows of a few pages at a time are deflated independently and in parallel by a
//! [`ChunkEncoder`] per thread; one [`PartBuilder`] joins the chunks in order in a single gzip member. Invariant: a
//! part decompresses to the concatenation of the rows of its chunks, regardless of the chunk boundaries. It neither
//! decides when a part is full nor uploads it.
//!
//! Why chunks are independent: `docs/adr/0003-parts-from-independent-deflate-chunks.md`.

mod builder;
mod chunk;

pub use builder::{Part, PartBuilder};
pub use chunk::{Chunk, ChunkEncoder, DeflateError};

/// Compression level of deflate: 1 (fastest) to 9 (smallest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompressionLevel(u8);

/// A compression level that deflate does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compression level {level} is not between 1 and 9")]
pub struct CompressionLevelOutOfRange {
    level: u8,
}

impl CompressionLevel {
    /// Level 1.
    pub const FASTEST: Self = Self(1);
    /// Level 2, the best trade-off (`cargo bench --bench part`): compared with level 1, it saves a fifth of the bytes
    /// for 50 % more work; the next level saves a fifteenth for 25 % more.
    pub const DEFAULT: Self = Self(2);
    /// Level 9.
    pub const SMALLEST: Self = Self(9);

    /// The given level, 1 to 9.
    pub const fn new(level: u8) -> Result<Self, CompressionLevelOutOfRange> {
        if level < Self::FASTEST.0 || level > Self::SMALLEST.0 {
            Err(CompressionLevelOutOfRange { level })
        } else {
            Ok(Self(level))
        }
    }

    /// The level, 1 to 9.
    pub const fn get(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_one_to_nine() {
        let accepted: Vec<u8> = (0..=u8::MAX).filter(|level| CompressionLevel::new(*level).is_ok()).collect();
        assert_eq!(accepted, (1..=9).collect::<Vec<u8>>());
    }
}
