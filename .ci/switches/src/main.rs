//! Puts all mutants that cargo-mutants lists into one tree of sources, each behind a switch, so that tests are compiled once for all.
//!
//! `switches LIST TREE` changes the files of TREE. LIST is the output of `cargo mutants --list --json`; the number of a mutant is its
//! place in it, from 1. Lines on standard input are mutants to leave out (`7`), and names of functions that stay constant
//! (`const name`). Prints the number of each mutant that has a switch. `.ci/mutants-at-once` calls this, and owns what is left out.

mod edit;
mod switches;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::{env, fs, io};

use serde::Deserialize;

use crate::edit::Source;
use crate::switches::Switches;

/// The part of a mutant that its place and its effect follow from.
#[derive(Deserialize)]
struct Mutant {
    file: String,
    genre: String,
    replacement: String,
    span: Span,
}

#[derive(Deserialize)]
struct Span {
    start: Position,
}

/// Line and column, both from 1.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    line: usize,
    column: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(list), Some(tree), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: switches LIST TREE < LEFT_OUT".into());
    };
    let (mut left_out, mut constant) = (BTreeSet::new(), BTreeSet::new());
    for line in io::stdin().lines() {
        let line = line?;
        match line.strip_prefix("const ") {
            Some(name) => constant.insert(name.to_owned()),
            None => left_out.insert(line.parse::<usize>()?),
        };
    }
    let mutants: Vec<Mutant> = serde_json::from_slice(&fs::read(list)?)?;
    let mut by_file: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (number, mutant) in (1..).zip(&mutants).filter(|(number, _)| !left_out.contains(number)) {
        by_file.entry(&mutant.file).or_default().push((number, mutant));
    }
    let tree = Path::new(&tree);
    for (file, mutants) in by_file {
        let path = tree.join(file);
        let source = Source::new(fs::read_to_string(&path)?);
        let switches = Switches::of(file, &mutants, &constant, &source)?;
        for number in switches.numbers() {
            println!("{number}");
        }
        fs::write(&path, source.with(switches.edits()))?;
    }
    let library = tree.join("src/lib.rs");
    let text = fs::read_to_string(&library)?;
    fs::write(&library, format!("{text}\n#[allow(missing_docs, warnings)]\npub mod mutant_switch;\n"))?;
    fs::write(tree.join("src/mutant_switch.rs"), include_str!("mutant_switch.rs"))?;
    Ok(())
}
