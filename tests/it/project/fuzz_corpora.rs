//! The fuzz targets on stable Rust: the committed corpus, then a bounded number of mutations of it.
//!
//! Mutations follow from a fixed seed, so that a failure comes back. `YOTPO_TD_FUZZ_INPUTS` raises their number.

#![expect(clippy::disallowed_methods, reason = "the number of inputs is the tests' own variable")]

#[expect(unreachable_pub, reason = "the targets are public for the fuzz crate")]
#[path = "../../../fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use targets::Verdict;

type Target = fn(&[u8]) -> Verdict;

/// Mutated inputs for each target.
const INPUTS: u64 = 4_000;
const LARGEST_INPUT: usize = 16 * 1024;
/// What each format gives a meaning to.
const TOKENS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"\\u",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b" ",
    b"%",
    b"=",
    b"'",
    b"0",
    b"-",
    b".",
    b"null",
    b"\x00",
    b"\x7f",
    b"\xff",
    b"\xc3\xa9",
    b"\xf0\x9f\x98\x80",
    b"18446744073709551615",
];

#[test]
fn pages_become_rows_or_are_refused() {
    smoke("page_body", targets::page_body);
}

#[test]
fn cursors_are_sent_as_they_were_received() {
    smoke("page_cursor", targets::page_cursor);
}

#[test]
fn delays_are_what_was_written() {
    smoke("delay_headers", targets::delay_headers);
}

#[test]
fn states_are_followed_only_when_whole() {
    smoke("state_file", targets::state_file);
}

#[test]
fn parts_are_read_one_way_only() {
    smoke("sandbox_part", targets::sandbox_part);
}

#[test]
fn settings_files_are_taken_or_refused_whole() {
    smoke("settings_file", targets::settings_file);
}

fn smoke(name: &str, target: Target) {
    let corpus = corpus(name);
    let replayed: Vec<Verdict> =
        corpus.iter().map(|(seed, input)| run(target, input, &format!("corpus/{name}/{seed}"))).collect();
    assert_both_verdicts(name, &replayed);

    let inputs = std::env::var("YOTPO_TD_FUZZ_INPUTS").map_or(INPUTS, |inputs| inputs.parse().unwrap());
    let mutated: Vec<Verdict> = (0..inputs)
        .map(|number| run(target, &mutation(&corpus, number), &format!("mutation {number} for {name}")))
        .collect();
    assert_both_verdicts(name, &mutated);
}

/// The committed inputs with their names, in an order that does not depend on the disk.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut corpus: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    corpus.sort();
    corpus
}

/// Runs a target; a broken property shows the input that broke it.
fn run(target: Target, input: &[u8], origin: &str) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| target(input)))
        .unwrap_or_else(|_shown_above| panic!("{origin} breaks a property: b\"{}\"", input.escape_ascii()))
}

/// Properties of accepted inputs only, or of refused ones only, would be half a proof.
fn assert_both_verdicts(name: &str, verdicts: &[Verdict]) {
    for verdict in [Verdict::Accepted, Verdict::Refused] {
        let count = verdicts.iter().filter(|found| **found == verdict).count();
        assert!(count * 100 >= verdicts.len(), "{name}: only {count} of {} are {verdict:?}", verdicts.len());
    }
}

/// The `number`th mutation: a few random changes to a random input.
fn mutation(corpus: &[(String, Vec<u8>)], number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    let mut input = random.choice(corpus).unwrap().1.clone();
    for _ in 0..random.usize(1..=4) {
        mutate(&mut input, corpus, &mut random);
    }
    input.truncate(LARGEST_INPUT);
    input
}

fn mutate(input: &mut Vec<u8>, corpus: &[(String, Vec<u8>)], random: &mut fastrand::Rng) {
    let place = random.usize(..=input.len());
    let end = (place + random.usize(..=16)).min(input.len());
    match random.u8(..8) {
        0 => input.truncate(place),
        1 => drop(input.drain(place..end)),
        2 => drop(input.splice(place..place, random.choice(TOKENS).unwrap().iter().copied())),
        3 => drop(input.splice(place..end, random.choice(TOKENS).unwrap().iter().copied())),
        4 => {
            let piece = input[place..end].to_vec();
            let elsewhere = random.usize(..=input.len());
            input.splice(elsewhere..elsewhere, piece);
        }
        5 => {
            let other = &random.choice(corpus).unwrap().1;
            let from = random.usize(..=other.len());
            let to = random.usize(from..=other.len());
            input.splice(place..end, other[from..to].iter().copied());
        }
        6 if place < input.len() => input[place] = random.u8(..),
        _ if place < input.len() => input[place] ^= 1 << random.u8(..8),
        _ => input.push(random.u8(..)),
    }
}
