//! The command line program; the library does the work.

use std::process::ExitCode;

fn main() -> ExitCode {
    with_clean_variables();
    yotpo_td::cli::main(&yotpo_td::cli::Invocation::of_process()).into()
}

/// Variables that libraries read from the process by themselves.
const READ_BY_LIBRARIES: [&str; 20] = [
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
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
];

/// An empty variable is an unset one, for every library that reads it, and spaces around a proxy's address are ignored. A process
/// cannot safely change its own environment, so it is replaced by itself with a clean one; where that is not possible, it
/// continues as it is.
fn with_clean_variables() {
    use std::os::unix::process::CommandExt as _;

    let cleaned = |name: &'static str| {
        let value = std::env::var_os(name)?.into_string().ok()?;
        let clean = if is_proxy(name) { value.trim() } else { value.as_str() };
        (clean.is_empty() || clean != value).then(|| (name, clean.to_owned()))
    };
    let cleaned: Vec<_> = READ_BY_LIBRARIES.into_iter().filter_map(cleaned).collect();
    let Ok(program) = std::env::current_exe() else { return };
    if cleaned.is_empty() {
        return;
    }
    let mut command = std::process::Command::new(program);
    let mut words = std::env::args_os();
    command.arg0(words.next().unwrap_or_default()).args(words);
    for (name, value) in cleaned {
        match value.as_str() {
            "" => command.env_remove(name),
            value => command.env(name, value),
        };
    }
    // Only a failure comes back.
    let _failure = command.exec();
}

/// Paths may begin or end with a space, addresses may not.
fn is_proxy(name: &str) -> bool {
    name.to_ascii_uppercase().ends_with("_PROXY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_lose_surrounding_spaces() {
        let proxies: Vec<_> = READ_BY_LIBRARIES.into_iter().filter(|name| is_proxy(name)).collect();
        let expected = [
            "HTTPS_PROXY",
            "https_proxy",
            "HTTP_PROXY",
            "http_proxy",
            "ALL_PROXY",
            "all_proxy",
            "NO_PROXY",
            "no_proxy",
        ];
        assert_eq!(proxies, expected);
    }
}
