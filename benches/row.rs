//! Speed of reading pages and of turning customers into rows, in bytes of JSON per second.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

mod customers;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;
use yotpo_td::http::{DelayHint, Response};
use yotpo_td::row::{self, Encoder, IngestionTime};
use yotpo_td::yotpo::Page;

/// More pages than fit in the caches near the core, as in a run.
const PAGES: u64 = 20;

fn pages() -> Vec<String> {
    (0..PAGES).map(customers::page).collect()
}

fn bench_pages(criterion: &mut Criterion, name: &str, pages: &[String], mut each: impl FnMut(&[&RawValue])) {
    let split: Vec<Vec<&RawValue>> = pages.iter().map(|page| customers::split(page)).collect();
    let mut group = criterion.benchmark_group("row");
    group.throughput(Throughput::Bytes(pages.iter().map(|page| page.len() as u64).sum()));
    group.bench_function(name, |bencher| bencher.iter(|| split.iter().for_each(|page| each(page))));
    group.finish();
}

/// The page pretty-printed, with one line per member.
fn indented(page: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(page).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

/// From a response to rows, as in the program; and, for comparison, only splitting it with `serde_json`.
fn reading(criterion: &mut Criterion) {
    let response = |page: String| Response {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: format!(r#"{{"customers":{page},"pagination":{{"next_page_info":"Y3Vyc29y"}}}}"#).into(),
        delay: DelayHint::default(),
    };
    let responses: Vec<Response> = pages().into_iter().map(response).collect();
    let mut group = criterion.benchmark_group("row");
    group.throughput(Throughput::Bytes(responses.iter().map(|response| response.body.len() as u64).sum()));
    group.bench_function("read_page", |bencher| {
        bencher.iter(|| {
            for response in &responses {
                black_box(Page::parse(response.text().unwrap(), IngestionTime::MAX).unwrap());
            }
        });
    });
    let pages = pages();
    group.bench_function("split_with_serde_json", |bencher| {
        bencher.iter(|| pages.iter().for_each(|page| drop(black_box(customers::split(page)))));
    });
    group.finish();
}

fn compaction(criterion: &mut Criterion) {
    let compact = pages();
    let ascii: Vec<String> = compact.iter().map(|page| page.replace(|c: char| !c.is_ascii(), "x")).collect();
    let indented: Vec<String> = compact.iter().map(|page| indented(page)).collect();
    let spaced: Vec<String> = compact.iter().map(|page| page.replace(':', ": ").replace(',', ", ")).collect();
    let mut output = Vec::new();
    for (name, pages) in [
        ("compact/as_sent", &compact),
        ("compact/ascii", &ascii),
        ("compact/spaced", &spaced),
        ("compact/indented", &indented),
    ] {
        bench_pages(criterion, name, pages, |page| {
            output.clear();
            for &customer in page {
                row::compact(customer, &mut output).unwrap();
            }
            black_box(&output);
        });
    }
}

fn encoding(criterion: &mut Criterion) {
    let mut encoder = Encoder::new(IngestionTime::MAX);
    let mut output = Vec::new();
    bench_pages(criterion, "encode", &pages(), |page| {
        output.clear();
        for &customer in page {
            encoder.encode(customer.get(), &mut output).unwrap();
        }
        black_box(&output);
    });
}

fn copying(criterion: &mut Criterion) {
    let mut output = Vec::new();
    bench_pages(criterion, "copy_only", &pages(), |page| {
        output.clear();
        for &customer in page {
            output.extend_from_slice(customer.get().as_bytes());
        }
        black_box(&output);
    });
}

criterion_group!(benches, reading, copying, compaction, encoding);
criterion_main!(benches);
