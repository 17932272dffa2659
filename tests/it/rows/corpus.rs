//! The compact form of customers, compared with the output of Python (`tests/fixtures/row_corpus/generate.py`).

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::value::RawValue;
use yotpo_td::row;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    input: String,
    expected: String,
}

fn corpus(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/row_corpus").join(file)
}

fn compact(input: &str) -> String {
    let customer: &RawValue = serde_json::from_str(input).unwrap();
    let mut output = Vec::new();
    row::compact(customer, &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

fn check(lines: &str) -> usize {
    let cases = lines.lines().map(|line| serde_json::from_str::<Case>(line).unwrap());
    cases.fold(0, |count, Case { name, input, expected }| {
        assert!(compact(&input) == expected, "{name}: differs from Python");
        assert!(compact(&expected) == expected, "{name}: not stable");
        count + 1
    })
}

#[test]
fn compact_form_is_that_of_python() {
    let checked = check(&fs::read_to_string(corpus("cases.jsonl")).unwrap());
    assert!(checked > 1_000, "only {checked} cases");
}

#[test]
fn compact_form_of_large_customers_is_that_of_python() {
    let mut lines = String::new();
    GzDecoder::new(fs::File::open(corpus("large.jsonl.gz")).unwrap()).read_to_string(&mut lines).unwrap();
    let checked = check(&lines);
    assert!(checked >= 8, "only {checked} cases");
}
