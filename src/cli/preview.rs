//! `yotpo-td preview`: the first customers as they would be stored, as a table or as JSON.
//!
//! Owns the command line of the command and how customers look. What is fetched and masked is decided in [`crate::preview`].

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use clap::{Arg, ArgMatches, value_parser};
use serde::Serialize;

use super::embedded_sandbox;
use super::failure::{Failure, NextCommand, local_code};
use super::invocation::{Invocation, layers, settings_hint, start_logging};
use super::loading::show_progress;
use super::runtime::{MachineDenied, client_runtime, serving_runtime};
use crate::clock::Clock;
use crate::config::{Layers, SettingsToPreview};
use crate::diagnosis::{Code, Diagnosis};
use crate::preview::{Masking, Preview, PreviewSettings, PreviewedCustomer, preview};
use crate::run::RunError;
use crate::services::assemble_store;
use crate::shutdown::{self, cancel_on_stop};
use crate::telemetry::{
    LogFormat, Progress, ProgressBar, columns, log_format, try_write_stdout, words, write_stderr,
};

pub(super) const EXAMPLES: &str = if cfg!(feature = "sandbox") {
    "\
Examples:
  Try it without an account, with generated customers:
    yotpo-td preview --sandbox --limit 3
  Show the first customers of a store, with their strings masked:
    yotpo-td preview --store-id my_store
  Print what sync would store, byte for byte:
    yotpo-td preview --store-id my_store --limit 100 --mask off --output ndjson > customers.ndjson"
} else {
    "\
Examples:
  Show the first customers of a store, with their strings masked:
    yotpo-td preview --store-id my_store
  Print what sync would store, byte for byte:
    yotpo-td preview --store-id my_store --limit 100 --mask off --output ndjson > customers.ndjson"
};

const NOTHING_LOADED: &str = "nothing: preview loads nothing";
/// Maximum number of customers.
const MAX_LIMIT: u64 = 10_000;
const DEFAULT_LIMIT: &str = "10";
/// Columns of a table that is not on a terminal.
const USUAL_COLUMNS: usize = 120;
/// Columns that the text of a customer has at least, however narrow the terminal is.
const MIN_TEXT_COLUMNS: usize = 20;
const HEADER: [&str; 4] = ["CUSTOMER", "BYTES", "LOYALTY", "JSON_RESPONSE"];

/// The flags of the command beyond the settings of the store.
pub(super) fn flags() -> [Arg; 3] {
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("NUMBER")
        .value_parser(value_parser!(u64).range(1..=MAX_LIMIT))
        .default_value(DEFAULT_LIMIT)
        .help("Maximum number of customers, up to 10,000");
    let output = Arg::new("output")
        .long("output")
        .value_name("FORMAT")
        .value_parser(["table", "json", "ndjson"])
        .default_value("table")
        .hide_possible_values(true)
        .help("Format of the output: table, json or ndjson")
        .long_help(
            "Format of the output: table, json or ndjson\n\n\
             table has one line per customer, cut to the width of the terminal. json is an array of rows with time and \
             json_response, ndjson is one row per line.",
        );
    let mask = Arg::new("mask")
        .long("mask")
        .value_name("on|off")
        .value_parser(["on", "off"])
        .default_value("on")
        .hide_possible_values(true)
        .help("Replace the strings of customers with ***: on or off")
        .long_help(
            "Replace the strings of customers with ***: on or off\n\n\
             Keys, numbers, true, false, null and empty strings stay, and so do timestamps, tier names, currencies and a few \
             other words under known keys. A telephone number that Yotpo sends as a number is not masked.",
        );
    [limit, output, mask]
}

/// Runs the command.
pub(super) fn run(invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    let layers = layers(invocation, matches);
    let bar = ProgressBar::hidden();
    start_logging(&layers, &bar);
    let command = PreviewCommand { invocation, matches, bar, clock: Clock::machine() };
    let runtime = if embedded_sandbox::is_wanted(matches) { serving_runtime() } else { client_runtime() };
    let runtime = runtime.map_err(|error| {
        command.failed(error, Diagnosis::new(Code::MachineDenied, Some(MachineDenied::HINT.to_owned())))
    })?;
    let result = runtime.block_on(command.start(layers));
    runtime.shutdown_background();
    // After a failure, the closing words follow.
    command.bar.finish();
    result
}

struct PreviewCommand<'a> {
    invocation: &'a Invocation,
    matches: &'a ArgMatches,
    bar: ProgressBar,
    clock: Clock,
}

/// The result could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("could not write to stdout")]
struct NotPrinted(#[from] io::Error);

impl PreviewCommand<'_> {
    async fn start(&self, mut layers: Layers) -> Result<(), Failure> {
        let sandbox = embedded_sandbox::start_if_wanted(self.matches, &mut layers, &self.clock)
            .await
            .map_err(|error| self.failed_locally(error))?;
        let result = match SettingsToPreview::from_layers(layers) {
            Ok(settings) => self.preview(&settings).await,
            Err(error) => {
                let hint = Some(settings_hint("preview"));
                Err(self.failed(error, Diagnosis::new(Code::SettingsInvalid, hint)))
            }
        };
        if let Some(sandbox) = sandbox {
            sandbox.shutdown().await;
        }
        result
    }

    async fn preview(&self, settings: &SettingsToPreview) -> Result<(), Failure> {
        let clock = &self.clock;
        let stop = shutdown::listen(clock.clone()).map_err(|error| self.failed_locally(error))?;
        let yotpo = assemble_store(&settings.store, clock, fastrand::u64(..)).map_err(|error| {
            let diagnosis = error.diagnosis();
            self.failed(error, diagnosis)
        })?;
        let wanted = PreviewSettings {
            limit: self.matches.get_one("limit").copied().unwrap_or(MAX_LIMIT),
            masking: self.masking(),
            page_size: settings.page_size,
            loyalty_check: settings.loyalty_check,
        };
        let progress = Arc::new(Progress::default());
        let heartbeat = show_progress(self.invocation, &self.bar, &progress, clock);
        let preview = cancel_on_stop(&stop, preview(&yotpo, wanted, &progress, clock)).await;
        drop(heartbeat);
        self.bar.finish();
        let preview = preview.map_err(|error| self.not_fetched(error))?;
        let printed = try_write_stdout(&self.render(&preview.customers)).map_err(NotPrinted);
        printed.map_err(|error| self.failed_locally(error))?;
        self.close(&preview, settings.max_error_records);
        Ok(())
    }

    fn masking(&self) -> Masking {
        match self.matches.get_one::<String>("mask") {
            Some(switch) if switch == "off" => Masking::Off,
            _ => Masking::On,
        }
    }

    fn render(&self, customers: &[PreviewedCustomer]) -> String {
        match self.matches.get_one::<String>("output").map(String::as_str) {
            Some("json") => json(customers),
            Some("ndjson") => {
                customers.iter().flat_map(|customer| [row(customer), "\n".to_owned()]).collect()
            }
            _ => table(customers, columns(io::stdout()).unwrap_or(USUAL_COLUMNS)),
        }
    }

    /// Reports what is not on stdout: how much was shown, and what a run would refuse.
    fn close(&self, preview: &Preview, max_error_records: u64) {
        let Preview { rejected, has_more, .. } = *preview;
        if rejected > max_error_records {
            tracing::warn!(
                rejected,
                max_error_records,
                "customers cannot become rows: sync would fail, or leave them out with a higher --max-error-records"
            );
        } else if rejected > 0 {
            tracing::warn!(
                rejected,
                max_error_records,
                "customers cannot become rows: sync would leave them out"
            );
        }
        let (shown, is_masked) = (preview.customers.len() as u64, self.masking() == Masking::On);
        if log_format() == LogFormat::Json {
            tracing::info!(shown, rejected, masked = is_masked, has_more, "preview complete");
        } else if tracing::enabled!(tracing::Level::INFO) {
            write_stderr(&closing_line(shown, rejected, is_masked, has_more));
        }
    }

    fn not_fetched(&self, error: RunError) -> Failure {
        let diagnosis = error.diagnosis();
        match error {
            // The context of a run is "all customers".
            RunError::Yotpo(error) => self.failed(error, diagnosis),
            error => self.failed(error, diagnosis),
        }
    }

    fn failed_locally(&self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        let error = error.into();
        let (code, hint) = local_code(error.as_ref(), Code::MachineDenied);
        self.failed(error, Diagnosis::new(code, hint))
    }

    fn failed(&self, error: impl Into<Box<dyn Error + Send + Sync>>, diagnosis: Diagnosis) -> Failure {
        let next = NextCommand::again(diagnosis.code, || self.invocation.command_line());
        Failure { error: error.into(), diagnosis, saved: NOTHING_LOADED.to_owned(), next, run: None }
    }
}

/// How many customers are shown of how many.
fn closing_line(shown: u64, rejected: u64, is_masked: bool, has_more: bool) -> String {
    let read = words::count(shown + rejected, "customer", "customers");
    let shown = match (shown, rejected) {
        (0, 0) => return "the store lists no customers\n".to_owned(),
        (_, 0) => read,
        _ => format!("{} of {read}", words::number(shown)),
    };
    let masked = if is_masked { ", masked" } else { "" };
    let more = if has_more { "the store may have more" } else { "the store has no more" };
    format!("{shown} shown{masked}; {more}\n")
}

/// A row as `--output json` and `ndjson` have it.
fn row(customer: &PreviewedCustomer) -> String {
    #[derive(Serialize)]
    struct Row<'a> {
        time: u64,
        json_response: &'a str,
    }
    let PreviewedCustomer { time, json_response, .. } = customer;
    // A number and a string can always be serialized.
    serde_json::to_string(&Row { time: *time, json_response }).unwrap_or_default()
}

/// An array with one row per line.
fn json(customers: &[PreviewedCustomer]) -> String {
    if customers.is_empty() {
        return "[]\n".to_owned();
    }
    let rows: Vec<String> = customers.iter().map(row).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

/// A header, and one line per customer of at most `width` columns. The text of a row is printable ASCII.
fn table(customers: &[PreviewedCustomer], width: usize) -> String {
    let [position, bytes, loyalty, text] = HEADER;
    let mut lines = vec![[position, bytes, loyalty, text].map(str::to_owned)];
    lines.extend(customers.iter().map(|customer| {
        let loyalty = if customer.has_loyalty_data { "yes" } else { "no" };
        let numbers = [customer.position, customer.bytes as u64].map(words::number);
        let [position, bytes] = numbers;
        [position, bytes, loyalty.to_owned(), customer.json_response.clone()]
    }));
    let width_of = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(String::len).max();
    let [positions, sizes, loyalties] = [0, 1, 2].map(|column| width_of(column).unwrap_or_default());
    let before_text = positions + sizes + loyalties + 3 * "  ".len();
    let text_columns = width.saturating_sub(before_text).max(MIN_TEXT_COLUMNS);
    let mut table = String::new();
    for [position, bytes, loyalty, text] in &lines {
        let text = shortened(text, text_columns);
        // A String takes everything.
        let _ = writeln!(table, "{position:>positions$}  {bytes:>sizes$}  {loyalty:<loyalties$}  {text}");
    }
    table
}

fn shortened(text: &str, columns: usize) -> String {
    match text.char_indices().nth(columns) {
        None => text.to_owned(),
        Some(_) => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn customer(position: u64, json_response: &str) -> PreviewedCustomer {
        let bytes = json_response.len() * 1_000;
        let json_response = json_response.to_owned();
        PreviewedCustomer { position, time: 7, json_response, bytes, has_loyalty_data: position == 1 }
    }

    #[test]
    fn lines_of_a_table_are_aligned_and_never_wider_than_the_terminal() {
        let customers =
            [customer(1, r#"{"a":1}"#), customer(10_000, &format!(r#"{{"a":"{}"}}"#, "x".repeat(90)))];
        let text = format!("{{\"a\":\"{}…", "x".repeat(26));
        let expected = [
            "CUSTOMER   BYTES  LOYALTY  JSON_RESPONSE\n",
            "       1   7,000  yes      {\"a\":1}\n",
            &format!("  10,000  98,000  no       {text}\n"),
        ];
        assert_eq!(table(&customers, 60), expected.concat());
        for width in 0..200 {
            let widths = table(&customers, width).lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widths <= width.max(27 + MIN_TEXT_COLUMNS), "{width}");
        }
        assert_eq!(table(&[], 60), "CUSTOMER  BYTES  LOYALTY  JSON_RESPONSE\n");
    }

    #[test]
    fn json_has_one_row_per_line() {
        assert_eq!(json(&[]), "[]\n");
        let rows = json(&[customer(1, r#"{"a":"\n"}"#), customer(2, "{}")]);
        let expected = r#"[
{"time":7,"json_response":"{\"a\":\"\\n\"}"},
{"time":7,"json_response":"{}"}
]
"#;
        assert_eq!(rows, expected);
    }

    #[test]
    fn the_closing_line_says_what_is_shown() {
        for (shown, rejected, is_masked, has_more, line) in [
            (10, 0, true, true, "10 customers shown, masked; the store may have more\n"),
            (1, 0, false, false, "1 customer shown; the store has no more\n"),
            (8, 2, true, false, "8 of 10 customers shown, masked; the store has no more\n"),
            (0, 1, true, true, "0 of 1 customer shown, masked; the store may have more\n"),
            (0, 0, true, false, "the store lists no customers\n"),
        ] {
            assert_eq!(closing_line(shown, rejected, is_masked, has_more), line);
        }
    }
}
