//! The output of the program, made comparable between runs and machines.

use crate::program::binary::Finished;

/// Compares with a snapshot whose changing parts (addresses, directories, ids, times, sizes) have names.
macro_rules! assert_words {
    ($name:expr, $text:expr) => {
        $crate::program::closing_words::with_filters(|| insta::assert_snapshot!($name, $text))
    };
}
pub(crate) use assert_words;

/// Runs `check` with names in place of what changes from run to run.
pub(crate) fn with_filters(check: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    for (pattern, name) in [
        (r"(/private)?(/[\w.-]+)+/\.tmp\w+", "[directory]"),
        (r"127\.0\.0\.1:\d{5}", "[address]"),
        (r"yotpo_td_v1_[0-9a-f]{16}_[st](_[0-9a-z]+)+_\d{8}T\d{6}Z-[0-9a-f]{8}", "[session]"),
        (r"\d{8}T\d{6}Z-[0-9a-f]{8}", "[run]"),
        (r"part_(\d{8})_[0-9a-f]{16}", "part_${1}_[hash]"),
        (r"(\w+\.\w+)\.[0-9a-f]{8}\.(state|lock|damaged)", "$1.[fingerprint].$2"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
        (r"process \d+", "process [pid]"),
        (r"(ingestion time +|rows with time |WHERE time = )\d{10}", "$1[time]"),
        (r"(?m)^(duration +).*", "$1[duration]"),
        (r"(?m)^(peak memory +).*", "$1[size]"),
        (r"(?m)^(phases +).*", "$1[phases]"),
        (r"(?m)^(received +).* from Yotpo", "$1[size] from Yotpo"),
        (r"\d+ % of the fetching", "[share] % of the fetching"),
        (r"(parts +\d+), .* uploaded, .* of rows", "$1, [size] uploaded, [size] of rows"),
        (r"(load job +|load job |job:show )\d{3,}", "$1[job]"),
        // How often a load job is polled depends on the machine.
        (r"\d+ to Treasure Data", "[count] to Treasure Data"),
        (r"(?m)^(commit: +|date: +|target: +).*", "$1[build]"),
        (r"\(os error \d+\)", "(os error [number])"),
        (r"src/[\w/]+\.rs:\d+:\d+", "[place]"),
    ] {
        settings.add_filter(pattern, name);
    }
    settings.bind(check);
}

/// Exit code, stdout without the summary of a failure, and closing words.
#[track_caller]
pub(crate) fn transcript(end: &Finished) -> String {
    let is_summary = end.stdout.starts_with("outcome         failed while ");
    let stdout = if is_summary { "" } else { &end.stdout };
    format!("exit code {}\n--- stdout\n{stdout}--- closing words\n{}", end.code(), end.closing())
}

/// The words before the command that helps.
pub(crate) const RESUME: &str = "resume with";
pub(crate) const RETRY: &str = "retry with";
pub(crate) const CORRECT_AND_RESUME: &str = "after correcting this, resume with";
pub(crate) const CORRECT_AND_RETRY: &str = "after correcting this, retry with";

/// The command at the end of the last line, and the words before it.
#[track_caller]
fn named_command(end: &Finished) -> Option<(&'static str, String)> {
    let line = end.last_line();
    assert!(line.starts_with("saved: "), "{line}");
    [CORRECT_AND_RESUME, CORRECT_AND_RETRY, RESUME, RETRY].into_iter().find_map(|words| {
        let (_, command) = line.split_once(&format!("; {words}: "))?;
        Some((words, command.to_owned()))
    })
}

/// The command in the last line.
#[track_caller]
pub(crate) fn next_command(end: &Finished) -> String {
    named_command(end).unwrap_or_else(|| panic!("no command in {}", end.last_line())).1
}

/// The command in the last line, which must have exactly these words before it.
#[track_caller]
pub(crate) fn next_command_to(words: &str, end: &Finished) -> String {
    let (found, command) = named_command(end).unwrap_or_else(|| panic!("no command in {}", end.last_line()));
    assert_eq!(found, words, "stderr:\n{}", end.stderr);
    command
}

/// The last line names no command in any words.
#[track_caller]
pub(crate) fn assert_no_command(end: &Finished) {
    let line = end.last_line();
    assert!(line.starts_with("saved: "), "{line}");
    for words in [" with: ", "yotpo-td sync", "yotpo-td runs abandon"] {
        assert!(!line.contains(words), "{line}");
    }
}
