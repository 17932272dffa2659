//! The part builder: joins chunks in order in one gzip member.
//!
//! Owns the gzip frame (RFC 1952): header, checksum and length. Invariant: after [`PartBuilder::finish`], the body is
//! one complete member, readable by decoders that stop after the first one, and equal chunks result in equal bytes. It
//! does not compress.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use crc32fast::Hasher;

use super::Chunk;

/// Deflate, no name, no timestamp (so that equal rows result in equal parts), no hint, unknown system: RFC 1952, 2.3.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty final block with fixed codes: RFC 1951, 3.2.6.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// CRC-32 and length.
const TRAILER_LENGTH: usize = 8;

/// Collects chunks into one part at a time.
#[derive(Debug, Default)]
pub struct PartBuilder {
    body: BytesMut,
    checksum: Hasher,
    rows: u64,
    uncompressed_bytes: u64,
    capacity: usize,
    /// Buffers of stored parts. First in, first out: all of them are in use from the start, and a long run needs no
    /// more memory than a short one.
    free_buffers: VecDeque<BytesMut>,
    /// Number of buffers that were allocated, and its maximum.
    buffers: usize,
    max_buffers: usize,
}

/// A finished part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The gzip file.
    pub body: Bytes,
    /// Number of rows.
    pub rows: u64,
    /// Size of the rows before compression, in bytes.
    pub uncompressed_bytes: u64,
}

impl PartBuilder {
    /// Creates a builder of parts of any size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a builder that allocates `bytes` of memory for each of the first `parts` parts. Later parts use the
    /// memory returned by [`Self::reuse`].
    pub fn with_capacity(bytes: usize, parts: usize) -> Self {
        Self { capacity: bytes, max_buffers: parts, ..Self::default() }
    }

    /// Appends the rows of a chunk.
    pub fn append(&mut self, chunk: &Chunk) {
        if self.body.is_empty() {
            self.begin();
        }
        self.body.extend_from_slice(&chunk.deflated);
        self.checksum.combine(&chunk.checksum);
        self.rows += chunk.rows;
        self.uncompressed_bytes += chunk.uncompressed_bytes;
    }

    /// Returns the memory of a stored part to the builder, unless it is still shared.
    pub fn reuse(&mut self, body: Bytes) {
        match body.try_into_mut() {
            Ok(mut body) => {
                body.clear();
                self.free_buffers.push_back(body);
            }
            // The other owner frees it, so the next part gets a new buffer.
            Err(_shared) => self.buffers = self.buffers.saturating_sub(1),
        }
    }

    /// Number of rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Size of the part in bytes if it were finished now.
    pub fn compressed_len(&self) -> usize {
        self.body.len().max(HEADER.len()) + LAST_BLOCK.len() + TRAILER_LENGTH
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Completes the part and starts the next one. A part without rows decompresses to nothing and should not be
    /// uploaded.
    pub fn finish(&mut self) -> Part {
        if self.body.is_empty() {
            self.begin();
        }
        let checksum = std::mem::take(&mut self.checksum).finalize();
        let (rows, uncompressed_bytes) =
            (std::mem::take(&mut self.rows), std::mem::take(&mut self.uncompressed_bytes));
        let mut body = std::mem::take(&mut self.body);
        body.extend_from_slice(&LAST_BLOCK);
        body.extend_from_slice(&checksum.to_le_bytes());
        body.extend_from_slice(&length_field(uncompressed_bytes));
        Part { body: body.freeze(), rows, uncompressed_bytes }
    }

    /// Allocates or reuses memory for the next part.
    fn begin(&mut self) {
        let reused = if self.buffers < self.max_buffers { None } else { self.free_buffers.pop_front() };
        self.body = reused.unwrap_or_else(|| {
            self.buffers += 1;
            BytesMut::with_capacity(self.capacity)
        });
        self.body.extend_from_slice(&HEADER);
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

    use super::*;
    use crate::part::{ChunkEncoder, CompressionLevel};
    use crate::row::Rows;
    use flate2::read::GzDecoder;

    fn rows(range: std::ops::Range<u32>) -> Rows {
        range.map(|id| format!(r#"{{"id":{id},"name":"Zoë {}","tags":"vip,,sale"}}"#, id % 7)).collect()
    }

    fn chunk(encoder: &mut ChunkEncoder, rows: &Rows) -> Chunk {
        encoder.add(rows);
        encoder.finish().unwrap()
    }

    fn decompressed(part: &Part) -> Vec<u8> {
        let mut decoder = GzDecoder::new(&part.body[..]);
        let mut rows = Vec::new();
        decoder.read_to_end(&mut rows).unwrap();
        assert!(decoder.into_inner().is_empty(), "one member, nothing after it");
        rows
    }

    #[test]
    fn part_decompresses_to_the_rows_in_order_at_every_level() {
        for level in 1..=9 {
            let mut encoder = ChunkEncoder::new(CompressionLevel::new(level).unwrap());
            let mut builder = PartBuilder::new();
            for page in [0..100, 100..100, 100..101, 101..500] {
                builder.append(&chunk(&mut encoder, &rows(page)));
            }
            let expected_size = builder.compressed_len();
            let part = builder.finish();
            let expected = rows(0..500);
            assert_eq!(part.body.len(), expected_size);
            assert_eq!((part.rows, part.uncompressed_bytes), (500, expected.bytes().len() as u64));
            assert_eq!(decompressed(&part), expected.bytes());
        }
    }

    #[test]
    fn builder_starts_over_after_a_part() {
        let mut encoder = ChunkEncoder::new(CompressionLevel::FASTEST);
        let mut builder = PartBuilder::with_capacity(1 << 20, 2);
        let chunk = chunk(&mut encoder, &rows(0..10));
        builder.append(&chunk);
        let first = builder.finish();
        assert!(builder.is_empty());
        assert_eq!(builder.rows(), 0);
        builder.append(&chunk);
        assert!(!builder.is_empty());
        assert_eq!(builder.finish(), first);
    }

    #[test]
    fn memory_of_stored_parts_is_reused_in_turn() {
        let mut encoder = ChunkEncoder::new(CompressionLevel::FASTEST);
        let mut builder = PartBuilder::with_capacity(1 << 16, 2);
        let chunk = chunk(&mut encoder, &rows(0..10));
        let mut addresses = Vec::new();
        let mut contents = Vec::new();
        for _ in 0..6 {
            builder.append(&chunk);
            let part = builder.finish();
            contents.push(decompressed(&part));
            addresses.push(part.body.as_ptr());
            builder.reuse(part.body);
        }
        assert_ne!(addresses[0], addresses[1], "the second part has a new buffer");
        assert_eq!(addresses, [addresses[0], addresses[1]].repeat(3));
        assert!(contents.iter().all(|content| *content == contents[0]));
    }

    #[test]
    fn memory_of_a_part_is_allocated_at_its_start() {
        let mut builder = PartBuilder::with_capacity(1 << 16, 1);
        builder.append(&chunk(&mut ChunkEncoder::new(CompressionLevel::FASTEST), &rows(0..10)));
        assert_eq!(builder.body.capacity(), 1 << 16);
    }

    #[test]
    fn shared_memory_is_never_written_to() {
        let mut encoder = ChunkEncoder::new(CompressionLevel::FASTEST);
        let mut builder = PartBuilder::with_capacity(1 << 16, 1);
        builder.append(&chunk(&mut encoder, &rows(0..10)));
        let shared = builder.finish().body;
        let before = shared.to_vec();
        builder.reuse(shared.clone());
        builder.append(&chunk(&mut encoder, &rows(10..20)));
        assert_ne!(builder.finish().body, shared);
        assert_eq!(shared, before);
    }

    #[test]
    fn length_is_kept_modulo_four_gib() {
        assert_eq!(length_field(0x0000_0007_0403_0201), [1, 2, 3, 4]);
    }

    #[test]
    fn part_without_rows_decompresses_to_nothing() {
        let mut builder = PartBuilder::new();
        assert_eq!(builder.compressed_len(), 20);
        let part = builder.finish();
        assert_eq!(part.body.len(), 20);
        assert_eq!(decompressed(&part), b"");
    }
}
