//! The command line program; the library does the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(unix)]
    without_empty_variables();
    yotpo_td::cli::main(&yotpo_td::cli::Invocation::of_process()).into()
}

/// Variables that libraries read from the process by themselves.
#[cfg(unix)]
const READ_BY_LIBRARIES: [&str; 10] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// An empty variable is an unset one, whoever reads it. A process cannot safely change its own environment, so it is
/// replaced by itself without them; where that is not possible, it goes on as it is.
#[cfg(unix)]
fn without_empty_variables() {
    use std::os::unix::process::CommandExt as _;

    let is_empty = |name: &&str| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let empty: Vec<_> = READ_BY_LIBRARIES.into_iter().filter(is_empty).collect();
    let Ok(program) = std::env::current_exe() else { return };
    if empty.is_empty() {
        return;
    }
    let mut command = std::process::Command::new(program);
    let mut words = std::env::args_os();
    command.arg0(words.next().unwrap_or_default()).args(words);
    for name in empty {
        command.env_remove(name);
    }
    // Only a failure comes back.
    let _failure = command.exec();
}
