//! How much memory a run takes: what bounds it, and the bound.
//!
//! Owns the numbers of things that are in memory at once, and the arithmetic over them. Invariant: none of it depends on
//! how many customers there are, but for the 16 bytes or so by which each page's cursor is remembered.

use std::thread::available_parallelism;

use super::batcher::full_batch;
use super::settings::{PartSettings, TransferSettings};

/// The one network thread cannot keep more compression threads busy, at the default compression level not even two.
pub const MAX_COMPRESSION_THREADS: usize = 3;
/// The program itself, with its connections and their buffers. Measured: 8 MiB without rows, and what the allocator
/// keeps between them.
const PROGRAM: u64 = 16 * 1024 * 1024;
/// Pages above 1 MB have been seen; larger customers than this on every place of a page have not, nor larger rows.
const MAX_CUSTOMER_BYTES: u64 = 10 * 1024;
/// An encoder's memory for a byte of a row: deflated, less than half a byte, twice while the buffer grows, and in the
/// finished chunk.
const ENCODER_SHARE: u64 = 2;
/// Window, hash chains and pending output of deflate.
const DEFLATE_STATE: u64 = 512 * 1024;

/// Threads that compress: one processor is left to the network, which they would keep from running.
pub(super) fn compression_threads() -> usize {
    let processors = available_parallelism().map_or(1, std::num::NonZero::get);
    processors.saturating_sub(1).clamp(1, MAX_COMPRESSION_THREADS)
}

/// Batches that are compressed or wait for it, beside the one that is gathered and the one that is put into a part.
pub(super) fn waiting_batches(compression_threads: usize) -> usize {
    compression_threads + 1
}

impl TransferSettings {
    /// Maximum bytes of memory that a run with these settings takes on this machine, if no page has more than 10 KiB for
    /// each customer that may be on it.
    pub fn memory_bound(&self) -> u64 {
        self.memory_bound_with(compression_threads())
    }

    /// As [`Self::memory_bound`], on a machine with so many threads that compress.
    pub fn memory_bound_with(&self, compression_threads: usize) -> u64 {
        let page = u64::from(self.page_size) * MAX_CUSTOMER_BYTES;
        let batch = bytes(full_batch(&self.parts)) + page;
        let batches = (bytes(waiting_batches(compression_threads)) + 2) * batch;
        let encoders = bytes(compression_threads) * (ENCODER_SHARE * batch + DEFLATE_STATE);
        // A page's answer and its rows.
        PROGRAM + 2 * page + batches + encoders + self.parts_bound(batch)
    }

    /// A part may exceed its closing size by a batch, which is compressed to less than half.
    fn parts_bound(&self, batch: u64) -> u64 {
        let part =
            |parts: &PartSettings| bytes(part_capacity(parts)).max(bytes(parts.closing_size) + batch / 2);
        bytes(parts_in_memory(self)) * part(&self.parts)
    }
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Parts that are built or stored at once.
pub(super) fn parts_in_memory(settings: &TransferSettings) -> usize {
    settings.upload_workers.get() + 1
}

/// Bytes that a part usually comes to: it may exceed its closing size by a batch, compressed. What is beyond that only
/// costs a move in memory.
pub(super) fn part_capacity(parts: &PartSettings) -> usize {
    parts.closing_size + full_batch(parts) / 2
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::part::CompressionLevel;
    use crate::yotpo::LoyaltyCheck;

    const MEBIBYTE: u64 = 1024 * 1024;

    fn settings(page_size: u8, closing_size: u64, upload_workers: usize) -> TransferSettings {
        TransferSettings {
            page_size,
            parts: PartSettings {
                max_rows: NonZeroUsize::new(100_000).unwrap(),
                closing_size: usize::try_from(closing_size).unwrap(),
                level: CompressionLevel::FASTEST,
            },
            upload_workers: NonZeroUsize::new(upload_workers).unwrap(),
            loyalty_check: LoyaltyCheck::On,
            max_error_records: 0,
        }
    }

    #[test]
    fn every_setting_that_takes_memory_is_in_the_bound() {
        let bound = |settings: &TransferSettings| settings.memory_bound_with(1);
        let default = bound(&settings(100, 4 * MEBIBYTE, 2));
        let part_size = bound(&settings(100, 5 * MEBIBYTE, 2)) - default;
        assert_eq!(part_size, 3 * MEBIBYTE, "one for each part");
        let workers = bound(&settings(100, 4 * MEBIBYTE, 3)) - default;
        assert!((4 * MEBIBYTE..6 * MEBIBYTE).contains(&workers), "one part more, not {workers}");
        // A response, its rows, four batches, two for the encoder, and half of one for each of three parts.
        let half_a_page = default - bound(&settings(50, 4 * MEBIBYTE, 2));
        assert!(half_a_page >= 9 * 50 * MAX_CUSTOMER_BYTES, "{half_a_page} bytes");
    }
}
