//! How much memory a run takes: what bounds it, and the bound.
//!
//! Owns the numbers of things that are in memory at once, and the arithmetic over them. Invariant: none of it depends on
//! how many customers there are, but for the 16 bytes or so by which each page's cursor is remembered.

use std::thread::available_parallelism;

use super::fetch::full_batch;
use super::upload::{part_capacity, parts_in_memory};
use super::{LoadSettings, PartSettings};

/// The one network thread cannot keep more encoders busy, at the default compression level not even two.
const MOST_ENCODER_THREADS: usize = 3;
/// The program itself, with its connections and their buffers. Measured: 8 MiB without rows, and what the allocator
/// keeps between them.
const PROGRAM: u64 = 16 * 1024 * 1024;
/// Pages above 1 MB have been seen; larger customers than this on every place of a page have not, nor larger rows.
const LARGEST_CUSTOMER: u64 = 10 * 1024;
/// An encoder's memory for a byte of a row: deflated, less than half a byte, twice while the buffer grows, and in the
/// finished chunk.
const ENCODER_SHARE: u64 = 2;
/// Window, hash chains and pending output of deflate.
const DEFLATE_STATE: u64 = 512 * 1024;

/// Threads that encode: one processor is left to the network, which they would keep from running.
pub(super) fn encoder_threads() -> usize {
    let processors = available_parallelism().map_or(1, std::num::NonZero::get);
    processors.saturating_sub(1).clamp(1, MOST_ENCODER_THREADS)
}

/// Batches that are encoded or wait for it, beside the one that is gathered and the one that is put into a part.
pub(super) fn waiting_batches(encoder_threads: usize) -> usize {
    encoder_threads + 1
}

impl LoadSettings {
    /// Most bytes of memory that a run with these settings takes on this machine, if no page has more than 10 KiB for
    /// each customer that may be on it.
    pub fn memory_bound(&self) -> u64 {
        self.memory_bound_with(encoder_threads())
    }

    fn memory_bound_with(&self, encoder_threads: usize) -> u64 {
        let page = u64::from(self.page_size) * LARGEST_CUSTOMER;
        let batch = bytes(full_batch(&self.parts)) + page;
        let batches = (bytes(waiting_batches(encoder_threads)) + 2) * batch;
        let encoders = bytes(encoder_threads) * (ENCODER_SHARE * batch + DEFLATE_STATE);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{LARGEST_CUSTOMER, MOST_ENCODER_THREADS};
    use crate::config::{Layers, Settings};

    const MEBIBYTE: u64 = 1024 * 1024;

    fn bound(flags: &[(&'static str, &str)], encoder_threads: usize) -> u64 {
        let environment = [
            ("YOTPO_CLIENT_SECRET", "secret"),
            ("YOTPO_STORE_ID", "store"),
            ("TD_API_KEY", "1/0123456789012345678901234567890123456789"),
            ("TD_DATABASE", "database"),
            ("XDG_STATE_HOME", "/state"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let settings = Settings::from_layers(Layers::new(&flags, BTreeMap::from(environment), None)).unwrap();
        settings.load.memory_bound_with(encoder_threads)
    }

    #[test]
    fn the_defaults_keep_to_what_is_promised() {
        assert!(bound(&[], 1) <= 48_000_000, "{} bytes", bound(&[], 1));
        let most = bound(&[], MOST_ENCODER_THREADS);
        assert!(most <= 60_000_000, "{most} bytes");
    }

    #[test]
    fn every_setting_that_takes_memory_is_in_the_bound() {
        let default = bound(&[], 1);
        let part_size = bound(&[("part-size", "5MiB")], 1) - default;
        assert_eq!(part_size, 3 * MEBIBYTE, "one for each part");
        let workers = bound(&[("upload-workers", "3")], 1) - default;
        assert!((4 * MEBIBYTE..6 * MEBIBYTE).contains(&workers), "one part more, not {workers}");
        // An answer, its rows, four batches, two for the encoder, and half of one for each of three parts.
        let half_a_page = default - bound(&[("page-size", "50")], 1);
        assert!(half_a_page >= 9 * 50 * LARGEST_CUSTOMER, "{half_a_page} bytes");
    }
}
