//! Chunks: one page's rows, deflated on their own.
//!
//! Owns the raw deflate stream of one page. Invariant: a chunk refers to nothing outside itself, ends on a byte boundary
//! and is not final, so chunks can be joined in any order and number. It does not know gzip.

use crc32fast::Hasher;
use flate2::{Compress, CompressError, Compression, FlushCompress};

use super::CompressionLevel;
use crate::row::{Encoder, IngestionTime, RowError};

/// Room beyond the rows' own length, so that almost always one call of deflate is enough.
const SPARE: usize = 1_024;

/// Encodes and deflates pages one after another, reusing its memory: the rows of the largest page so far, twice.
#[derive(Debug)]
pub struct ChunkEncoder {
    encoder: Encoder,
    deflate: Compress,
    rows: Vec<u8>,
    deflated: Vec<u8>,
}

/// A page's rows, deflated.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub(super) deflated: Box<[u8]>,
    /// Over the rows before compression; knows their length, so it can be combined with others.
    pub(super) checksum: Hasher,
    pub(super) rows: u64,
    pub(super) uncompressed_bytes: u64,
}

/// Why a page could not become a chunk.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A customer cannot become a row.
    #[error("could not encode customer {index} of the page")]
    Customer {
        /// The customer's place among those given, from 0.
        index: usize,
        /// What is wrong with it.
        source: RowError,
    },
    /// Deflate refused its own state.
    #[error("could not deflate the page's rows")]
    Deflate(#[source] CompressError),
}

impl ChunkEncoder {
    /// An encoder of rows with this `time`, deflated at this `level`.
    pub fn new(level: CompressionLevel, time: IngestionTime) -> Self {
        Self {
            encoder: Encoder::new(time),
            deflate: Compress::new(Compression::new(u32::from(level.get())), false),
            rows: Vec::new(),
            deflated: Vec::new(),
        }
    }

    /// The chunk of one page's `customers`, each the text of one JSON value, in their order. After an error the encoder can be used for other pages.
    pub fn encode<'a>(&mut self, customers: impl IntoIterator<Item = &'a str>) -> Result<Chunk, EncodeError> {
        self.rows.clear();
        let mut rows = 0;
        for (index, customer) in customers.into_iter().enumerate() {
            self.encoder
                .encode(customer, &mut self.rows)
                .map_err(|source| EncodeError::Customer { index, source })?;
            rows += 1;
        }
        self.deflate().map_err(EncodeError::Deflate)?;
        let mut checksum = Hasher::new();
        checksum.update(&self.rows);
        Ok(Chunk {
            deflated: self.deflated.as_slice().into(),
            checksum,
            rows,
            uncompressed_bytes: self.rows.len() as u64,
        })
    }

    fn deflate(&mut self) -> Result<(), CompressError> {
        self.deflated.clear();
        if self.rows.is_empty() {
            return Ok(());
        }
        self.deflate.reset();
        let mut rest = self.rows.as_slice();
        loop {
            // The worst case at any level is nine bits for a byte.
            self.deflated.reserve(rest.len() + rest.len() / 8 + SPARE);
            let before = self.deflate.total_in();
            self.deflate.compress_vec(rest, &mut self.deflated, FlushCompress::Sync)?;
            let taken = usize::try_from(self.deflate.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            // The flush is complete only if deflate left room: else it goes on in the next call.
            if rest.is_empty() && self.deflated.len() < self.deflated.capacity() {
                return Ok(());
            }
        }
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
    use serde_json::value::RawValue;
    use std::error::Error as _;

    #[test]
    fn error_names_the_customer_but_shows_nothing_of_it() {
        let page = r#"[{"email":"canary@example.com"},["canary"],{}]"#;
        let customers: Vec<&RawValue> = serde_json::from_str(page).unwrap();
        let mut encoder = ChunkEncoder::new(CompressionLevel::FASTEST, IngestionTime::MAX);
        let error = encoder.encode(customers.iter().map(|raw| raw.get())).unwrap_err();
        assert_eq!(error.to_string(), "could not encode customer 1 of the page");
        assert_eq!(error.source().unwrap().to_string(), "customer is not a JSON object");
        assert!(!format!("{error:?}").contains("canary"));
        let chunk = encoder.encode(customers.first().map(|raw| raw.get())).unwrap();
        assert_eq!(chunk.rows(), 1);
    }

    #[test]
    fn chunk_is_the_same_whatever_was_encoded_before() {
        let page = r#"[{"a":"same same same"},{"a":"same same same"}]"#;
        let customers: Vec<&RawValue> = serde_json::from_str(page).unwrap();
        let mut encoder = ChunkEncoder::new(CompressionLevel::SMALLEST, IngestionTime::MAX);
        let first = encoder.encode(customers.iter().map(|raw| raw.get())).unwrap();
        let second = encoder.encode(customers.iter().map(|raw| raw.get())).unwrap();
        assert_eq!(first.deflated, second.deflated);
    }
}
