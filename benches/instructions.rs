//! Instructions that the way of the data costs, counted by callgrind: the same number on any machine, where times are not.
//! `make instructions` compares them with `instructions.toml`. What a benchmark is given is made before the counting, and
//! what it returns is dropped after it.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]
#![expect(missing_docs, reason = "gungraun's macros make public modules")]

mod customers;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group};
use program::{Answer, Chunk, ChunkEncoder, Page, Part, PartBuilder, RowEncoder, Rows as PageRows};

/// As many as the other benchmarks take.
const PAGES: u64 = 20;

/// About half a megabyte of rows, as the program does.
const PAGES_IN_A_CHUNK: usize = 5;

/// All that is used of the program's interfaces.
mod program {
    use http::{HeaderMap, StatusCode};
    use yotpo_td::http::DelayHint;
    pub(crate) use yotpo_td::http::Response as Answer;
    use yotpo_td::part::CompressionLevel;
    pub(crate) use yotpo_td::part::{Chunk, ChunkEncoder, Part, PartBuilder};
    pub(crate) use yotpo_td::row::Encoder as RowEncoder;
    use yotpo_td::row::IngestionTime;
    pub(crate) use yotpo_td::row::Rows;
    pub(crate) use yotpo_td::yotpo::Page;

    pub(crate) fn answer(body: String) -> Answer {
        Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.into(),
            delay: DelayHint::default(),
        }
    }

    pub(crate) fn read(answer: &Answer) -> Page {
        Page::parse(answer.text().unwrap(), IngestionTime::MAX).unwrap()
    }

    pub(crate) fn rows(page: Page) -> Rows {
        page.into_rows().0
    }

    pub(crate) fn row_encoder() -> RowEncoder {
        RowEncoder::new(IngestionTime::MAX)
    }

    pub(crate) fn encode_row(encoder: &mut RowEncoder, customer: &str, rows: &mut Vec<u8>) {
        encoder.encode(customer, rows).unwrap();
    }

    pub(crate) fn chunk_encoder() -> ChunkEncoder {
        ChunkEncoder::new(CompressionLevel::DEFAULT)
    }

    pub(crate) fn deflate_chunk(encoder: &mut ChunkEncoder, pages: &[Rows]) -> Chunk {
        for rows in pages {
            encoder.add(rows);
        }
        encoder.finish().unwrap()
    }

    pub(crate) fn part_builder() -> PartBuilder {
        PartBuilder::with_capacity(1 << 20, 1)
    }
}

struct Rows {
    customers: Vec<String>,
    encoder: RowEncoder,
    output: Vec<u8>,
}

struct Chunks {
    pages: Vec<PageRows>,
    encoder: ChunkEncoder,
}

struct Parts {
    chunks: Vec<Chunk>,
    builder: PartBuilder,
}

struct Run {
    answers: Vec<Answer>,
    encoder: ChunkEncoder,
    builder: PartBuilder,
}

fn answers() -> Vec<Answer> {
    let pagination = r#""pagination":{"next_page_info":"Y3Vyc29y"}"#;
    let body = |seed| format!(r#"{{"customers":{},{pagination}}}"#, customers::page(seed));
    (0..PAGES).map(|seed| program::answer(body(seed))).collect()
}

fn rows() -> Rows {
    rows_of(|page| page)
}

/// With spaces, which do not get into the rows.
fn spaced_rows() -> Rows {
    rows_of(|page| page.replace(':', ": ").replace(',', ", "))
}

fn rows_of(form: fn(String) -> String) -> Rows {
    let pages: Vec<String> = (0..PAGES).map(|seed| form(customers::page(seed))).collect();
    let split = pages.iter().flat_map(|page| customers::split(page));
    let customers: Vec<String> = split.map(|customer| customer.get().to_owned()).collect();
    let room = customers.iter().map(|customer| 2 * customer.len()).sum();
    Rows { customers, encoder: program::row_encoder(), output: Vec::with_capacity(room) }
}

/// The encoder has all memory that it needs, as it has for nearly all pages of a run.
fn chunks() -> Chunks {
    let pages: Vec<PageRows> = answers().iter().map(program::read).map(program::rows).collect();
    let mut encoder = program::chunk_encoder();
    deflate_in_chunks(&mut encoder, &pages);
    Chunks { pages, encoder }
}

fn parts() -> Parts {
    let Chunks { pages, mut encoder } = chunks();
    let chunks = deflate_in_chunks(&mut encoder, &pages);
    Parts { chunks, builder: program::part_builder() }
}

fn run() -> Run {
    Run { answers: answers(), encoder: chunks().encoder, builder: program::part_builder() }
}

fn deflate_in_chunks(encoder: &mut ChunkEncoder, pages: &[PageRows]) -> Vec<Chunk> {
    pages.chunks(PAGES_IN_A_CHUNK).map(|pages| program::deflate_chunk(encoder, pages)).collect()
}

fn encode_all(mut rows: Rows) -> Rows {
    for customer in &rows.customers {
        program::encode_row(&mut rows.encoder, customer, &mut rows.output);
    }
    rows
}

// Split, checked, and made into rows.
#[library_benchmark(setup = answers)]
fn read_pages(answers: Vec<Answer>) -> (Vec<Page>, Vec<Answer>) {
    (answers.iter().map(program::read).collect(), answers)
}

#[library_benchmark(setup = rows)]
fn encode_rows(rows: Rows) -> Rows {
    encode_all(rows)
}

#[library_benchmark(setup = spaced_rows)]
fn encode_spaced_rows(rows: Rows) -> Rows {
    encode_all(rows)
}

// Deflate at the default level, checksum.
#[library_benchmark(setup = chunks)]
fn deflate_chunks(Chunks { pages, mut encoder }: Chunks) -> (Vec<Chunk>, Chunks) {
    let chunks = deflate_in_chunks(&mut encoder, &pages);
    (chunks, Chunks { pages, encoder })
}

#[library_benchmark(setup = parts)]
fn build_part(Parts { chunks, mut builder }: Parts) -> (Part, Vec<Chunk>) {
    for chunk in &chunks {
        builder.append(chunk);
    }
    (builder.finish(), chunks)
}

// The whole way.
#[library_benchmark(setup = run)]
fn pages_to_part(Run { answers, mut encoder, mut builder }: Run) -> (Part, ChunkEncoder) {
    for answers in answers.chunks(PAGES_IN_A_CHUNK) {
        let pages: Vec<PageRows> = answers.iter().map(program::read).map(program::rows).collect();
        builder.append(&program::deflate_chunk(&mut encoder, &pages));
    }
    (builder.finish(), encoder)
}

library_benchmark_group!(
    name = hot_path,
    benchmarks = [read_pages, encode_rows, encode_spaced_rows, deflate_chunks, build_part, pages_to_part]
);

/// Keeps the C library from choosing by the processor how it copies and fills: with the registers that every one has, and
/// never with `rep movsb` and `rep stosb`, which valgrind counts once for each byte.
const PLAIN_COPIES: &str = concat!(
    "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM",
    ":glibc.cpu.x86_rep_movsb_threshold=1000000000",
    ":glibc.cpu.x86_rep_stosb_threshold=1000000000",
);

#[expect(clippy::disallowed_methods, reason = "gungraun's macro exits where its runner fails")]
fn main() {
    gungraun::main!(
        config = LibraryBenchmarkConfig::default()
            .env("GLIBC_TUNABLES", PLAIN_COPIES)
            .tool(Callgrind::with_args(["--cache-sim=no"]));
        library_benchmark_groups = hot_path
    );
    // `cargo test --all-targets` starts this with neither; valgrind need not be there then.
    if std::env::args().any(|argument| argument == "--bench" || argument == "--gungraun-run") {
        main();
    }
}
