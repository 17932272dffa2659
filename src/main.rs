//! The command line program; the library does the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(unix)]
    with_clean_variables();
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

/// An empty variable is an unset one, whoever reads it, and spaces around a value are none of it. A process cannot safely change its own environment, so it is
/// replaced by itself without them; where that is not possible, it goes on as it is.
#[cfg(unix)]
fn with_clean_variables() {
    use std::os::unix::process::CommandExt as _;

    let unclean = |name: &&str| {
        std::env::var_os(name).is_some_and(|value| match value.to_str() {
            Some(text) => text.is_empty() || (is_proxy(name) && text.trim() != text),
            None => false,
        })
    };
    let unclean: Vec<_> = READ_BY_LIBRARIES.into_iter().filter(unclean).collect();
    let Ok(program) = std::env::current_exe() else { return };
    if unclean.is_empty() {
        return;
    }
    let mut command = std::process::Command::new(program);
    let mut words = std::env::args_os();
    command.arg0(words.next().unwrap_or_default()).args(words);
    for name in unclean {
        let value = std::env::var(name).unwrap_or_default();
        match value.trim() {
            "" => command.env_remove(name),
            value => command.env(name, value),
        };
    }
    // Only a failure comes back.
    let _failure = command.exec();
}

/// Paths may begin or end with a space, addresses may not.
#[cfg(unix)]
fn is_proxy(name: &str) -> bool {
    name.to_ascii_uppercase().ends_with("_PROXY")
}
