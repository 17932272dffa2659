//! Chunks: the rows of a few pages, deflated on their own.
//!
//! Owns their raw deflate stream. Invariant: a chunk refers to nothing outside itself, ends on a byte boundary and is
//! not final, so chunks can be joined in any order and number. It does not know gzip.

use crc32fast::Hasher;
use flate2::{Compress, CompressError, Compression, FlushCompress};

use super::CompressionLevel;
use crate::row::{Encoder, IngestionTime, RowError};

/// Bytes of rows that are deflated at a time: few enough to be still in the processor's cache, and to need no memory.
const PIECE: usize = 64 * 1_024;

/// Room beyond the rows' own length, so that almost always one call of deflate is enough.
const SPARE: usize = 1_024;

/// Encodes and deflates chunks one after another, reusing its memory: that of a piece's rows, and of the largest chunk so
/// far.
#[derive(Debug)]
pub struct ChunkEncoder {
    encoder: Encoder,
    deflate: Compress,
    /// Rows that are not deflated yet.
    rows: Vec<u8>,
    deflated: Vec<u8>,
    count: u64,
    uncompressed_bytes: u64,
    checksum: Hasher,
    failed: Option<CompressError>,
}

/// A few pages' rows, deflated.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub(super) deflated: Box<[u8]>,
    /// Over the rows before compression; knows their length, so it can be combined with others.
    pub(super) checksum: Hasher,
    pub(super) rows: u64,
    pub(super) uncompressed_bytes: u64,
}

/// Deflate refused its own state.
#[derive(Debug, thiserror::Error)]
#[error("could not deflate a chunk's rows")]
pub struct DeflateError(#[source] CompressError);

impl ChunkEncoder {
    /// An encoder of rows with this `time`, deflated at this `level`.
    pub fn new(level: CompressionLevel, time: IngestionTime) -> Self {
        Self {
            encoder: Encoder::new(time),
            deflate: Compress::new(Compression::new(u32::from(level.get())), false),
            rows: Vec::new(),
            deflated: Vec::new(),
            count: 0,
            uncompressed_bytes: 0,
            checksum: Hasher::new(),
            failed: None,
        }
    }

    /// Adds the row of `customer`, the text of one JSON value, to the chunk.
    ///
    /// # Errors
    /// When no row can be made of it; the chunk is as it was then.
    pub fn add(&mut self, customer: &str) -> Result<(), RowError> {
        self.encoder.encode(customer, &mut self.rows)?;
        self.count += 1;
        if self.rows.len() >= PIECE {
            self.deflate_rows(FlushCompress::None);
        }
        Ok(())
    }

    /// Completes the chunk and starts the next one.
    ///
    /// # Errors
    /// When deflate fails; the rows are lost then.
    pub fn finish(&mut self) -> Result<Chunk, DeflateError> {
        if self.count > 0 {
            self.deflate_rows(FlushCompress::Sync);
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

    /// Deflates the rows that are there. A failure is told at the chunk's end.
    fn deflate_rows(&mut self, flush: FlushCompress) {
        self.checksum.update(&self.rows);
        self.uncompressed_bytes += self.rows.len() as u64;
        let mut rest = self.rows.as_slice();
        loop {
            // The worst case at any level is nine bits for a byte.
            self.deflated.reserve(rest.len() + rest.len() / 8 + SPARE);
            let before = self.deflate.total_in();
            if let Err(error) = self.deflate.compress_vec(rest, &mut self.deflated, flush) {
                self.failed = Some(error);
                break;
            }
            let taken = usize::try_from(self.deflate.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            // The flush is complete only if deflate left room: else it goes on in the next call.
            if rest.is_empty() && self.deflated.len() < self.deflated.capacity() {
                break;
            }
        }
        self.rows.clear();
    }
}

impl Chunk {
    /// Rows in this chunk.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that this chunk adds to a part.
    pub fn compressed_len(&self) -> usize {
        self.deflated.len()
    }

    /// Bytes of its rows before compression.
    pub fn uncompressed_bytes(&self) -> u64 {
        self.uncompressed_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(encoder: &mut ChunkEncoder, customers: &[&str]) -> Chunk {
        for customer in customers {
            encoder.add(customer).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn a_customer_that_is_refused_leaves_no_trace_in_the_chunk() {
        let mut encoder = ChunkEncoder::new(CompressionLevel::FASTEST, IngestionTime::MAX);
        let expected = chunk(&mut encoder, &[r#"{"a":1}"#, "{}"]);
        encoder.add(r#"{"a":1}"#).unwrap();
        let error = encoder.add(r#"["canary"]"#).unwrap_err();
        assert_eq!(error.to_string(), "customer is not a JSON object");
        let found = chunk(&mut encoder, &["{}"]);
        assert_eq!((found.rows(), &found.deflated), (2, &expected.deflated));
    }

    #[test]
    fn a_chunk_of_many_pieces_unpacks_to_all_rows() {
        let customers: Vec<String> =
            (0..3_000).map(|id| format!(r#"{{"id":{id},"text":"{}"}}"#, "ab ".repeat(id % 100))).collect();
        let mut encoder = ChunkEncoder::new(CompressionLevel::DEFAULT, IngestionTime::MAX);
        let mut rows = Vec::new();
        for customer in &customers {
            encoder.add(customer).unwrap();
            Encoder::new(IngestionTime::MAX).encode(customer, &mut rows).unwrap();
        }
        let chunk = encoder.finish().unwrap();
        assert!(rows.len() > 3 * PIECE);
        let mut unpacked = Vec::with_capacity(2 * rows.len());
        let mut inflate = flate2::Decompress::new(false);
        inflate.decompress_vec(&chunk.deflated, &mut unpacked, flate2::FlushDecompress::Sync).unwrap();
        assert!(unpacked == rows, "other rows");
        let mut checksum = Hasher::new();
        checksum.update(&rows);
        assert_eq!(chunk.checksum.finalize(), checksum.finalize());
        assert_eq!((chunk.rows, chunk.uncompressed_bytes), (3_000, rows.len() as u64));
    }

    #[test]
    fn chunk_is_the_same_whatever_was_encoded_before() {
        let page = [r#"{"a":"same same same"}"#, r#"{"a":"same same same"}"#];
        let mut encoder = ChunkEncoder::new(CompressionLevel::SMALLEST, IngestionTime::MAX);
        let first = chunk(&mut encoder, &page);
        let second = chunk(&mut encoder, &page);
        assert_eq!(first.deflated, second.deflated);
        assert_eq!((second.rows(), second.uncompressed_bytes()), (2, first.uncompressed_bytes()));
    }
}
