//! Speed and size of parts at every compression level, in bytes of JSON a second.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]
#![expect(clippy::print_stderr, reason = "sizes are a result that criterion has no place for")]

mod customers;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::value::RawValue;
use yotpo_td::part::{Chunk, ChunkEncoder, CompressionLevel, PartBuilder};
use yotpo_td::row::IngestionTime;

const PAGES: u64 = 20;
/// About half a megabyte of JSON, as the program does.
const PAGES_IN_A_CHUNK: usize = 5;

fn encode(encoder: &mut ChunkEncoder, pages: &[Vec<&RawValue>]) -> Vec<Chunk> {
    pages
        .chunks(PAGES_IN_A_CHUNK)
        .map(|pages| {
            pages.iter().flatten().for_each(|customer| encoder.add(customer.get()).unwrap());
            encoder.finish().unwrap()
        })
        .collect()
}

fn chunks(criterion: &mut Criterion) {
    let pages: Vec<String> = (0..PAGES).map(customers::page).collect();
    let split: Vec<Vec<&RawValue>> = pages.iter().map(|page| customers::split(page)).collect();
    let json_bytes: usize = pages.iter().map(String::len).sum();
    let mut group = criterion.benchmark_group("part");
    group.throughput(Throughput::Bytes(json_bytes as u64)).sample_size(20);
    for level in 1..=9 {
        let mut encoder = ChunkEncoder::new(CompressionLevel::new(level).unwrap(), IngestionTime::MAX);
        let size: usize = encode(&mut encoder, &split).iter().map(Chunk::compressed_len).sum();
        eprintln!("level {level}: {json_bytes} bytes of JSON become {size}");
        group.bench_function(format!("chunk/level_{level}"), |bencher| {
            bencher.iter(|| black_box(encode(&mut encoder, &split)));
        });
    }
    group.finish();
}

fn building(criterion: &mut Criterion) {
    let pages: Vec<String> = (0..PAGES).map(customers::page).collect();
    let split: Vec<Vec<&RawValue>> = pages.iter().map(|page| customers::split(page)).collect();
    let mut encoder = ChunkEncoder::new(CompressionLevel::FASTEST, IngestionTime::MAX);
    let chunks = encode(&mut encoder, &split);
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
