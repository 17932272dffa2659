//! `yotpo-td sync`: to a table, to a directory, or to nothing.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use tracing::Instrument as _;

use super::Panicked;
use super::dry_run::DryRunCommand;
use super::embedded_sandbox::{self, EmbeddedSandbox};
use super::export::ExportCommand;
use super::failure::Failure;
use super::invocation::{Invocation, is_fresh_elsewhere, layers, start_logging_and_tracing};
use super::loading::{Load, LoadCommand};
use super::runtime::{client_runtime, run_to_end, serving_runtime};
use crate::config::{Layers, Settings, StoreSettings, output_settings};
use crate::diagnosis::Code;
use crate::services::assemble;
use crate::spans;
use crate::telemetry::ProgressBar;

/// The flags of the command beyond the settings.
pub(super) fn flags() -> Vec<Arg> {
    let to = Arg::new("to")
        .long("to")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .help("Write the rows to a directory instead of a table")
        .long_help(
            "Write the rows to a directory instead of a table\n\n\
             The directory is created, and only this user may read it. It holds one export, which an interrupted run resumes; \
             yotpo-td load loads it. Treasure Data is not contacted.",
        );
    let dry_run = Arg::new("dry-run")
        .long("dry-run")
        .action(ArgAction::SetTrue)
        .conflicts_with("to")
        .help("Fetch and compress everything, and load nothing")
        .long_help(
            "Fetch and compress everything, and load nothing\n\n\
             Says whether a run would resume, how many rows and bytes it would load, and how long fetching takes. Nothing is \
             saved, and Treasure Data is not contacted: yotpo-td check does that.",
        );
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("PAGES")
        .value_parser(value_parser!(u64).range(1..))
        .requires("dry-run")
        // clap does not require what conflicts with another argument that is given.
        .conflicts_with("to")
        .help("Fetch only so many pages; with --dry-run");
    vec![to, dry_run, limit]
}

/// Runs the command.
pub(super) fn sync(invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    let layers = layers(invocation, matches);
    let bar = ProgressBar::hidden();
    start_logging_and_tracing(&layers, &bar);
    let is_sandbox = embedded_sandbox::is_wanted(matches);
    if let Some(directory) = matches.get_one::<PathBuf>("to") {
        return ExportCommand::new(invocation, matches, bar, directory).run(layers);
    }
    if matches.get_flag("dry-run") {
        return DryRunCommand::new(invocation, matches, bar).run(layers);
    }
    let is_fresh_elsewhere = is_fresh_elsewhere(invocation, matches);
    let command = LoadCommand::new(invocation, bar, is_sandbox, is_fresh_elsewhere);
    let runtime = if is_sandbox { serving_runtime() } else { client_runtime() };
    if !is_sandbox {
        // The sandbox has other names, and changes them when it starts.
        command.report_to(output_settings(&layers), true);
    }
    let result = run_to_end(runtime, invocation, start(&command, matches, layers), || {
        command.ended_abruptly(Panicked, Panicked::diagnosis())
    });
    command.finish(result)
}

async fn start(command: &LoadCommand<'_>, matches: &ArgMatches, mut layers: Layers) -> Result<(), Failure> {
    let sandbox = embedded_sandbox::start_if_wanted(matches, &mut layers, &command.clock)
        .await
        .map_err(|error| command.failed_before_start(error, Code::MachineDenied))?;
    command.report_to(output_settings(&layers), true);
    let result = run(command, layers, sandbox.as_ref()).await;
    if let Some(sandbox) = sandbox {
        sandbox.shutdown().await;
    }
    result
}

async fn run(
    command: &LoadCommand<'_>,
    layers: Layers,
    sandbox: Option<&EmbeddedSandbox>,
) -> Result<(), Failure> {
    let settings = Settings::from_layers(layers)
        .map_err(|error| command.failed_before_start(error, Code::SettingsInvalid))?;
    let StoreSettings { connections, retry, .. } = &settings.store;
    command.monitoring.set_limits(
        connections,
        retry,
        settings.load.polling.timeout,
        settings.wait_for_active,
    );
    let run = spans::run(&settings.load.target, settings.load.mode);
    let run = command.run.get_or_init(|| run).clone();
    let stop = run.in_scope(|| command.listen())?;
    let load = Load {
        settings: &settings.load,
        wait_for_active: settings.wait_for_active,
        summary: settings.summary,
        assemble: &|seed| assemble(&settings, &command.clock, seed),
        sandbox,
        stop: &stop,
    };
    // On the heap: it is large, and would be moved about.
    Box::pin(command.load(load).instrument(run)).await
}
