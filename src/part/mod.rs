//! Parts: rows as the gzip files that a bulk import session takes.
//!
//! Owns the compressed form. A few pages' rows at a time are deflated on their own, in parallel, by a [`ChunkEncoder`] per thread;
//! one [`PartBuilder`] puts the chunks in order into a single gzip member. Invariant: what a part unpacks to is the
//! concatenation of its chunks' rows, whatever the chunk boundaries. It does not decide when a part is full, nor send it.
//!
//! Why chunks are independent: `docs/adr/0003-parts-from-independent-deflate-chunks.md`.

mod builder;
mod chunk;

pub use builder::{Part, PartBuilder};
pub use chunk::{Chunk, ChunkEncoder, DeflateError};

/// How hard deflate tries: 1 (fastest) to 9 (smallest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompressionLevel(u8);

/// A compression level that deflate does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compression level {level} is not one of 1 to 9")]
pub struct CompressionLevelOutOfRange {
    level: u8,
}

impl CompressionLevel {
    /// Level 1.
    pub const FASTEST: Self = Self(1);
    /// Level 2, the knee of the curve (`cargo bench --bench part`): beyond level 1 it saves a fifth of the bytes for half
    /// as much work again; the next level saves a fifteenth for a quarter.
    pub const DEFAULT: Self = Self(2);
    /// Level 9.
    pub const SMALLEST: Self = Self(9);

    /// The level `level`, 1 to 9.
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

impl Default for CompressionLevel {
    fn default() -> Self {
        Self::DEFAULT
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
