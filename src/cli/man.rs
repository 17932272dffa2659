//! `yotpo-td man`: manual pages, one for each command.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_mangen::Man;

use super::failure::{Failure, local_code};
use super::invocation::Invocation;
use crate::diagnosis::{Code, Diagnosis};
use crate::paths::shown;
use crate::telemetry::write_result;

/// Maximum width of a line of text in bytes, as mandoc wants it.
const LINE_WIDTH: usize = 80;

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
#[error("could not write {}", shown(path))]
struct NotWritten {
    path: PathBuf,
    source: io::Error,
}

/// There is no such command.
#[derive(Debug, thiserror::Error)]
#[error("there is no command {0:?}")]
struct NoSuchCommand(String);

/// Runs the command, for the whole command line `root`.
pub(super) fn man(root: Command, invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    let mut root = without_help(root);
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
    write_result(&page);
    Ok(())
}

/// Without the commands that clap adds: they have no page.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

/// Writes the pages of a command and of all commands below it.
fn write_pages(command: &Command, directory: &Path) -> Result<(), NotWritten> {
    let (name, page) = page(command);
    let path = directory.join(name);
    std::fs::write(&path, page).map_err(|source| NotWritten { path, source })?;
    command.get_subcommands().try_for_each(|command| write_pages(command, directory))
}

/// Name of the file and text of the page.
fn page(command: &Command) -> (String, String) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let version = concat!("yotpo-td ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(name.to_uppercase()).source(version).date(env!("BUILD_DATE"));
    let mut page = Vec::new();
    // A Vec takes everything.
    let _ = man.render(&mut page);
    (format!("{name}.1"), tidy(&String::from_utf8_lossy(&page)))
}

/// The same page without trailing white space, and with long lines of text broken at spaces, which changes nothing in the
/// filled text of a page.
fn tidy(page: &str) -> String {
    let options = textwrap::Options::new(LINE_WIDTH)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    let mut tidied = String::with_capacity(page.len());
    for line in page.lines().map(str::trim_end) {
        if line.starts_with(['.', '\'']) || line.len() <= LINE_WIDTH {
            tidied.push_str(line);
            tidied.push('\n');
            continue;
        }
        for part in textwrap::wrap(line, &options) {
            // A continuation that begins like a request is not one.
            if part.starts_with(['.', '\'']) {
                tidied.push_str(r"\&");
            }
            tidied.push_str(&part);
            tidied.push('\n');
        }
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_and_requests_stay() {
        let long = "word ".repeat(20);
        let request = format!(".TH {long}");
        let page = format!("{request}\n{long}\nshort  \n{}.name ends\n", "x".repeat(78) + " ");
        let tidied = tidy(&page);
        let lines: Vec<_> = tidied.lines().collect();
        let first = "word ".repeat(16);
        assert_eq!(
            lines,
            [
                request.trim_end(),
                first.trim_end(),
                "word word word word",
                "short",
                &"x".repeat(78),
                "\\&.name ends"
            ]
        );
    }
}
