//! `yotpo-td config`: what the settings are, and what a settings file looks like.
//!
//! Owns what is printed. Nothing is sent anywhere, and no secret is printed.

mod show;
mod validate;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::Failure;
use super::invocation::{Invocation, layers, start_logging};
use super::options::{output_flag, with_other_options};
use super::setting_flags::with_settings;
use crate::config::{SETTINGS, schema, template};
use crate::telemetry::{ProgressBar, write_result};

pub(super) const EXAMPLES: &str = "\
Examples:
  Begin a settings file:
    yotpo-td config template > yotpo-td.toml
  Print every setting and where it comes from:
    yotpo-td config show
  Check a settings file where the secrets are not available:
    yotpo-td config validate --config yotpo-td.toml --without-secrets";

/// The command line.
pub(super) fn command() -> Command {
    let without_secrets = Arg::new("without-secrets")
        .long("without-secrets")
        .action(ArgAction::SetTrue)
        .help("Do not expect the secrets to be set");
    let show = Command::new("show").about("Print every setting and where it comes from; secrets are hidden");
    let validate =
        Command::new("validate").about("Check all settings as sync does, and report every problem");
    Command::new("config")
        .about("Show and check settings, and print a template or schema of a settings file")
        .after_long_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_other_options(with_settings(show.arg(output_flag()), SETTINGS)))
        .subcommand(Command::new("template").about("Print a complete, commented settings file (TOML)"))
        .subcommand(Command::new("schema").about("Print the JSON Schema of a settings file"))
        .subcommand(with_other_options(with_settings(validate.arg(without_secrets), SETTINGS)))
}

/// Runs the command.
pub(super) fn config(invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("template", _)) => write_result(&template()),
        Some(("schema", _)) => write_result(&format!("{:#}\n", schema())),
        Some(("show", matches)) => {
            let layers = layers(invocation, matches);
            start_logging(&layers, &ProgressBar::hidden());
            write_result(&show::render(layers, matches));
        }
        Some((_, matches)) => {
            let layers = layers(invocation, matches);
            start_logging(&layers, &ProgressBar::hidden());
            write_result(&validate::validate(invocation, layers, matches)?);
        }
        // clap requires a subcommand.
        None => {}
    }
    Ok(())
}
