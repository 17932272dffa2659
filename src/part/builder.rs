//! The part builder: chunks in order, in one gzip member.
//!
//! Owns the gzip frame (RFC 1952): header, checksum and length. Invariant: after [`PartBuilder::finish`] the body is one
//! complete member, readable by decoders that stop after the first, and the same chunks give the same bytes.
//! It does not compress.

use bytes::Bytes;
use crc32fast::Hasher;

use super::Chunk;

/// Deflate, no name, no time stamp (so that equal rows give equal parts), no hint, unknown system: RFC 1952, 2.3.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty final block with fixed codes: RFC 1951, 3.2.6.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// CRC-32 and length.
const TRAILER_LENGTH: usize = 8;

/// Collects chunks into one part at a time.
#[derive(Debug, Default)]
pub struct PartBuilder {
    body: Vec<u8>,
    checksum: Hasher,
    rows: u64,
    uncompressed_bytes: u64,
    capacity: usize,
}

/// A finished part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The gzip file.
    pub body: Bytes,
    /// Rows in it.
    pub rows: u64,
    /// Bytes of its rows before compression.
    pub uncompressed_bytes: u64,
}

impl PartBuilder {
    /// A builder of parts of any size.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder that reserves `bytes` for each part, so that one of that size never moves in memory.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { capacity: bytes, ..Self::default() }
    }

    /// Adds a chunk's rows after those of the chunks before it.
    pub fn append(&mut self, chunk: &Chunk) {
        if self.body.is_empty() {
            self.body.reserve(self.capacity);
            self.body.extend_from_slice(&HEADER);
        }
        self.body.extend_from_slice(&chunk.deflated);
        self.checksum.combine(&chunk.checksum);
        self.rows += chunk.rows;
        self.uncompressed_bytes += chunk.uncompressed_bytes;
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that the part would have if it were finished now.
    pub fn compressed_len(&self) -> usize {
        self.body.len().max(HEADER.len()) + LAST_BLOCK.len() + TRAILER_LENGTH
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Completes the part and starts the next one. Without rows it unpacks to nothing, and is better not sent.
    pub fn finish(&mut self) -> Part {
        let mut finished = std::mem::replace(self, Self::with_capacity(self.capacity));
        if finished.body.is_empty() {
            finished.body.extend_from_slice(&HEADER);
        }
        finished.body.extend_from_slice(&LAST_BLOCK);
        finished.body.extend_from_slice(&finished.checksum.finalize().to_le_bytes());
        finished.body.extend_from_slice(&length_field(finished.uncompressed_bytes));
        Part {
            body: finished.body.into(),
            rows: finished.rows,
            uncompressed_bytes: finished.uncompressed_bytes,
        }
    }
}

/// The length modulo 2^32, least significant byte first: RFC 1952, 2.3.1.
fn length_field(uncompressed_bytes: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = uncompressed_bytes.to_le_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use serde_json::value::RawValue;

    use super::*;
    use crate::part::{ChunkEncoder, CompressionLevel};
    use crate::row::{self, IngestionTime};

    fn customers(range: std::ops::Range<u32>) -> Vec<Box<RawValue>> {
        let json =
            range.map(|id| format!(r#"{{"id": {id}, "name": "Zoë {}", "tags": "vip,,sale"}}"#, id % 7));
        json.map(|json| RawValue::from_string(json).unwrap()).collect()
    }

    fn rows(customers: &[Box<RawValue>]) -> Vec<u8> {
        let mut rows = Vec::new();
        for customer in customers {
            row::encode(customer, IngestionTime::MAX, &mut rows).unwrap();
        }
        rows
    }

    fn chunk(encoder: &mut ChunkEncoder, customers: &[Box<RawValue>]) -> Chunk {
        customers.iter().for_each(|customer| encoder.add(customer.get()).unwrap());
        encoder.finish().unwrap()
    }

    fn unpacked(part: &Part) -> Vec<u8> {
        let mut decoder = GzDecoder::new(&part.body[..]);
        let mut rows = Vec::new();
        decoder.read_to_end(&mut rows).unwrap();
        assert!(decoder.into_inner().is_empty(), "one member, nothing behind it");
        rows
    }

    #[test]
    fn part_unpacks_to_the_rows_in_order_at_every_level() {
        for level in 1..=9 {
            let mut encoder = ChunkEncoder::new(CompressionLevel::new(level).unwrap(), IngestionTime::MAX);
            let mut builder = PartBuilder::new();
            for page in [0..100, 100..100, 100..101, 101..500] {
                builder.append(&chunk(&mut encoder, &customers(page)));
            }
            let announced = builder.compressed_len();
            let part = builder.finish();
            let expected = rows(&customers(0..500));
            assert_eq!(part.body.len(), announced);
            assert_eq!((part.rows, part.uncompressed_bytes), (500, expected.len() as u64));
            assert_eq!(unpacked(&part), expected);
        }
    }

    #[test]
    fn builder_starts_anew_after_a_part() {
        let mut encoder = ChunkEncoder::new(CompressionLevel::FASTEST, IngestionTime::MAX);
        let mut builder = PartBuilder::with_capacity(1 << 20);
        let chunk = chunk(&mut encoder, &customers(0..10));
        builder.append(&chunk);
        let first = builder.finish();
        assert!(builder.is_empty());
        assert_eq!(builder.rows(), 0);
        builder.append(&chunk);
        assert!(!builder.is_empty());
        assert_eq!(builder.finish(), first);
    }

    #[test]
    fn length_is_kept_modulo_four_gib() {
        assert_eq!(length_field(0x0000_0007_0403_0201), [1, 2, 3, 4]);
    }

    #[test]
    fn part_without_rows_unpacks_to_nothing() {
        let mut builder = PartBuilder::new();
        assert_eq!(builder.compressed_len(), 20);
        let part = builder.finish();
        assert_eq!(part.body.len(), 20);
        assert_eq!(unpacked(&part), b"");
    }
}
