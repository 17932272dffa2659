//! `docs/errors.md`, `docs/exit-codes.md` and the README say of every code what the program does, and the examples for schedulers retry exactly
//! what may succeed later.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use yotpo_td::diagnosis::{Code, Explanation};
use yotpo_td::exit_status::ExitStatus;

use crate::project::generated::assert_generated;

const CRON_JOB: &str = include_str!("../../../examples/kubernetes/cronjob.yaml");
const STORES: &str = include_str!("../../../examples/kubernetes/stores.yaml");
const SERVICE: &str = include_str!("../../../examples/systemd/yotpo-td@.service");
/// The script for cron.
const SCRIPT: &str = include_str!("../../../examples/cron/load-customers");

fn is_signal(status: ExitStatus) -> bool {
    matches!(status, ExitStatus::Interrupted(_))
}

/// The error codes that end with an exit status.
fn codes_of(status: ExitStatus) -> Vec<Code> {
    let same = |code: &Code| code.status() == status || is_signal(status) && *code == Code::Interrupted;
    Code::ALL.into_iter().filter(same).collect()
}

/// Whether a scheduler retries it: some of its errors pass by themselves.
fn is_retried(status: ExitStatus) -> bool {
    codes_of(status).iter().any(|code| code.is_retryable())
}

fn retry_cell(status: ExitStatus) -> String {
    let lasting: Vec<_> = codes_of(status)
        .iter()
        .filter(|code| !code.is_retryable())
        .map(|code| format!("`{}`", code.name()))
        .collect();
    match (is_retried(status), lasting.is_empty()) {
        (true, true) => "yes".to_owned(),
        (true, false) => format!("yes, except {}", lasting.join(", ")),
        (false, _) if status == ExitStatus::Success => "–".to_owned(),
        (false, _) => "no".to_owned(),
    }
}

#[test]
fn the_retry_table_follows_from_the_codes() {
    let mut table = "| exit code | meaning | retry | who acts |\n|---:|---|---|---|\n".to_owned();
    for status in ExitStatus::ALL {
        let (meaning, actor) = (status.meaning(), status.actor());
        writeln!(table, "| {} | {meaning} | {} | {actor} |", status.code(), retry_cell(status)).unwrap();
    }
    assert_generated("docs/exit-codes.md", "src/exit_status.rs", &table);
    assert_generated("README.md", "src/exit_status.rs", &table);
}

#[test]
fn every_error_code_is_explained() {
    let mut text = String::new();
    for code in Code::ALL {
        let Explanation { summary, meaning, action } = code.explanation();
        writeln!(text, "### `{}`\n\n{summary} {meaning}\n\n**What to do:** {action}\n", code.name()).unwrap();
    }
    assert_generated("docs/errors.md", "src/diagnosis/explain.rs", &format!("\n{text}"));
}

/// Exit codes that a scheduler must not retry.
fn lasting() -> BTreeSet<u8> {
    let is_lasting = |status: &ExitStatus| *status != ExitStatus::Success && !is_retried(*status);
    ExitStatus::ALL.into_iter().filter(is_lasting).map(ExitStatus::code).collect()
}

/// The numbers behind `name` in an example.
fn numbers_after(name: &str, example: &str) -> BTreeSet<u8> {
    let (_, rest) = example.split_once(name).unwrap();
    let line = rest.lines().next().unwrap();
    line.split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[test]
fn systemd_and_kubernetes_do_not_retry_what_lasts() {
    assert_eq!(numbers_after("RestartPreventExitStatus=", SERVICE), lasting());
    for manifest in [CRON_JOB, STORES] {
        assert_eq!(numbers_after("values:", manifest), lasting());
    }
}

fn write_program(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the script of examples/cron with a program that ends with `code` each time; gives the exit code and how often it was started.
fn run_script(code: u8) -> (i32, usize) {
    let directory = tempfile::tempdir().unwrap();
    write_program(directory.path(), "yotpo-td", &format!("echo \"$@\" >> calls; exit {code}"));
    write_program(directory.path(), "sleep", "exit 0");
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().env("PATH", path).current_dir(directory.path()).args([
        "-c",
        SCRIPT,
        "load-customers",
        "shop_us",
    ]);
    let status = shell.status().unwrap();
    let calls = std::fs::read_to_string(directory.path().join("calls")).unwrap();
    let first = calls.lines().next().unwrap();
    assert!(calls.lines().all(|line| line == first), "every attempt has the same run id: {calls}");
    (status.code().unwrap(), calls.lines().count())
}

#[test]
fn the_script_retries_what_may_succeed_later() {
    for status in ExitStatus::ALL {
        let attempts = if is_retried(status) && !is_signal(status) { 3 } else { 1 };
        assert_eq!(run_script(status.code()), (status.code().into(), attempts), "{status:?}");
    }
}
