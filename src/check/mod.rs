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

use self::account::{AccountFindings, check_account};
use self::clocks::ServerClock;
use self::finding::skip;
use self::store::{StoreFindings, check_store};
use crate::clock::Clock;
use crate::config::{Settings, SettingsError};
use crate::diagnosis::{Code, Diagnosis};
use crate::retry::RetryPolicy;
use crate::services::assemble;
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
            let diagnosis = error.diagnosis();
            report.findings.push(Finding::failed_with(CheckId::Certificates, error, diagnosis));
            let of_services = CheckId::ALL.iter().copied().filter(|id| {
                !matches!(
                    id,
                    CheckId::Settings | CheckId::StateDir | CheckId::Certificates | CheckId::Estimate
                ) && probes.include(*id)
            });
            let reason = "nothing can be sent";
            report.findings.extend(of_services.map(|id| Finding::skipped(id, reason)));
            report.findings.push(estimate::estimate(settings, last_run.as_ref()));
            return in_order(report);
        }
    };
    let is_https = |endpoint: &url::Url| endpoint.scheme() == "https";
    report.findings.push(
        if is_https(&settings.store.yotpo.endpoint) || is_https(&settings.treasure_data.endpoint) {
            Finding::passed(CheckId::Certificates, "root certificates are loaded")
        } else {
            Finding::skipped(CheckId::Certificates, "no address is https")
        },
    );
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
