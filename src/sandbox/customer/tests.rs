//! Customers as sent and as stored.

use super::*;

const EVERYTHING: Expansion = Expansion { custom_properties: true, loyalty: true };

fn generator(layout: PageLayout) -> Generator {
    Generator::new(1, 2_000, CustomerShapes::Mixed, layout)
}

fn page(generator: &Generator, first: u64, count: u64, expansion: Expansion) -> String {
    let mut page = Vec::new();
    generator.write_page(first, count, expansion, Pagination::NullCursor, &mut page);
    String::from_utf8(page).unwrap()
}

fn customers(page: &str) -> Vec<Box<serde_json::value::RawValue>> {
    #[derive(serde::Deserialize)]
    struct Page {
        customers: Vec<Box<serde_json::value::RawValue>>,
    }
    serde_json::from_str::<Page>(page).unwrap().customers
}

#[test]
fn pages_of_every_layout_are_json_with_the_requested_customers() {
    for layout in [PageLayout::Compact, PageLayout::Spaced, PageLayout::Pretty, PageLayout::Mixed] {
        let generator = generator(layout);
        assert_eq!(customers(&page(&generator, 0, 2_000, EVERYTHING)).len(), 2_000);
        assert_eq!(customers(&page(&generator, 1_990, 100, EVERYTHING)).len(), 10);
        assert!(customers(&page(&generator, 2_000, 100, EVERYTHING)).is_empty());
    }
}

#[test]
fn layouts_differ_in_whitespace_only() {
    let strip = |page: String| page.replace([' ', '\n'], "");
    let compact = strip(page(&generator(PageLayout::Compact), 0, 100, EVERYTHING));
    assert_eq!(strip(page(&generator(PageLayout::Pretty), 0, 100, EVERYTHING)), compact);
    assert_eq!(strip(page(&generator(PageLayout::Spaced), 0, 100, EVERYTHING)), compact);
}

#[test]
fn rows_identify_their_customer_and_are_ascii() {
    let generator = generator(PageLayout::Mixed);
    for index in 0..2_000 {
        let mut row = Vec::new();
        generator.write_stored(index, &mut row);
        assert!(row.is_ascii());
        assert_eq!(generator.index_of(&row), Some(index));
    }
    assert_eq!(generator.index_of(br#"{"external_id":"17"}"#), None);
    assert_eq!(generator.index_of(b"garbage @example.com"), None);
}

#[test]
fn every_string_and_number_of_the_pools_occurs() {
    let generator = Generator::new(3, 20_000, CustomerShapes::Mixed, PageLayout::Compact);
    let page = page(&generator, 0, 20_000, EVERYTHING);
    let pools = [text::FIRST_NAMES, text::LAST_NAMES, text::CITIES, text::COMPANIES, text::TAGS, text::ODD];
    let strings = pools.concat();
    let missing = |value: &&str| !page.contains(&format!(":{value}"));
    assert_eq!(strings.iter().map(|text| text.wire).find(missing), None);
    assert_eq!(text::NUMBERS.iter().copied().find(missing), None);
}

#[test]
fn optional_parts_are_sent_only_when_requested() {
    let generator = generator(PageLayout::Compact);
    let bare = page(&generator, 0, 200, Expansion::default());
    assert!(!bare.contains("points_balance") && !bare.contains("shoe_size"));
    let full = page(&generator, 0, 200, EVERYTHING);
    assert!(full.contains("points_balance") && full.contains("shoe_size"));
}

#[test]
fn same_seed_generates_the_same_store_and_another_seed_another() {
    let first = page(&generator(PageLayout::Mixed), 0, 50, EVERYTHING);
    assert_eq!(page(&generator(PageLayout::Mixed), 0, 50, EVERYTHING), first);
    let other = Generator::new(2, 2_000, CustomerShapes::Mixed, PageLayout::Mixed);
    assert_ne!(page(&other, 0, 50, EVERYTHING), first);
}

#[test]
fn customers_have_a_realistic_size() {
    let generator = generator(PageLayout::Compact);
    let size = page(&generator, 0, 2_000, EVERYTHING).len() / 2_000;
    assert!((800..1_100).contains(&size), "{size} bytes per customer");
}

/// Writes pages and rows to the directory `SANDBOX_DUMP`, to compare them with the output of Python's `json` module.
#[test]
#[ignore = "writes files for a manual comparison with Python"]
#[expect(clippy::disallowed_methods, reason = "the directory is set by the person who compares")]
fn dump_for_python() {
    let directory = std::path::PathBuf::from(std::env::var("SANDBOX_DUMP").unwrap());
    let generator = Generator::new(7, 20_000, CustomerShapes::Mixed, PageLayout::Mixed);
    let mut rows = Vec::new();
    for first in (0..20_000).step_by(100) {
        let page = page(&generator, first, 100, EVERYTHING);
        std::fs::write(directory.join(format!("page-{first}.json")), page).unwrap();
    }
    for index in 0..20_000 {
        generator.write_stored(index, &mut rows);
        rows.push(b'\n');
    }
    std::fs::write(directory.join("rows.txt"), rows).unwrap();
}

#[test]
#[ignore = "a measurement that is meaningful only in a release build"]
fn page_generation_speed() {
    let generator = Generator::new(1, 10_000_000, CustomerShapes::Mixed, PageLayout::Mixed);
    let clock = crate::clock::Clock::machine();
    let mut bytes = 0;
    for first in (0..2_000_000).step_by(100) {
        let mut page = Vec::new();
        generator.write_page(first, 100, EVERYTHING, Pagination::NullCursor, &mut page);
        bytes += page.len();
    }
    let seconds = clock.now().as_secs_f64();
    println!("{:.2} M customers/s of {} bytes", 2.0 / seconds, bytes / 2_000_000);
    let mut row = Vec::new();
    for index in 0..2_000_000 {
        row.clear();
        generator.write_stored(index, &mut row);
    }
    println!("{:.2} M rows/s", 2.0 / (clock.now().as_secs_f64() - seconds));
}
