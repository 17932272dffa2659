//! `yotpo-td sandbox`: serving both mock services for other programs.

use std::error::Error;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::failure::{Failure, local_code};
use super::invocation::Invocation;
use super::runtime::serving_runtime;
use crate::clock::Clock;
use crate::config::keys::{API_KEY, CLIENT_SECRET, DATABASE, STORE_ID, TD_ENDPOINT, YOTPO_ENDPOINT};
use crate::config::{Layers, log_settings};
use crate::diagnosis::{Code, Diagnosis};
use crate::sandbox::{PageLayout, Sandbox, SandboxError, SandboxSettings, StoreSettings, YotpoBehaviour};
use crate::shutdown;
use crate::telemetry::{self, LogFormat, ProgressBar, write_stdout};

/// Every store of the sandbox costs memory.
const MAX_SANDBOX_STORES: u64 = 1_000;

pub(super) const EXAMPLES: &str = "\
Examples:
  Start both mock servers and print the variables to export:
    yotpo-td sandbox
  Listen on fixed ports, with three stores:
    yotpo-td sandbox --yotpo-listen 127.0.0.1:8080 --td-listen 127.0.0.1:8081 --stores 3";

/// The flags of `sync` that start a sandbox inside it.
pub(super) fn flags() -> Vec<Arg> {
    let sandbox = Arg::new("sandbox")
        .long("sandbox")
        .action(ArgAction::SetTrue)
        .help("Run against embedded mock servers; no account needed")
        .long_help(
            "Run against embedded mock servers\n\n\
             Needs no settings, and uses none of your secrets or endpoints. Nothing of it is kept.",
        );
    vec![
        sandbox,
        number("sandbox-customers", "Customers of the sandbox's store", "10000").requires("sandbox"),
        number("sandbox-seed", "Seed of the sandbox's customers", "1").requires("sandbox"),
    ]
}

/// The command `sandbox`.
pub(super) fn command() -> Command {
    Command::new("sandbox")
        .about("Start the mock servers for other programs, until stopped")
        .after_long_help(EXAMPLES)
        .arg(number("customers", "Customers per store", "10000"))
        .arg(
            number("seed", "Seed of the customers", "1")
                .long_help("Seed of the customers\n\nStores use consecutive seeds."),
        )
        .arg(
            number("stores", "Stores at the Yotpo address", "1")
                .long_help("Stores at the Yotpo address\n\nEach has its own customers and rate limit.")
                .value_parser(value_parser!(u64).range(1..=MAX_SANDBOX_STORES)),
        )
        .arg(listen("yotpo-listen", "Address of Yotpo's mock server"))
        .arg(listen("td-listen", "Address of Treasure Data's mock server"))
        .arg(text("requests-per-second", "NUMBER", "Yotpo's rate limit per store, or off", "5"))
        .arg(
            text("page-layout", "LAYOUT", "Page layout: mixed, compact, spaced or pretty", "mixed")
                .value_parser(["mixed", "compact", "spaced", "pretty"])
                .hide_possible_values(true),
        )
        .arg(text("import-time", "DURATION", "Minimum duration of a load job", "0s"))
}

fn listen(name: &'static str, help: &'static str) -> Arg {
    let long_help = format!("{help}\n\nA loopback address; port 0 picks a free port.");
    text(name, "ADDRESS", help, "127.0.0.1:0").long_help(long_help)
}

fn number(name: &'static str, help: &'static str, default: &'static str) -> Arg {
    text(name, "NUMBER", help, default).value_parser(value_parser!(u64))
}

fn text(name: &'static str, value_name: &'static str, help: &'static str, default: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).default_value(default).help(help)
}

const PORT_HINT: &str = "name another port with --yotpo-listen or --td-listen; port 0 takes one that is free";
const SPOOL_HINT: &str = "name a temporary directory that can be written to with TMPDIR";

/// Runs `yotpo-td sandbox`.
pub(super) fn serve(invocation: &Invocation, matches: &ArgMatches) -> Result<(), Failure> {
    let layers = Layers::new(&std::collections::BTreeMap::new(), invocation.environment.clone(), None);
    let logs = log_settings(&layers);
    telemetry::init(&logs, &telemetry::TraceVariables::default(), &ProgressBar::hidden());
    let failed = |error: Box<dyn Error + Send + Sync>, code: Code| {
        let (code, hint) = local_code(error.as_ref(), code);
        Failure::before_start(error, Diagnosis::new(code, hint), invocation)
    };
    let settings = settings(matches).map_err(|error| failed(error.into(), Code::SettingsInvalid))?;
    let runtime = serving_runtime().map_err(|error| failed(error.into(), Code::MachineDenied))?;
    let result = runtime.block_on(async {
        let stop =
            shutdown::listen(Clock::machine()).map_err(|error| failed(error.into(), Code::MachineDenied))?;
        let sandbox = Sandbox::start(settings).await.map_err(|error| {
            let (code, hint) = match error {
                SandboxError::NotLoopback(_) => (Code::SettingsInvalid, None),
                SandboxError::Listen { .. } => (Code::MachineDenied, Some(PORT_HINT)),
                SandboxError::Spool(_) => (Code::MachineDenied, Some(SPOOL_HINT)),
                _ => (Code::MachineDenied, None),
            };
            let mut failure = failed(error.into(), code);
            failure.diagnosis.hint = failure.diagnosis.hint.or_else(|| hint.map(str::to_owned));
            failure
        })?;
        write_stdout(&exports(&sandbox));
        if logs.format == LogFormat::Text {
            tracing::info!("serving until stopped (Ctrl-C)");
        }
        // To be stopped is how this ends well.
        stop.graceful().await;
        sandbox.shutdown().await;
        Ok(())
    });
    runtime.shutdown_background();
    result
}

/// A flag that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("--{flag}: {value:?} is not {expected}")]
struct WrongFlag {
    flag: &'static str,
    value: String,
    expected: &'static str,
}

fn settings(matches: &ArgMatches) -> Result<SandboxSettings, WrongFlag> {
    let text = |flag: &'static str| matches.get_one::<String>(flag).cloned().unwrap_or_default();
    let address = |flag: &'static str| {
        let value = text(flag);
        let expected = "a loopback address such as 127.0.0.1:8080";
        value.parse::<SocketAddr>().map_err(|_| WrongFlag { flag, value, expected })
    };
    let rate = text("requests-per-second");
    let requests_per_second = match rate.as_str() {
        "off" => None,
        number => Some(number.parse::<NonZeroU32>().map_err(|_| WrongFlag {
            flag: "requests-per-second",
            value: rate.clone(),
            expected: "a whole number above 0, or off",
        })?),
    };
    let page_layout = match text("page-layout").as_str() {
        "compact" => PageLayout::Compact,
        "spaced" => PageLayout::Spaced,
        "pretty" => PageLayout::Pretty,
        _ => PageLayout::Mixed,
    };
    let import_time = text("import-time");
    let import_duration = humantime::parse_duration(&import_time).map_err(|_| WrongFlag {
        flag: "import-time",
        value: import_time.clone(),
        expected: "a time such as 10s",
    })?;
    let customers: u64 = *matches.get_one("customers").unwrap_or(&10_000);
    let seed: u64 = *matches.get_one("seed").unwrap_or(&1);
    let stores: u64 = *matches.get_one("stores").unwrap_or(&1);
    let further_store =
        |number: u64| StoreSettings::numbered(number, customers, seed.wrapping_add(number - 1));
    Ok(SandboxSettings {
        customers,
        seed,
        additional_stores: (2..=stores).map(further_store).collect(),
        yotpo_address: address("yotpo-listen")?,
        treasure_data_address: address("td-listen")?,
        requests_per_second,
        import_duration,
        yotpo: YotpoBehaviour { page_layout, ..YotpoBehaviour::default() },
        ..SandboxSettings::default()
    })
}

/// What to type so that a client in the same shell talks to the sandbox. Further stores are comments, so that the lines
/// as a whole still mean the first one.
fn exports(sandbox: &Sandbox) -> String {
    let credentials = sandbox.credentials();
    let mut text = String::new();
    for (name, value) in [
        (YOTPO_ENDPOINT.variable, sandbox.yotpo_endpoint().as_str()),
        (TD_ENDPOINT.variable, sandbox.treasure_data_endpoint().as_str()),
        (CLIENT_SECRET.variable, &credentials.client_secret),
        (STORE_ID.variable, &credentials.store_id),
        (API_KEY.variable, &credentials.api_key),
        (DATABASE.variable, &credentials.database),
    ] {
        // A String takes everything.
        let _ = writeln!(text, "export {name}={value}");
    }
    for store in sandbox.stores().iter().skip(1) {
        let _ = writeln!(
            text,
            "# export YOTPO_STORE_ID={} YOTPO_CLIENT_SECRET={}",
            store.store_id, store.client_secret
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings_of(flags: &[&str]) -> SandboxSettings {
        settings(&command().get_matches_from([&["sandbox"], flags].concat())).unwrap()
    }

    #[test]
    fn every_flag_has_an_effect() {
        let flags = [
            "--customers=70",
            "--seed=8",
            "--stores=3",
            "--yotpo-listen=127.0.0.1:81",
            "--td-listen=127.0.0.1:82",
            "--requests-per-second=7",
            "--page-layout=pretty",
            "--import-time=3s",
        ];
        let settings = settings_of(&flags);
        assert_eq!((settings.customers, settings.seed), (70, 8));
        let further: Vec<_> =
            settings.additional_stores.iter().map(|store| (store.customers, store.seed)).collect();
        assert_eq!(further, [(70, 9), (70, 10)]);
        assert_eq!((settings.yotpo_address.port(), settings.treasure_data_address.port()), (81, 82));
        assert_eq!(settings.requests_per_second.map(NonZeroU32::get), Some(7));
        assert_eq!(settings.yotpo.page_layout, PageLayout::Pretty);
        assert_eq!(settings.import_duration.as_secs(), 3);
    }

    #[test]
    fn without_flags_the_limit_is_that_of_yotpo() {
        assert_eq!(settings_of(&[]).requests_per_second.map(NonZeroU32::get), Some(5));
        assert_eq!(settings_of(&[]).yotpo.page_layout, PageLayout::Mixed);
        assert_eq!(settings_of(&["--requests-per-second=off"]).requests_per_second, None);
        let layouts = ["--page-layout=compact", "--page-layout=spaced"]
            .map(|flag| settings_of(&[flag]).yotpo.page_layout);
        assert_eq!(layouts, [PageLayout::Compact, PageLayout::Spaced]);
    }
}
