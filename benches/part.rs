//! Speed and size of parts at every compression level, in bytes of rows per second.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]
#![expect(clippy::print_stderr, reason = "criterion cannot report sizes")]

mod customers;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use yotpo_td::part::{Chunk, ChunkEncoder, CompressionLevel, PartBuilder};
use yotpo_td::row::{self, IngestionTime, Rows};

const PAGES: u64 = 20;
/// About half a megabyte of rows, as in the program.
const PAGES_IN_A_CHUNK: usize = 5;

fn pages() -> Vec<Rows> {
    (0..PAGES).map(|seed| rows(&customers::page(seed))).collect()
}

fn rows(page: &str) -> Rows {
    let row = |customer| {
        let mut row = Vec::new();
        row::encode(customer, IngestionTime::MAX, &mut row).unwrap();
        row
    };
    customers::split(page).into_iter().map(row).collect()
}

fn encode(encoder: &mut ChunkEncoder, pages: &[Rows]) -> Vec<Chunk> {
    pages
        .chunks(PAGES_IN_A_CHUNK)
        .map(|pages| {
            for rows in pages {
                encoder.add(rows);
            }
            encoder.finish().unwrap()
        })
        .collect()
}

fn chunks(criterion: &mut Criterion) {
    let pages = pages();
    let row_bytes: usize = pages.iter().map(|rows| rows.bytes().len()).sum();
    let mut group = criterion.benchmark_group("part");
    group.throughput(Throughput::Bytes(row_bytes as u64)).sample_size(20);
    for level in 1..=9 {
        let mut encoder = ChunkEncoder::new(CompressionLevel::new(level).unwrap());
        let size: usize = encode(&mut encoder, &pages).iter().map(Chunk::compressed_len).sum();
        eprintln!("level {level}: {row_bytes} bytes of rows compressed to {size}");
        group.bench_function(format!("chunk/level_{level}"), |bencher| {
            bencher.iter(|| black_box(encode(&mut encoder, &pages)));
        });
    }
    group.finish();
}

fn building(criterion: &mut Criterion) {
    let chunks = encode(&mut ChunkEncoder::new(CompressionLevel::FASTEST), &pages());
    let bytes: u64 = chunks.iter().map(Chunk::uncompressed_bytes).sum();
    let mut group = criterion.benchmark_group("part");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("build", |bencher| {
        bencher.iter_batched(
            || PartBuilder::with_capacity(1 << 20, 1),
            |mut builder| {
                for chunk in &chunks {
                    builder.append(chunk);
                }
                builder.finish()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, chunks, building);
criterion_main!(benches);
