//! Instruction counts of the data path, measured by callgrind: unlike times, they are the same on every machine.
//! `make instructions` compares them with `instructions.toml`. The input of a benchmark is created before counting starts,
//! and its result is dropped after counting ends.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]
#![expect(missing_docs, reason = "gungraun's macros create public modules")]

mod customers;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group};
use program::{Chunk, ChunkEncoder, Page, Part, PartBuilder, Response, RowEncoder, Rows as PageRows};

/// As many as the other benchmarks use.
const PAGES: u64 = 20;

/// About half a megabyte of rows, as in the program.
const PAGES_IN_A_CHUNK: usize = 5;

/// Everything that is used from the program's interfaces.
mod program {
    use http::{HeaderMap, StatusCode};
    use yotpo_td::http::DelayHint;
    pub(crate) use yotpo_td::http::Response;
    use yotpo_td::part::CompressionLevel;
    pub(crate) use yotpo_td::part::{Chunk, ChunkEncoder, Part, PartBuilder};
    pub(crate) use yotpo_td::row::Encoder as RowEncoder;
    use yotpo_td::row::IngestionTime;
    pub(crate) use yotpo_td::row::Rows;
    pub(crate) use yotpo_td::yotpo::Page;

    pub(crate) fn response(body: String) -> Response {
        Response {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.into(),
            delay: DelayHint::default(),
        }
    }

    pub(crate) fn read(response: &Response) -> Page {
        Page::parse(response.text().unwrap(), IngestionTime::MAX).unwrap()
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
    responses: Vec<Response>,
    encoder: ChunkEncoder,
    builder: PartBuilder,
}

fn responses() -> Vec<Response> {
    let pagination = r#""pagination":{"next_page_info":"Y3Vyc29y"}"#;
    let body = |seed| format!(r#"{{"customers":{},{pagination}}}"#, customers::page(seed));
    (0..PAGES).map(|seed| program::response(body(seed))).collect()
}

fn rows() -> Rows {
    rows_of(|page| page)
}

/// With spaces, which are not part of the rows.
fn spaced_rows() -> Rows {
    rows_of(|page| page.replace(':', ": ").replace(',', ", "))
}

fn rows_of(form: fn(String) -> String) -> Rows {
    let pages: Vec<String> = (0..PAGES).map(|seed| form(customers::page(seed))).collect();
    let split = pages.iter().flat_map(|page| customers::split(page));
    let customers: Vec<String> = split.map(|customer| customer.get().to_owned()).collect();
    let capacity = customers.iter().map(|customer| 2 * customer.len()).sum();
    Rows { customers, encoder: program::row_encoder(), output: Vec::with_capacity(capacity) }
}

/// The encoder has already allocated its memory, as for nearly all pages of a run.
fn chunks() -> Chunks {
    let pages: Vec<PageRows> = responses().iter().map(program::read).map(program::rows).collect();
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
    Run { responses: responses(), encoder: chunks().encoder, builder: program::part_builder() }
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

// Splits and checks pages and turns them into rows.
#[library_benchmark(setup = responses)]
fn read_pages(responses: Vec<Response>) -> (Vec<Page>, Vec<Response>) {
    (responses.iter().map(program::read).collect(), responses)
}

#[library_benchmark(setup = rows)]
fn encode_rows(rows: Rows) -> Rows {
    encode_all(rows)
}

#[library_benchmark(setup = spaced_rows)]
fn encode_spaced_rows(rows: Rows) -> Rows {
    encode_all(rows)
}

// Deflates at the default level and computes the checksum.
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

// The entire path.
#[library_benchmark(setup = run)]
fn pages_to_part(Run { responses, mut encoder, mut builder }: Run) -> (Part, ChunkEncoder) {
    for responses in responses.chunks(PAGES_IN_A_CHUNK) {
        let pages: Vec<PageRows> = responses.iter().map(program::read).map(program::rows).collect();
        builder.append(&program::deflate_chunk(&mut encoder, &pages));
    }
    (builder.finish(), encoder)
}

library_benchmark_group!(
    name = hot_path,
    benchmarks = [read_pages, encode_rows, encode_spaced_rows, deflate_chunks, build_part, pages_to_part]
);

/// Keeps the C library from selecting copy and fill routines by processor. They use registers that every processor has, and
/// never `rep movsb` or `rep stosb`, which valgrind counts once per byte.
const PLAIN_COPIES: &str = concat!(
    "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM",
    ":glibc.cpu.x86_rep_movsb_threshold=1000000000",
    ":glibc.cpu.x86_rep_stosb_threshold=1000000000",
);

#[expect(clippy::disallowed_methods, reason = "gungraun's macro exits when its runner fails")]
fn main() {
    gungraun::main!(
        config = LibraryBenchmarkConfig::default()
            .env("GLIBC_TUNABLES", PLAIN_COPIES)
            .tool(Callgrind::with_args(["--cache-sim=no"]));
        library_benchmark_groups = hot_path
    );
    // `cargo test --all-targets` starts this with neither argument; valgrind is not needed then.
    if std::env::args().any(|argument| argument == "--bench" || argument == "--gungraun-run") {
        main();
    }
}
