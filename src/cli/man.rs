//! `yotpo-td man`: manual pages, one for each command.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_mangen::Man;

use super::failure::{Failure, local_code};
use super::invocation::Invocation;
use crate::diagnosis::{Code, Diagnosis};
use crate::telemetry::write_stdout;

const EXAMPLES: &str = "\
Examples:
  Read the page of a command:
    yotpo-td man sync | man -l -
  Install all pages for the current user:
    yotpo-td man --directory ~/.local/share/man/man1";

/// The command line.
pub(super) fn command() -> Command {
    Command::new("man")
        .about("Print the manual page of a command, or write all pages to a directory")
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .num_args(0..)
                .help("The command, such as 'sync' or 'runs clean'"),
        )
        .arg(
            Arg::new("directory")
                .long("directory")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with("command")
                .help("Write a page for each command to this directory"),
        )
        .after_long_help(EXAMPLES)
}

/// A page could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write {}", path.display())]
struct NotWritten {
    path: PathBuf,
    source: io::Error,
}

/// There is no such command.
#[derive(Debug, thiserror::Error)]
#[error("there is no command {0:?}")]
struct NoSuchCommand(String);

/// Runs the command, for the whole command line `root`.
pub(super) fn man(mut root: Command, invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    root.build();
    if let Some(directory) = matches.get_one::<PathBuf>("directory") {
        return write_pages(&root, directory).map_err(|error| {
            let (code, hint) = local_code(&error, Code::StateFailed);
            Failure::before_start(error, Diagnosis::new(code, hint), invocation)
        });
    }
    let mut command = &root;
    for name in matches.get_many::<String>("command").into_iter().flatten() {
        command = command.find_subcommand(name).ok_or_else(|| {
            let hint = Some("yotpo-td --help lists all commands".to_owned());
            Failure::before_start(
                NoSuchCommand(name.clone()),
                Diagnosis::new(Code::SettingsInvalid, hint),
                invocation,
            )
        })?;
    }
    let (_, page) = page(command);
    write_stdout(&page);
    Ok(())
}

/// Writes the pages of a command and of all commands below it.
fn write_pages(command: &Command, directory: &Path) -> Result<(), NotWritten> {
    let (name, page) = page(command);
    let path = directory.join(name);
    std::fs::write(&path, page).map_err(|source| NotWritten { path, source })?;
    command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .try_for_each(|command| write_pages(command, directory))
}

/// Name of the file and text of the page.
fn page(command: &Command) -> (String, String) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let version = concat!("yotpo-td ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(name.clone()).source(version).date(env!("BUILD_DATE"));
    let mut page = Vec::new();
    // A Vec takes everything.
    let _ = man.render(&mut page);
    (format!("{name}.1"), String::from_utf8_lossy(&page).into_owned())
}
