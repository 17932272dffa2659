//! The fuzz targets on stable Rust: the committed corpus, then a bounded number of mutations of it.
//!
//! Mutations have fixed seeds, so that failures are reproducible. `YOTPO_TD_FUZZ_INPUTS` sets their number.

#![expect(clippy::disallowed_methods, reason = "the number of inputs is set by a variable of the tests")]

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
const MAX_INPUT_SIZE: usize = 16 * 1024;
/// Texts that have a meaning in one of the formats.
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
fn pages_become_rows_or_are_rejected() {
    replay_and_mutate("page_body", targets::page_body);
}

#[test]
fn cursors_are_sent_as_they_were_received() {
    replay_and_mutate("page_cursor", targets::page_cursor);
}

#[test]
fn delays_match_the_headers() {
    replay_and_mutate("delay_headers", targets::delay_headers);
}

#[test]
fn states_are_accepted_only_if_undamaged() {
    replay_and_mutate("state_file", targets::state_file);
}

#[test]
fn rows_of_others_equal_themselves() {
    replay_and_mutate("compare_input", targets::compare_input);
}

#[test]
fn manifests_are_accepted_only_if_intact_and_consistent() {
    replay_and_mutate("manifest", targets::manifest);
}

#[test]
fn recordings_are_accepted_only_if_they_can_be_drawn() {
    replay_and_mutate("recording", targets::recording);
}

#[test]
fn parts_are_read_in_only_one_way() {
    replay_and_mutate("sandbox_part", targets::sandbox_part);
}

#[test]
fn settings_files_are_accepted_or_rejected_completely() {
    replay_and_mutate("settings_file", targets::settings_file);
}

fn replay_and_mutate(name: &str, target: Target) {
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

/// The committed inputs with their names, in an order that does not depend on the file system.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut corpus: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    corpus.sort();
    corpus
}

/// Runs a target; a failure shows the input.
fn run(target: Target, input: &[u8], origin: &str) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| target(input)))
        .unwrap_or_else(|_shown_above| panic!("{origin} violates a property: b\"{}\"", input.escape_ascii()))
}

/// Both kinds of inputs are needed: properties of only accepted or only rejected inputs would be half a proof.
fn assert_both_verdicts(name: &str, verdicts: &[Verdict]) {
    for verdict in [Verdict::Accepted, Verdict::Rejected] {
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
    input.truncate(MAX_INPUT_SIZE);
    input
}

fn mutate(input: &mut Vec<u8>, corpus: &[(String, Vec<u8>)], random: &mut fastrand::Rng) {
    let start = random.usize(..=input.len());
    let end = (start + random.usize(..=16)).min(input.len());
    match random.u8(..8) {
        0 => input.truncate(start),
        1 => drop(input.drain(start..end)),
        2 => drop(input.splice(start..start, random.choice(TOKENS).unwrap().iter().copied())),
        3 => drop(input.splice(start..end, random.choice(TOKENS).unwrap().iter().copied())),
        4 => {
            let copy = input[start..end].to_vec();
            let other_place = random.usize(..=input.len());
            input.splice(other_place..other_place, copy);
        }
        5 => {
            let other = &random.choice(corpus).unwrap().1;
            let from = random.usize(..=other.len());
            let to = random.usize(from..=other.len());
            input.splice(start..end, other[from..to].iter().copied());
        }
        6 if start < input.len() => input[start] = random.u8(..),
        _ if start < input.len() => input[start] ^= 1 << random.u8(..8),
        _ => input.push(random.u8(..)),
    }
}
