//! The floor: the minimum cost of any program that splits pages with `serde_json` and deflates rows with the same library.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::{Compress, Compression, FlushCompress};
use serde::Deserialize;
use serde_json::value::RawValue;
use yotpo_td::part::CompressionLevel;
use yotpo_td::row::{Encoder, IngestionTime};

use crate::processes::thread_cpu;

/// Rows are deflated in blocks of this size, as in the program.
const BLOCK_SIZE: usize = 64 * 1024;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    customers: Vec<&'a RawValue>,
}

/// Pages as received, and their rows.
pub(crate) struct Floor {
    pages: Vec<Vec<u8>>,
    rows: Vec<u8>,
}

/// Seconds of processor time.
pub(crate) struct FloorTime {
    pub(crate) splitting: f64,
    pub(crate) deflating: f64,
}

impl Floor {
    pub(crate) fn of(pages: &[Vec<u8>]) -> Self {
        let mut encoder = Encoder::new(IngestionTime::MAX);
        let mut rows = Vec::new();
        for page in pages {
            for customer in split(page) {
                encoder.encode(customer.get(), &mut rows).unwrap();
            }
        }
        Self { pages: pages.to_vec(), rows }
    }

    pub(crate) fn json_bytes(&self) -> usize {
        self.pages.iter().map(Vec::len).sum()
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.rows.len()
    }

    /// Measures both halves once, one after the other, on an otherwise idle machine.
    pub(crate) fn measure_alone(&self) -> FloorTime {
        FloorTime { splitting: self.split_all(), deflating: self.deflate_all() }
    }

    /// Measures both halves once, at the same time, and keeps both threads busy until both are done. In the program,
    /// the other processor is never idle either, and work that shares a cache, a core or a host slows both threads
    /// down.
    pub(crate) fn measure(&self) -> FloorTime {
        let deflated = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let splitting = scope.spawn(|| {
                let measured = self.split_all();
                while !deflated.load(Ordering::Relaxed) {
                    self.split_all();
                }
                measured
            });
            let deflating = self.deflate_all();
            deflated.store(true, Ordering::Relaxed);
            FloorTime { splitting: splitting.join().unwrap(), deflating }
        })
    }

    fn split_all(&self) -> f64 {
        let started = thread_cpu();
        for page in &self.pages {
            black_box(split(page));
        }
        thread_cpu() - started
    }

    fn deflate_all(&self) -> f64 {
        let started = thread_cpu();
        let level = Compression::new(u32::from(CompressionLevel::DEFAULT.get()));
        let mut deflate = Compress::new(level, false);
        let mut deflated = Vec::with_capacity(2 * BLOCK_SIZE);
        for block in self.rows.chunks(BLOCK_SIZE) {
            deflated.clear();
            deflate.compress_vec(block, &mut deflated, FlushCompress::None).unwrap();
            black_box(&deflated);
        }
        thread_cpu() - started
    }
}

impl FloorTime {
    pub(crate) fn total(&self) -> f64 {
        self.splitting + self.deflating
    }
}

fn split(page: &[u8]) -> Vec<&RawValue> {
    serde_json::from_slice::<Body<'_>>(page).unwrap().customers
}
