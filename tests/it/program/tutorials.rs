//! The console blocks of the pages about commands, run as they stand, in order, in a shell.
//!
//! Owns how a block is read: a line that begins with `$ ` is a command, the lines after it are its output. `[..]` stands for any
//! text within a line, and a line `...` for any lines. A command without output shown may print anything. Every command must
//! succeed unless `# exit code N` follows it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::binary::{Finished, PROGRAM, Running, Surroundings};

/// A command of a page, and what it shows.
struct Shown {
    command: String,
    code: i32,
    output: Vec<String>,
}

fn console_blocks(page: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut is_console = false;
    for line in page.lines() {
        match (line, is_console) {
            ("```console", _) => is_console = true,
            ("```", true) => is_console = false,
            (line, true) => match line.strip_prefix("$ ") {
                Some(command) => {
                    let (command, code) = command.split_once(" # exit code ").unwrap_or((command, "0"));
                    let code = code.parse().expect("a number follows \"exit code\"");
                    shown.push(Shown { command: command.to_owned(), code, output: Vec::new() });
                }
                None => shown.last_mut().expect("a block begins with a command").output.push(line.to_owned()),
            },
            _ => {}
        }
    }
    shown
}

fn run(surroundings: &Surroundings, directory: &Path, command: &str) -> Finished {
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().stdin(Stdio::null()).envs(surroundings.environment()).current_dir(directory);
    let programs = Path::new(PROGRAM).parent().unwrap().to_str().unwrap();
    shell.env("PATH", format!("{programs}:/usr/bin:/bin")).arg("-c").arg(command);
    if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
        shell.env("LLVM_PROFILE_FILE", profile);
    }
    Running::start(shell).finish()
}

/// Whether a line has the pieces between the `[..]` in their order, the first and the last at its ends.
fn is_line(pattern: &str, line: &str) -> bool {
    let pieces: Vec<&str> = pattern.trim_end().split("[..]").collect();
    let mut rest = line.trim_end();
    for (at, piece) in pieces.iter().enumerate() {
        let found = match at {
            0 => rest.strip_prefix(piece),
            last if last + 1 == pieces.len() => return rest.ends_with(piece),
            _ => rest.split_once(piece).map(|(_, after)| after),
        };
        match found {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

fn matches(pattern: &[String], lines: &[&str]) -> bool {
    match (pattern.split_first(), lines.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((wanted, more)), _) if wanted == "..." => {
            (0..=lines.len()).any(|skipped| matches(more, &lines[skipped..]))
        }
        (Some((wanted, more)), Some((line, others))) => is_line(wanted, line) && matches(more, others),
        (Some(_), None) => false,
    }
}

/// Runs the page's commands in a separate directory.
#[track_caller]
fn run_page(name: &str, least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let blocks = console_blocks(&fs::read_to_string(path).unwrap());
    assert!(blocks.len() >= least, "{name} shows only {} commands", blocks.len());
    let surroundings = Surroundings::with_customers(120);
    // Pages that are not about the database name it like this.
    assert!(surroundings.control().create_database("my_database"));
    let directory = surroundings.directory().join("tutorial");
    fs::create_dir(&directory).unwrap();
    for Shown { command, code, output } in blocks {
        let end = run(&surroundings, &directory, &command);
        assert_eq!(end.code(), code, "{name}: {command}\n{}", end.stderr);
        // As a terminal shows them, apart from the log.
        let is_closing = |line: &&str| !line.starts_with("20");
        let lines: Vec<&str> = end.stdout.lines().chain(end.stderr.lines().filter(is_closing)).collect();
        let expected = output.join("\n");
        assert!(
            output.is_empty() || matches(&output, &lines),
            "{name}: {command}\n--- shown\n{expected}\n--- printed\n{}",
            lines.join("\n")
        );
    }
}

#[test]
fn the_page_about_dry_runs_shows_what_happens() {
    run_page("dry-run.md", 1);
}

#[test]
fn the_page_about_exports_shows_what_happens() {
    run_page("export.md", 2);
}

#[test]
fn the_page_about_the_preview_shows_what_happens() {
    run_page("preview.md", 2);
}

#[test]
fn the_page_about_comparisons_shows_what_happens() {
    run_page("compare.md", 3);
}

#[test]
fn the_tutorial_shows_what_happens() {
    run_page("tutorial.md", 12);
}

#[test]
fn the_page_about_checks_shows_what_happens() {
    run_page("check.md", 1);
}

#[test]
fn the_page_about_credentials_shows_what_happens() {
    run_page("credentials.md", 3);
}

#[test]
fn the_page_about_backfills_shows_what_happens() {
    run_page("backfill.md", 4);
}

#[test]
fn the_page_about_many_stores_shows_what_happens() {
    run_page("many-stores.md", 4);
}

#[test]
fn the_page_about_the_rate_limit_shows_what_happens() {
    run_page("rate-limiting.md", 1);
}

#[test]
fn the_page_about_reports_shows_what_happens() {
    run_page("report.md", 4);
}

#[test]
fn a_page_that_shows_something_else_is_noticed() {
    assert!(is_line("exported [..] rows", "exported 3,000 rows"));
    assert!(is_line("[..]a[..]b", "xxaxxb"));
    assert!(!is_line("exported 4 rows", "exported 3 rows"));
    assert!(!is_line("exported 3", "exported 3 rows"));
    assert!(!is_line("a[..]b", "axbx"));
    let pattern = ["one", "...", "four"].map(str::to_owned);
    assert!(matches(&pattern, &["one", "two", "three", "four"]));
    assert!(matches(&pattern, &["one", "four"]));
    assert!(!matches(&pattern, &["one", "two"]));
    assert!(!matches(&pattern, &["zero", "one", "four"]));
}
