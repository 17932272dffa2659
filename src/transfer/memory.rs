//! The bound of a run's memory.
//!
//! Owns how many objects are in memory at the same time, and the calculation of the bound. Invariant: nothing depends on the
//! number of customers, except about 16 bytes per page for its cursor.

use std::thread::available_parallelism;

use super::batcher::batch_bytes;
use super::settings::{PartSettings, TransferSettings};

/// Maximum number of compression threads. The single network thread cannot keep more of them busy, at the default compression
/// level not even two.
pub const MAX_COMPRESSION_THREADS: usize = 3;
/// Memory of the program itself, with its connections and their buffers. Measured: 8 MiB without rows, plus what the allocator
/// retains.
const PROGRAM: u64 = 16 * 1024 * 1024;
/// Maximum average size of the customers of a page, and of their rows. Pages above 1 MB have been observed, larger averages not.
const MAX_CUSTOMER_BYTES: u64 = 10 * 1024;
/// Memory of an encoder per byte of a row: less than half a byte compressed, twice that while the buffer grows, and again in
/// the finished chunk.
const ENCODER_SHARE: u64 = 2;
/// Memory of deflate for its window, hash chains and pending output.
const DEFLATE_STATE: u64 = 512 * 1024;

/// Number of compression threads. One processor is left to the network thread, which they would otherwise delay.
pub(super) fn compression_threads() -> usize {
    let processors = available_parallelism().map_or(1, std::num::NonZero::get);
    processors.saturating_sub(1).clamp(1, MAX_COMPRESSION_THREADS)
}

/// Number of batches that are compressed or wait for compression, in addition to the one that is collected and the one that is
/// added to a part.
pub(super) fn waiting_batches(compression_threads: usize) -> usize {
    compression_threads + 1
}

impl TransferSettings {
    /// Maximum memory in bytes of a run with these settings on this machine, if no page exceeds 10 KiB per customer that it may
    /// have.
    pub fn memory_bound(&self) -> u64 {
        self.memory_bound_with(compression_threads())
    }

    /// As [`Self::memory_bound`], with a given number of compression threads.
    pub fn memory_bound_with(&self, compression_threads: usize) -> u64 {
        let page = u64::from(self.page_size) * MAX_CUSTOMER_BYTES;
        let batch = bytes(batch_bytes(&self.parts)) + page;
        let batches = (bytes(waiting_batches(compression_threads)) + 2) * batch;
        let encoders = bytes(compression_threads) * (ENCODER_SHARE * batch + DEFLATE_STATE);
        // Two pages: the response and its rows.
        PROGRAM + 2 * page + batches + encoders + self.parts_bound(batch)
    }

    /// A part may exceed its closing size by one batch, which is compressed to less than half.
    fn parts_bound(&self, batch: u64) -> u64 {
        let part =
            |parts: &PartSettings| bytes(part_capacity(parts)).max(bytes(parts.closing_size) + batch / 2);
        bytes(parts_in_memory(self)) * part(&self.parts)
    }
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Number of parts that are built or stored at the same time.
pub(super) fn parts_in_memory(settings: &TransferSettings) -> usize {
    settings.upload_workers.get() + 1
}

/// Usual maximum size of a part: its closing size plus one compressed batch. A larger part only costs a reallocation.
pub(super) fn part_capacity(parts: &PartSettings) -> usize {
    parts.closing_size + batch_bytes(parts) / 2
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
    fn every_setting_that_affects_memory_is_in_the_bound() {
        let bound = |settings: &TransferSettings| settings.memory_bound_with(1);
        let default = bound(&settings(100, 4 * MEBIBYTE, 2));
        let part_size = bound(&settings(100, 5 * MEBIBYTE, 2)) - default;
        assert_eq!(part_size, 3 * MEBIBYTE, "one MiB for each of three parts");
        let workers = bound(&settings(100, 4 * MEBIBYTE, 3)) - default;
        assert!((4 * MEBIBYTE..6 * MEBIBYTE).contains(&workers), "one more part, not {workers}");
        // A response, its rows, four batches, two for the encoder, and half of one for each of three parts.
        let half_a_page = default - bound(&settings(50, 4 * MEBIBYTE, 2));
        assert!(half_a_page >= 9 * 50 * MAX_CUSTOMER_BYTES, "{half_a_page} bytes");
    }

    #[test]
    fn each_compression_thread_needs_a_waiting_batch_and_an_encoder() {
        let settings = settings(100, 4 * MEBIBYTE, 2);
        let bound = |threads| settings.memory_bound_with(threads);
        let batch = MEBIBYTE / 2 + 100 * MAX_CUSTOMER_BYTES;
        for threads in 1..MAX_COMPRESSION_THREADS {
            assert_eq!(bound(threads + 1) - bound(threads), batch + 2 * batch + DEFLATE_STATE);
        }
        assert!((bound(1)..=bound(MAX_COMPRESSION_THREADS)).contains(&settings.memory_bound()));
    }

    #[test]
    fn a_part_that_exceeds_its_closing_size_by_one_batch_fits_its_memory() {
        let parts = settings(100, 4 * MEBIBYTE, 2).parts;
        assert_eq!(bytes(part_capacity(&parts)), 4 * MEBIBYTE + MEBIBYTE / 4);
    }
}
