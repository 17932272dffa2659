//! `yotpo-td check`: whether a run will find what it needs, as a table or as JSON.
//!
//! Owns the flags of the command and how findings look. What is checked is decided in [`crate::check`].

use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Map, Value, json};

use super::embedded_sandbox::{self, EmbeddedSandbox};
use super::failure::{Failure, NextCommand, json_line, local_code};
use super::invocation::{Invocation, layers, settings_hint, start_logging};
use super::options::{is_json, output_flag};
use super::runtime::{MachineDenied, client_runtime, serving_runtime};
use crate::check::{
    CheckFailure, CheckId, Finding, Probes, Report, Settled, Verdict, check, of_wrong_settings,
};
use crate::clock::Clock;
use crate::config::{Layers, Settings};
use crate::diagnosis::{Code, Diagnosis};
use crate::exit_status::ExitStatus;
use crate::shutdown::{self, Signal};
use crate::telemetry::{ProgressBar, marked, write_result};

pub(super) const EXAMPLES: &str = "\
Examples:
  Check settings, credentials, table and limits; nothing is changed:
    yotpo-td check --database my_database --site us01
  Test what runs rely on, with sessions that are never loaded and are deleted:
    yotpo-td check --database my_database --probe-bulk-import --output json";

const NOTHING_LOADED: &str = "nothing: check loads nothing";

/// The flags of the command beyond the settings of `sync`.
pub(super) fn flags() -> Vec<Arg> {
    let probe_bulk_import = Arg::new("probe-bulk-import")
        .long("probe-bulk-import")
        .action(ArgAction::SetTrue)
        .help("Test bulk import with throw-away sessions")
        .long_help(
            "Test bulk import with throw-away sessions\n\n\
             Tests what runs rely on: that one caller creates a session, that parts are overwritten, that a frozen session \
             refuses uploads, and that an open one is not performed. Nothing is loaded, and the sessions are deleted.",
        );
    let probe_tables = Arg::new("probe-tables")
        .long("probe-tables")
        .action(ArgAction::SetTrue)
        .requires("probe-bulk-import")
        .help("Also test tables, with throw-away tables")
        .long_help(
            "Also test tables, with throw-away tables\n\n\
             Tests the ids of tables that are renamed, and sessions whose table is deleted. It needs the right to create and \
             delete tables in the database. The target table is not used, and the tables are deleted.",
        );
    vec![probe_bulk_import, probe_tables, output_flag()]
}

/// Some checks failed. The first one decides what that means.
#[derive(Debug, thiserror::Error)]
#[error("{}", of(*.failed, *.total, .first))]
struct ChecksFailed {
    failed: usize,
    total: usize,
    first: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn of(failed: usize, total: usize, first: &str) -> String {
    match failed {
        1 => format!("1 of {total} checks failed: {first}"),
        _ => format!("{failed} of {total} checks failed, first {first}"),
    }
}

/// A signal ended the checks.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {} before all checks were done", .0.name())]
struct Stopped(Signal);

/// Runs the command.
pub(super) fn run(invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    let layers = layers(invocation, matches);
    start_logging(&layers, &ProgressBar::hidden());
    let command = CheckCommand { invocation, matches };
    let runtime = if embedded_sandbox::is_wanted(matches) { serving_runtime() } else { client_runtime() };
    let runtime =
        runtime.map_err(|error| Failure::before_start(error, MachineDenied::diagnosis(), invocation))?;
    let result = runtime.block_on(command.start(layers));
    runtime.shutdown_background();
    result
}

struct CheckCommand<'a> {
    invocation: &'a Invocation,
    matches: &'a ArgMatches,
}

impl CheckCommand<'_> {
    async fn start(&self, mut layers: Layers) -> Result<(), Failure> {
        let clock = Clock::machine();
        let stop = shutdown::listen(clock.clone()).map_err(|error| self.not_started(error))?;
        let sandbox = if embedded_sandbox::is_wanted(self.matches) {
            let sandbox = EmbeddedSandbox::start(self.matches, &mut layers, clock.clone()).await;
            Some(sandbox.map_err(|error| self.not_started(error))?)
        } else {
            None
        };
        let report = match Settings::from_layers(layers) {
            Ok(settings) => check(&settings, &clock, self.probes(), &stop, fastrand::u64(..)).await,
            Err(error) => of_wrong_settings(error, &settings_hint("check"), &clock, self.probes()),
        };
        if let Some(sandbox) = sandbox {
            sandbox.shutdown().await;
        }
        self.finish(report)
    }

    fn probes(&self) -> Probes {
        match (self.matches.get_flag("probe-bulk-import"), self.matches.get_flag("probe-tables")) {
            (true, true) => Probes::SessionsAndTables,
            (true, false) => Probes::Sessions,
            (false, _) => Probes::None,
        }
    }

    /// Prints the report. It fails as its first failed check does.
    fn finish(&self, mut report: Report) -> Result<(), Failure> {
        write_result(&if is_json(self.matches) { json(&report) } else { text(&report) });
        let saved = NOTHING_LOADED.to_owned();
        if let Some(signal) = report.interrupted {
            let diagnosis = Diagnosis::interrupted(signal);
            let next = NextCommand::again(diagnosis.code, || self.invocation.command_line());
            return Err(Failure { error: Stopped(signal).into(), diagnosis, saved, next, run: None });
        }
        let (failed, total) = (report.count(Verdict::Failed), report.findings.len());
        let Some((id, CheckFailure { error, diagnosis })) = report.take_first_failure() else {
            return Ok(());
        };
        let error = ChecksFailed { failed, total, first: id.name(), source: error };
        let next = NextCommand::again(diagnosis.code, || self.invocation.command_line());
        Err(Failure { error: error.into(), diagnosis, saved, next, run: None })
    }

    fn not_started(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        let error = error.into();
        let (code, hint) = local_code(error.as_ref(), Code::MachineDenied);
        Failure::before_start(error, Diagnosis::new(code, hint), self.invocation)
    }
}

/// The exit status that the report leads to.
fn status(report: &Report) -> ExitStatus {
    match (report.interrupted, report.first_failed().and_then(|finding| finding.failure.as_ref())) {
        (Some(signal), _) => ExitStatus::Interrupted(signal),
        (None, Some(failure)) => failure.diagnosis.status,
        (None, None) => ExitStatus::Success,
    }
}

/// A longer sequence of checks that were skipped for one reason is one line.
const MAX_SKIPPED_LINES: usize = 4;

/// One line for each check, its hint below it, then what was observed about open questions, and the totals.
fn text(report: &Report) -> String {
    let width = report.findings.iter().map(|finding| finding.id.name().len()).max().unwrap_or_default();
    let mut text = String::new();
    let is_same = |one: &Finding, other: &Finding| {
        one.verdict == Verdict::Skipped && other.verdict == Verdict::Skipped && one.seen == other.seen
    };
    for group in report.findings.chunk_by(is_same) {
        match group {
            [first, ..] if group.len() > MAX_SKIPPED_LINES => {
                add_line(&mut text, width, &format!("{} checks", group.len()), first);
            }
            _ => group.iter().for_each(|finding| add_line(&mut text, width, finding.id.name(), finding)),
        }
    }
    let settled: Vec<_> = settled(report).collect();
    if !settled.is_empty() {
        let at = time(report);
        let _ = writeln!(text, "\nQuestions that the documentation leaves open, and what was seen at {at}:");
        for (id, Settled { question, answer }) in settled {
            let _ = writeln!(text, "  {}: {question} {answer}", id.service());
        }
    }
    let [passed, warnings, failed, skipped] =
        [Verdict::Passed, Verdict::Warning, Verdict::Failed, Verdict::Skipped].map(|of| report.count(of));
    let total = report.findings.len();
    let warnings = if warnings == 1 { "1 warning".to_owned() } else { format!("{warnings} warnings") };
    let _ =
        writeln!(text, "\n{total} checks: {passed} passed, {warnings}, {failed} failed, {skipped} skipped");
    marked(&text)
}

/// Adds the lines of a finding under a name.
fn add_line(text: &mut String, width: usize, name: &str, finding: &Finding) {
    let Finding { verdict, seen, hint, .. } = finding;
    let (symbol, skipped) = match verdict {
        Verdict::Passed => ("✓", ""),
        Verdict::Failed => ("✗", ""),
        Verdict::Warning => ("!", ""),
        Verdict::Skipped => ("-", "skipped: "),
    };
    let indent = " ".repeat(width + 3);
    let seen = seen.trim_end().replace('\n', &format!("\n{indent}"));
    // A String takes everything.
    let _ = writeln!(text, "{symbol} {name:<width$} {skipped}{seen}");
    if let Some(hint) = hint {
        let _ = writeln!(text, "{indent}hint: {hint}");
    }
}

/// The open questions that were answered, with the check that answered them.
fn settled(report: &Report) -> impl Iterator<Item = (CheckId, &Settled)> {
    report.findings.iter().flat_map(|finding| finding.settled.iter().map(|settled| (finding.id, settled)))
}

fn time(report: &Report) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(report.checked_at);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn json(report: &Report) -> String {
    let finding = |finding: &Finding| {
        let Finding { id, verdict, seen, hint, failure, facts, .. } = finding;
        let diagnosis = failure.as_ref().map(|failure| &failure.diagnosis);
        let facts: Map<String, Value> =
            facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        json!({
            "id": id.name(),
            "verdict": verdict.name(),
            "seen": seen,
            "hint": hint,
            "code": diagnosis.map(|diagnosis| diagnosis.code.name()),
            "exit_code": diagnosis.map(|diagnosis| diagnosis.status.code()),
            "facts": facts,
        })
    };
    let settled: Vec<Value> = settled(report)
        .map(|(id, Settled { question, answer })| {
            json!({"id": id.name(), "service": id.service(), "question": question, "shown": answer})
        })
        .collect();
    json_line(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "checked_at": time(report),
        "exit_code": status(report).code(),
        "passed": report.count(Verdict::Passed),
        "warnings": report.count(Verdict::Warning),
        "failed": report.count(Verdict::Failed),
        "skipped": report.count(Verdict::Skipped),
        "checks": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "settled": settled,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(findings: &[(Verdict, &str)]) -> String {
        let finding = |(id, (verdict, seen)): (&CheckId, &(Verdict, &str))| Finding {
            id: *id,
            verdict: *verdict,
            seen: (*seen).to_owned(),
            hint: None,
            failure: None,
            facts: Vec::new(),
            settled: Vec::new(),
        };
        let probes = [
            CheckId::Table,
            CheckId::Clock,
            CheckId::Estimate,
            CheckId::Columns,
            CheckId::Leftovers,
            CheckId::Database,
        ];
        let findings = probes.iter().zip(findings).map(finding).collect();
        text(&Report { findings, interrupted: None, checked_at: 0 })
    }

    #[test]
    fn only_a_long_sequence_that_is_skipped_for_one_reason_is_one_line() {
        use Verdict::{Passed, Skipped};
        assert_eq!(
            text_of(&[(Skipped, "no key"); 5]),
            "- 5 checks  skipped: no key\n\n5 checks: 0 passed, 0 warnings, 0 failed, 5 skipped\n"
        );
        let four = "- table    skipped: no key\n- clock    skipped: no key\n- estimate skipped: no key\n\
                    - columns  skipped: no key\n";
        let text = text_of(&[(Skipped, "no key"); 4]);
        assert_eq!(text, format!("{four}\n4 checks: 0 passed, 0 warnings, 0 failed, 4 skipped\n"));
        let lines = |findings: &[(Verdict, &str)]| text_of(findings).lines().count() - 2;
        assert_eq!(lines(&[(Passed, "fine"); 5]), 5, "nothing is skipped");
        let skipped = (Skipped, "no key");
        assert_eq!(lines(&[skipped, skipped, skipped, skipped, (Passed, "no key")]), 5, "the last passed");
        assert_eq!(lines(&[skipped, skipped, skipped, skipped, (Skipped, "no table")]), 5, "another reason");
        assert_eq!(lines(&[(Passed, "no key"), skipped, skipped, skipped, skipped, skipped]), 2);
    }
}
