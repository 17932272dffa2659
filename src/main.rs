//! The command line program; the library does the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    yotpo_td::cli::main(&yotpo_td::cli::Invocation::of_process()).into()
}
