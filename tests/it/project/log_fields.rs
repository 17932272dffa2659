//! docs/logs.md lists every field that the code logs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MACROS: [&str; 8] = [
    "tracing::trace!(",
    "tracing::debug!(",
    "tracing::info!(",
    "tracing::warn!(",
    "tracing::error!(",
    "info_span!(",
    "failable_span!(",
    "event!(",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The arguments of a macro, whose text begins after its parenthesis: without the content of strings.
fn arguments(text: &str) -> Vec<String> {
    let (mut arguments, mut depth) = (vec![String::new()], 0);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                while let Some(character) = characters.next() {
                    match character {
                        '\\' => drop(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                arguments.last_mut().unwrap().push('"');
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().unwrap().push(character);
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// The name of a field, in `name = value`, `%name`, `?name` or `name`.
fn field(argument: &str) -> Option<String> {
    let name = argument.split('=').next().unwrap().trim().trim_start_matches(['%', '?']);
    let is_name = !name.is_empty()
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|character| character.is_ascii_lowercase() || "_0123456789".contains(character));
    is_name.then(|| name.to_owned())
}

/// Each field that is logged, with the files that log it.
fn logged() -> BTreeMap<String, BTreeSet<PathBuf>> {
    let (mut files, mut logged) = (Vec::new(), BTreeMap::<_, BTreeSet<_>>::new());
    sources(&Path::new(ROOT).join("src"), &mut files);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("mod tests {").next().unwrap();
        for (start, name) in MACROS.iter().flat_map(|name| code.match_indices(name)) {
            for field in arguments(&code[start + name.len()..]).iter().filter_map(|argument| field(argument))
            {
                logged.entry(field).or_default().insert(path.clone());
            }
        }
    }
    logged
}

#[test]
fn every_field_of_a_line_is_documented() {
    let document = std::fs::read_to_string(Path::new(ROOT).join("docs/logs.md")).unwrap();
    let section = |heading: &str| document.split_once(heading).unwrap().1.split("\n## ").next().unwrap();
    let tables = [section("### All names"), section("## Heartbeat")].concat();
    let rows = tables.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeSet<&str> = rows
        .flat_map(|row| row.trim_start_matches('|').split('|').next().unwrap().split('`').skip(1).step_by(2))
        .collect();
    let logged = logged();
    assert!(logged.len() > 60, "{logged:#?}");
    let missing: Vec<_> = logged.iter().filter(|(name, _)| !documented.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/logs.md: {missing:#?}");
    // The layers add these.
    let added = ["trace_id", "span_id", "elapsed_seconds"];
    let unused: Vec<_> =
        documented.iter().filter(|name| !logged.contains_key(**name) && !added.contains(name)).collect();
    assert!(unused.is_empty(), "documented, but not logged: {unused:?}");
}
