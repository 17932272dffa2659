//! Whether a run resumes a saved one: decided only from the saved state, the settings and the time.

use super::settings::{LoadSettings, ResumePolicy};
use crate::checkpoint::RunState;
use crate::yotpo::{LoyaltyCheck, LoyaltyVerdict};

/// How a run starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartPlan {
    /// There is nothing to resume.
    Fresh,
    /// The saved run is resumed.
    Resume {
        /// Whether its set is used; otherwise the run starts over with a new set.
        uses_set: bool,
    },
    /// The saved run is abandoned, and another one starts.
    Abandon {
        /// Why it is not resumed.
        reason: String,
    },
}

/// Decides how a run starts. `now` is in Unix seconds.
pub(super) fn plan_start(saved: Option<&RunState>, settings: &LoadSettings, now: u64) -> StartPlan {
    let Some(state) = saved else { return StartPlan::Fresh };
    match why_not_resumable(state, settings, now) {
        None => StartPlan::Resume { uses_set: is_usable(state, settings) },
        Some(reason) => StartPlan::Abandon { reason },
    }
}

/// Whether the saved set can be used.
pub(super) fn is_usable(state: &RunState, settings: &LoadSettings) -> bool {
    let is_complete = state.set.is_some_and(|set| set.totals.is_some() || set.proposed);
    // The stored rows would still lack loyalty data, even if Yotpo returns it again.
    let is_lost = state.loyalty.verdict() == LoyaltyVerdict::Lost
        && settings.transfer.loyalty_check == LoyaltyCheck::On;
    is_complete || state.has_stored_parts() && !is_lost
}

/// Whether the settings contain this run's id: then other attempts of it can follow.
pub(super) fn is_named(state: &RunState, settings: &LoadSettings) -> bool {
    settings.resume.run_id.as_ref() == Some(&state.run_id)
}

/// Why a saved run is not resumed; `None` if it is.
fn why_not_resumable(state: &RunState, settings: &LoadSettings, now: u64) -> Option<String> {
    let ResumePolicy::Within(limit) = settings.resume.policy else {
        return Some("--fresh is set".to_owned());
    };
    if state.target != settings.target {
        return Some("its target is different".to_owned());
    }
    if state.mode != settings.mode {
        return Some("its --mode is different".to_owned());
    }
    match &settings.resume.run_id {
        Some(id) if *id != state.run_id => return Some("its --run-id is different".to_owned()),
        _ => {}
    }
    if state.export != settings.source.origin() {
        return Some("its rows come from elsewhere: the store or another export".to_owned());
    }
    let lifetime = settings.run_lifetime;
    // With `--run-id`, every attempt would find it too old.
    if !is_named(state, settings)
        && state.set.is_some_and(|set| now.saturating_sub(set.nonce.time()) > lifetime.as_secs())
    {
        return Some(format!("it is older than --run-lifetime {}", humantime::format_duration(lifetime)));
    }
    // A complete set need not be fetched again: neither its age nor its page size matters.
    let is_complete = state.set.is_some_and(|set| set.totals.is_some() || set.proposed);
    if is_complete {
        return None;
    }
    if now.saturating_sub(state.updated_at) > limit.as_secs() {
        let limit = humantime::format_duration(limit);
        return Some(format!("it is older than --resume-within {limit}"));
    }
    if state.page_size != settings.transfer.page_size {
        return Some("its --page-size is different".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checkpoint::SavedSet;
    use crate::identity::{Mode, Nonce, PartTotals, TableId, TableSuffix};
    use crate::run::AbandonSettings;
    use crate::treasure_data::Polling;
    use crate::yotpo::{LoyaltyCounts, MemberCount};

    const STARTED: u64 = 1_795_406_400;
    const HOUR: u64 = 3_600;

    fn settings() -> LoadSettings {
        let target = crate::identity::Target {
            store: "store".parse().unwrap(),
            yotpo_endpoint: "https://api.yotpo.com/".to_owned(),
            treasure_data_endpoint: "https://api.treasuredata.com/".to_owned(),
            database: "shop".parse().unwrap(),
            table: "customers".parse().unwrap(),
        };
        let account = AbandonSettings {
            state_directory: "/state".into(),
            polling: Polling { interval: Duration::ZERO, timeout: Duration::ZERO },
            run_lifetime: Duration::from_secs(5 * 24 * HOUR),
            without_table_ids: false,
        };
        let mut settings = LoadSettings::to_abandon(target, Mode::Append, None, account);
        settings.resume.policy = ResumePolicy::Within(Duration::from_secs(6 * HOUR));
        settings.transfer.loyalty_check = LoyaltyCheck::On;
        settings
    }

    /// A run with one stored part.
    fn interrupted() -> RunState {
        let settings = settings();
        let id = "nightly".parse().unwrap();
        let mut state = RunState::new(id, false, settings.target, Mode::Append, 100, STARTED);
        state.set = Some(SavedSet {
            nonce: Nonce::new(STARTED, 7).unwrap(),
            target_id: TableId::from_api("1"),
            table_id: None,
            content: TableSuffix::Rows,
            proposed: false,
            totals: None,
        });
        (state.parts, state.rows) = (1, 100);
        state
    }

    fn reason(state: &RunState, settings: &LoadSettings, now: u64) -> Option<String> {
        match plan_start(Some(state), settings, now) {
            StartPlan::Abandon { reason } => Some(reason),
            StartPlan::Fresh | StartPlan::Resume { .. } => None,
        }
    }

    #[test]
    fn without_a_saved_run_a_run_starts_fresh_and_with_one_it_resumes() {
        assert_eq!(plan_start(None, &settings(), STARTED), StartPlan::Fresh);
        let plan = |state: &RunState| plan_start(Some(state), &settings(), STARTED + HOUR);
        assert_eq!(plan(&interrupted()), StartPlan::Resume { uses_set: true });
        let nothing_stored = RunState { parts: 0, rows: 0, ..interrupted() };
        assert_eq!(plan(&nothing_stored), StartPlan::Resume { uses_set: false });
    }

    #[test]
    fn stored_customers_that_lost_their_loyalty_data_are_not_used_unless_the_check_is_off() {
        let mut state = interrupted();
        let mut counts = LoyaltyCounts::default();
        counts.add_page(MemberCount { customers: 100, with_loyalty_data: 100 });
        counts.add_page(MemberCount { customers: 100, with_loyalty_data: 0 });
        state.loyalty = counts;
        let mut settings = settings();
        assert_eq!(plan_start(Some(&state), &settings, STARTED), StartPlan::Resume { uses_set: false });
        settings.transfer.loyalty_check = LoyaltyCheck::Off;
        assert_eq!(plan_start(Some(&state), &settings, STARTED), StartPlan::Resume { uses_set: true });
    }

    #[test]
    fn a_set_that_is_complete_or_proposed_is_used_in_any_case() {
        let state = RunState { parts: 0, rows: 0, ..interrupted() };
        let with = |change: fn(&mut SavedSet)| {
            let mut state = state.clone();
            state.set.iter_mut().for_each(change);
            plan_start(Some(&state), &settings(), STARTED)
        };
        assert_eq!(with(|_| {}), StartPlan::Resume { uses_set: false });
        assert_eq!(with(|set| set.proposed = true), StartPlan::Resume { uses_set: true });
        let totals = |set: &mut SavedSet| set.totals = Some(PartTotals { parts: 1, valid: 100, rejected: 0 });
        assert_eq!(with(totals), StartPlan::Resume { uses_set: true });
    }

    #[test]
    fn a_saved_run_that_the_settings_do_not_mean_is_abandoned() {
        let state = interrupted();
        let changed = |change: fn(&mut LoadSettings)| {
            let mut settings = settings();
            change(&mut settings);
            reason(&state, &settings, STARTED)
        };
        for (change, expected) in [
            (
                (|settings| settings.resume.policy = ResumePolicy::Never) as fn(&mut LoadSettings),
                "--fresh is set",
            ),
            (|settings| settings.target.table = "others".parse().unwrap(), "its target is different"),
            (|settings| settings.mode = Mode::Replace, "its --mode is different"),
            (
                |settings| settings.resume.run_id = Some("weekly".parse().unwrap()),
                "its --run-id is different",
            ),
            (|settings| settings.transfer.page_size = 50, "its --page-size is different"),
        ] {
            assert_eq!(changed(change).as_deref(), Some(expected));
        }
    }

    #[test]
    fn age_counts_unless_everything_is_stored_or_the_run_is_named() {
        let (settings, state) = (settings(), interrupted());
        assert_eq!(reason(&state, &settings, STARTED + 6 * HOUR), None);
        let late = reason(&state, &settings, STARTED + 6 * HOUR + 1);
        assert_eq!(late.as_deref(), Some("it is older than --resume-within 6h"));
        let mut complete = interrupted();
        let totals = PartTotals { parts: 1, valid: 100, rejected: 0 };
        complete.set = complete.set.map(|set| SavedSet { totals: Some(totals), ..set });
        assert_eq!(reason(&complete, &settings, STARTED + 7 * HOUR), None);
        assert_eq!(reason(&complete, &settings, STARTED + 5 * 24 * HOUR), None);
        let too_old = STARTED + 5 * 24 * HOUR + 1;
        let expected = Some("it is older than --run-lifetime 5days");
        assert_eq!(reason(&complete, &settings, too_old).as_deref(), expected);
        let mut named = settings.clone();
        named.resume.run_id = Some("nightly".parse().unwrap());
        assert_eq!(reason(&complete, &named, too_old), None);
    }
}
