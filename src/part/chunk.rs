//! Chunks: the rows of a few pages, deflated independently.
//!
//! Owns their raw deflate stream. Invariant: a chunk refers to nothing outside itself, ends on a byte boundary and is
//! not final, so any number of chunks can be joined in any order. It does not know gzip.

use std::fmt;

use crc32fast::Hasher;
use flate2::{Compress, CompressError, Compression, FlushCompress};

use super::CompressionLevel;
use crate::row::Rows;

/// Number of bytes that are deflated at a time: small enough to stay in the processor's cache after the checksum.
const BLOCK_SIZE: usize = 64 * 1_024;

/// Capacity in addition to the length of the rows, so that almost always one call of deflate is enough.
const HEADROOM: usize = 1_024;

/// Deflates chunks one after another and reuses its memory, which grows to that of the largest chunk.
pub struct ChunkEncoder {
    deflate: Compress,
    deflated: Vec<u8>,
    count: u64,
    uncompressed_bytes: u64,
    checksum: Hasher,
    failed: Option<CompressError>,
}

/// The deflated rows of a few pages.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub(super) deflated: Box<[u8]>,
    /// Checksum of the rows before compression. It includes their length, so it can be combined with others.
    pub(super) checksum: Hasher,
    pub(super) rows: u64,
    pub(super) uncompressed_bytes: u64,
}

/// Deflate failed because of an invalid state.
#[derive(Debug, thiserror::Error)]
#[error("could not deflate the rows of a chunk")]
pub struct DeflateError(#[source] CompressError);

impl ChunkEncoder {
    /// Creates an encoder with this compression level.
    pub fn new(level: CompressionLevel) -> Self {
        Self {
            deflate: Compress::new(Compression::new(u32::from(level.get())), false),
            deflated: Vec::new(),
            count: 0,
            uncompressed_bytes: 0,
            checksum: Hasher::new(),
            failed: None,
        }
    }

    /// Adds rows to the chunk. A failure of deflate is reported by [`Self::finish`].
    pub fn add(&mut self, rows: &Rows) {
        self.count += rows.len() as u64;
        self.uncompressed_bytes += rows.bytes().len() as u64;
        for block in rows.bytes().chunks(BLOCK_SIZE) {
            self.checksum.update(block);
            self.deflate(block, FlushCompress::None);
        }
    }

    /// Completes the chunk and starts the next one.
    ///
    /// # Errors
    /// When deflate failed; the rows are lost.
    pub fn finish(&mut self) -> Result<Chunk, DeflateError> {
        if self.count > 0 {
            self.deflate(&[], FlushCompress::Sync);
        }
        let chunk = Chunk {
            deflated: self.deflated.as_slice().into(),
            checksum: std::mem::take(&mut self.checksum),
            rows: std::mem::take(&mut self.count),
            uncompressed_bytes: std::mem::take(&mut self.uncompressed_bytes),
        };
        self.deflated.clear();
        self.deflate.reset();
        self.failed.take().map_or(Ok(chunk), |error| Err(DeflateError(error)))
    }

    fn deflate(&mut self, rows: &[u8], flush: FlushCompress) {
        let mut rest = rows;
        loop {
            // The worst case at any level is nine bits per byte.
            self.deflated.reserve(rest.len() + rest.len() / 8 + HEADROOM);
            let before = self.deflate.total_in();
            if let Err(error) = self.deflate.compress_vec(rest, &mut self.deflated, flush) {
                self.failed = Some(error);
                break;
            }
            let consumed = usize::try_from(self.deflate.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(consumed..).unwrap_or_default();
            // The flush is complete only if capacity is left; otherwise the next call continues it.
            if rest.is_empty() && self.deflated.len() < self.deflated.capacity() {
                break;
            }
        }
    }
}

impl fmt::Debug for ChunkEncoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ChunkEncoder({} rows so far)", self.count)
    }
}

impl Chunk {
    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Number of bytes that this chunk adds to a part.
    pub fn compressed_len(&self) -> usize {
        self.deflated.len()
    }

    /// Size of the rows before compression, in bytes.
    pub fn uncompressed_bytes(&self) -> u64 {
        self.uncompressed_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(encoder: &mut ChunkEncoder, rows: &Rows) -> Chunk {
        encoder.add(rows);
        encoder.finish().unwrap()
    }

    fn decompressed(chunk: &Chunk) -> Vec<u8> {
        let mut rows = Vec::with_capacity(2 * usize::try_from(chunk.uncompressed_bytes).unwrap());
        let mut inflate = flate2::Decompress::new(false);
        inflate.decompress_vec(&chunk.deflated, &mut rows, flate2::FlushDecompress::Sync).unwrap();
        rows
    }

    /// Rows of these lengths that cannot be compressed.
    fn random_rows(lengths: impl IntoIterator<Item = usize>) -> Rows {
        let mut random = fastrand::Rng::with_seed(7);
        let row = |length| std::iter::repeat_with(|| random.u8(..)).take(length).collect::<Vec<u8>>();
        lengths.into_iter().map(row).collect()
    }

    /// Deflate collects small pages, whose memory is not enough for what it then writes at once.
    #[test]
    fn rows_that_cannot_be_compressed_are_complete_at_every_level() {
        for level in 1..=9 {
            for large in [0, BLOCK_SIZE, 3 * BLOCK_SIZE] {
                let all = random_rows(std::iter::repeat_n(100, 150).chain([large]));
                let mut encoder = ChunkEncoder::new(CompressionLevel::new(level).unwrap());
                let mut rest = all.clone();
                while !rest.is_empty() {
                    encoder.add(&rest.split_to(1));
                }
                let chunk = encoder.finish().unwrap();
                assert!(decompressed(&chunk) == all.bytes(), "level {level}, last row of {large} bytes");
            }
        }
    }

    #[test]
    fn memory_of_an_encoder_does_not_grow_with_rows_that_compress_well() {
        let mut encoder = ChunkEncoder::new(CompressionLevel::DEFAULT);
        encoder.add(&["x".repeat(20 * BLOCK_SIZE)].iter().collect());
        assert!(encoder.deflated.capacity() <= 3 * BLOCK_SIZE, "{} bytes", encoder.deflated.capacity());
    }

    #[test]
    fn a_chunk_of_many_blocks_decompresses_to_all_rows() {
        let lines: Vec<String> = (0..3_000).map(|id| format!("{id} {}\n", "ab ".repeat(id % 100))).collect();
        let all: Rows = lines.iter().collect();
        let mut encoder = ChunkEncoder::new(CompressionLevel::DEFAULT);
        let mut rest = all.clone();
        while !rest.is_empty() {
            encoder.add(&rest.split_to(999));
        }
        let chunk = encoder.finish().unwrap();
        assert!(all.bytes().len() > 3 * BLOCK_SIZE);
        assert!(decompressed(&chunk) == all.bytes(), "the rows differ");
        let mut checksum = Hasher::new();
        checksum.update(all.bytes());
        assert_eq!(chunk.checksum.finalize(), checksum.finalize());
        assert_eq!((chunk.rows, chunk.uncompressed_bytes), (3_000, all.bytes().len() as u64));
    }

    #[test]
    fn chunk_does_not_depend_on_earlier_chunks() {
        let page: Rows = ["same same same", "same same same"].iter().collect();
        let mut encoder = ChunkEncoder::new(CompressionLevel::SMALLEST);
        let first = chunk(&mut encoder, &page);
        let second = chunk(&mut encoder, &page);
        assert_eq!(first.deflated, second.deflated);
        let uncompressed = page.bytes().len() as u64;
        assert_eq!((second.rows(), second.uncompressed_bytes()), (2, uncompressed));
        assert_eq!(second.compressed_len(), second.deflated.len());
    }

    #[test]
    fn a_chunk_without_rows_is_empty() {
        let chunk = chunk(&mut ChunkEncoder::new(CompressionLevel::DEFAULT), &Rows::default());
        assert_eq!((chunk.rows(), chunk.compressed_len(), chunk.uncompressed_bytes()), (0, 0, 0));
    }

    #[test]
    fn debug_output_hides_the_rows() {
        let mut encoder = ChunkEncoder::new(CompressionLevel::DEFAULT);
        encoder.add(&["ann@example.com"].iter().collect());
        assert_eq!(format!("{encoder:?}"), "ChunkEncoder(1 rows so far)");
    }
}
