//! Checks that a run will find what it needs: settings, both services, the account, and on request what the agreement
//! between attempts assumes of Treasure Data.
//!
//! Owns the checks, their order and their verdicts. Without probes it changes nothing, neither in a service nor on this
//! machine; the probes delete what they create, whatever ends them. A check whose prerequisite failed is skipped, and all
//! others still run. It knows nothing of the command line or of printing.

mod account;
mod clocks;
mod estimate;
mod finding;
mod probe;
mod reach;
mod size;
mod state;
mod store;

pub use finding::{CheckFailure, CheckId, Finding, Report, Settled, Verdict};
pub use probe::Probes;

use std::time::Duration;

use url::Url;

use self::account::{AccountFindings, check_account};
use self::clocks::ServerClock;
use self::finding::skip;
use self::store::{StoreFindings, check_store};
use crate::clock::Clock;
use crate::config::{Settings, SettingsError};
use crate::diagnosis::{Code, Diagnosis};
use crate::retry::RetryPolicy;
use crate::services::{ServicesError, assemble};
use crate::shutdown::StopRequests;

/// Maximum retries of a request. The user waits for the result, and can run the command again.
const MAX_RETRIES: u32 = 2;
/// Maximum time spent retrying one request.
const MAX_RETRY_TIME: Duration = Duration::from_secs(60);

/// The report on settings that are missing or wrong: nothing else can be checked.
pub fn of_wrong_settings(error: SettingsError, hint: &str, clock: &Clock, probes: Probes) -> Report {
    let diagnosis = Diagnosis::new(Code::SettingsInvalid, Some(hint.to_owned()));
    let mut findings = vec![Finding::failed_with(CheckId::Settings, error, diagnosis)];
    let rest = CheckId::ALL.iter().copied().filter(|id| *id != CheckId::Settings && probes.include(*id));
    findings.extend(rest.map(|id| Finding::skipped(id, "the settings are not complete and valid")));
    Report { findings, checked_at: clock.unix_time().as_secs(), ..Report::default() }
}

/// Checks everything that a run with these settings needs. `seed` makes the jitter of retries and the names of probes.
pub async fn check(
    settings: &Settings,
    clock: &Clock,
    probes: Probes,
    stop: &StopRequests,
    seed: u64,
) -> Report {
    let mut settings = settings.clone();
    settings.store.retry = few_retries(settings.store.retry);
    let settings = &settings;
    let mut report = Report { checked_at: clock.unix_time().as_secs(), ..Report::default() };
    report.findings.push(of_settings(settings));
    let (state, last_run) = state::check_state(settings);
    report.findings.push(state);
    let services = match assemble(settings, clock, seed) {
        Ok(services) => services,
        Err(error) => {
            report.findings.extend(without_services(error, probes));
            report.findings.push(estimate::estimate(settings, last_run.as_ref()));
            return in_order(report);
        }
    };
    report.findings.push(of_certificates([&settings.store.yotpo.endpoint, &settings.treasure_data.endpoint]));
    report.findings.push(estimate::estimate(settings, last_run.as_ref()));
    // `assemble` always makes it.
    let Some(yotpo) = &services.yotpo else { return in_order(report) };
    let treasure_data = &services.treasure_data;
    let both = async { tokio::join!(check_store(yotpo, settings), check_account(treasure_data, settings)) };
    let (store, account) = tokio::select! {
        biased;
        signal = stop.graceful() => {
            report.interrupted = Some(signal);
            return in_order(report);
        }
        both = both => both,
    };
    let StoreFindings { findings, clock: yotpo_clock } = store;
    report.findings.extend(findings);
    let AccountFindings { findings, is_usable, has_table } = account;
    report.findings.extend(findings);
    let treasure_data_clock = if is_usable { clocks::clock_of(treasure_data) } else { ServerClock::Unknown };
    report.findings.push(clocks::check_clock(yotpo_clock, treasure_data_clock));
    if probes != Probes::None {
        if is_usable {
            let prober = probe::Prober::new(treasure_data, settings, seed);
            let (findings, interrupted) = prober.run(probes, has_table, stop).await;
            report.findings.extend(findings);
            report.interrupted = interrupted;
        } else {
            report.findings.extend(skip(probes.ids(), "Treasure Data cannot be used"));
        }
    }
    in_order(report)
}

fn of_settings(settings: &Settings) -> Finding {
    let load = &settings.load;
    let (store, label, mode) = (&settings.store.yotpo.store, load.target.label(), load.mode.as_str());
    Finding::passed(CheckId::Settings, format!("valid: store {store} into {label}, mode {mode}"))
}

/// The clients cannot be made, so everything that sends requests is skipped.
fn without_services(error: ServicesError, probes: Probes) -> Vec<Finding> {
    let diagnosis = error.diagnosis();
    let mut findings = vec![Finding::failed_with(CheckId::Certificates, error, diagnosis)];
    let of_services = CheckId::ALL.iter().copied().filter(|id| {
        !matches!(id, CheckId::Settings | CheckId::StateDir | CheckId::Certificates | CheckId::Estimate)
            && probes.include(*id)
    });
    findings.extend(of_services.map(|id| Finding::skipped(id, "nothing can be sent")));
    findings
}

/// The clients could be made, so the certificates were loaded if any address needs them.
fn of_certificates(endpoints: [&Url; 2]) -> Finding {
    if endpoints.iter().any(|endpoint| endpoint.scheme() == "https") {
        Finding::passed(CheckId::Certificates, "root certificates are loaded")
    } else {
        Finding::skipped(CheckId::Certificates, "no address is https")
    }
}

fn few_retries(policy: RetryPolicy) -> RetryPolicy {
    let RetryPolicy { max_retries, base_delay, timeout } = policy;
    RetryPolicy {
        max_retries: max_retries.min(MAX_RETRIES),
        base_delay,
        timeout: timeout.min(MAX_RETRY_TIME),
    }
}

/// The findings in the order of their ids: the first failed one decides.
fn in_order(mut report: Report) -> Report {
    let place = |id: CheckId| CheckId::ALL.iter().position(|known| *known == id);
    report.findings.sort_by_key(|finding| place(finding.id));
    report
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use http::HeaderValue;

    use super::*;
    use crate::config::Layers;
    use crate::shutdown::Signal;

    const NOW: u64 = 1_795_406_400;
    const OF_NO_SERVICE: [CheckId; 3] = [CheckId::Settings, CheckId::StateDir, CheckId::Estimate];

    /// Settings with addresses on this machine and this directory for states.
    pub(super) fn settings(state_directory: &Path) -> Settings {
        let variables = [
            ("YOTPO_CLIENT_SECRET", "secret"),
            ("YOTPO_STORE_ID", "store"),
            ("TD_API_KEY", "1/key"),
            ("TD_DATABASE", "database"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let flags = [
            ("yotpo-endpoint", "http://127.0.0.1:1"),
            ("td-endpoint", "http://127.0.0.1:1"),
            ("state-dir", state_directory.to_str().unwrap()),
        ];
        let flags = flags.map(|(key, value)| (key, value.to_owned()));
        Settings::from_layers(Layers::new(&BTreeMap::from(flags), BTreeMap::from(variables), None)).unwrap()
    }

    fn ids(findings: &[Finding]) -> Vec<CheckId> {
        findings.iter().map(|finding| finding.id).collect()
    }

    #[tokio::test]
    async fn a_report_has_the_time_at_which_it_was_checked() {
        let clock = Clock::virtual_at(Duration::from_secs(NOW));
        let layers = Layers::new(&BTreeMap::new(), BTreeMap::<String, String>::new(), None);
        let error = Settings::from_layers(layers).unwrap_err();
        let wrong = of_wrong_settings(error, "correct it", &clock, Probes::None);
        assert_eq!(wrong.checked_at, NOW);

        let directory = tempfile::tempdir().unwrap();
        let (sender, stop) = StopRequests::channel();
        sender.stop(Signal::Terminate);
        let stopped = check(&settings(directory.path()), &clock, Probes::None, &stop, 0).await;
        assert_eq!((stopped.checked_at, stopped.interrupted), (NOW, Some(Signal::Terminate)));
    }

    #[test]
    fn without_clients_everything_that_sends_requests_is_skipped_once() {
        for probes in [Probes::None, Probes::Sessions, Probes::SessionsAndTables] {
            let error = HeaderValue::from_str("line\nbreak").unwrap_err();
            let findings = without_services(error.into(), probes);
            assert_eq!((findings[0].id, findings[0].verdict), (CheckId::Certificates, Verdict::Failed));
            assert!(findings[1..].iter().all(|finding| finding.verdict == Verdict::Skipped));
            let others = OF_NO_SERVICE.map(|id| Finding::passed(id, ""));
            let report =
                Report { findings: findings.into_iter().chain(others).collect(), ..Report::default() };
            let expected: Vec<_> = CheckId::ALL.iter().copied().filter(|id| probes.include(*id)).collect();
            assert_eq!(ids(&in_order(report).findings), expected, "{probes:?}");
        }
    }

    #[test]
    fn certificates_are_needed_if_one_address_is_https() {
        let [https, http] = ["https://example.com", "http://127.0.0.1"].map(|text| text.parse().unwrap());
        for (endpoints, expected) in [
            ([&https, &https], Verdict::Passed),
            ([&https, &http], Verdict::Passed),
            ([&http, &https], Verdict::Passed),
            ([&http, &http], Verdict::Skipped),
        ] {
            assert_eq!(of_certificates(endpoints).verdict, expected, "{endpoints:?}");
        }
    }
}
