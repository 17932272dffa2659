//! Converts responses of the service to the results for [`Attempt::decide`](crate::run::decide::Attempt::decide).
//!
//! Owns the conversion of names, statuses and counts to small values. It makes no calls and decides nothing.

use super::context::RunNames;
use crate::identity::{
    BallotName, Mode, OwnSessionName, OwnTable, PartTotals, Proposal, RunSession, SessionName, TableSuffix,
};
use crate::run::decide::{BallotSeen, BallotTable, CountsSeen, Survey, TargetSeen, Winner};
use crate::treasure_data::{SessionState, SessionStatus, TableLookup};

pub(super) const fn target_seen(lookup: TableLookup) -> TargetSeen {
    match lookup {
        TableLookup::Missing => TargetSeen::Missing,
        TableLookup::Denied => TargetSeen::Denied,
        TableLookup::Is(id) => TargetSeen::Is(id),
    }
}

/// What the sessions of the account show about this run. `target` was read after them.
pub(super) fn survey(sessions: &[SessionState], target: TargetSeen, names: &RunNames) -> Survey {
    let mut survey = Survey { target, committed: None, oldest: None, other_protocol: None };
    let mut sets = Vec::new();
    for session in sessions {
        let Some(parsed) = RunSession::parse(&session.name) else { continue };
        let is_of_run = names.is_of_run(&parsed);
        match parsed {
            RunSession::Own(own) if is_of_run => {
                let time = own.nonce.time();
                survey.oldest = Some(survey.oldest.map_or(time, |oldest| oldest.min(time)));
                let is_committed =
                    matches!(session.status, SessionStatus::Committing | SessionStatus::Committed);
                sets.push((as_winner(&own), is_committed));
            }
            RunSession::OtherProtocol { version, fingerprint, rest }
                if fingerprint == names.fingerprint() && rest.ends_with(names.run_id.as_str()) =>
            {
                survey.other_protocol = Some(version);
            }
            _ => {}
        }
    }
    survey.committed = Survey::choose(target, sets.into_iter());
    survey
}

/// What the sessions of the account show about attempts with the same run id and the other mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OtherMode {
    /// There is none.
    Absent,
    /// One may load: it has a session, or a ballot in this mode has not decided that it does not.
    Present,
    /// The last ballot of `append` is closed, and its parts say whether it decided for a set.
    Closed(SessionName),
}

/// Looks for attempts with this run's id in the other mode. `target` is the table.
pub(super) fn other_mode(sessions: &[SessionState], names: &RunNames, target: &str) -> OtherMode {
    let other = names.in_other_mode();
    let mut last: Option<(u8, &SessionState)> = None;
    for session in sessions {
        match RunSession::parse(&session.name) {
            Some(parsed) if !other.is_of_run(&parsed) => {}
            Some(RunSession::Ballot(BallotName { generation, .. })) => {
                last = last.filter(|(before, _)| *before > generation).or(Some((generation, session)));
            }
            Some(_) => return OtherMode::Present,
            None => {}
        }
    }
    let Some((generation, ballot)) = last else { return OtherMode::Absent };
    match ballot_seen(Some(ballot), &other, target) {
        BallotSeen::OnTable(BallotTable::Abandon(_)) => OtherMode::Absent,
        BallotSeen::Frozen => OtherMode::Closed(other.ballot(generation)),
        _ => OtherMode::Present,
    }
}

/// The set that a session holds.
pub(super) fn as_winner(own: &OwnSessionName) -> Winner {
    let OwnSessionName { nonce, target, table, .. } = *own;
    Winner { nonce, target, table, suffix: TableSuffix::Rows, totals: None }
}

/// The state of a ballot, from its session.
pub(super) fn ballot_seen(ballot: Option<&SessionState>, names: &RunNames, target: &str) -> BallotSeen {
    let Some(ballot) = ballot else { return BallotSeen::Absent };
    match names.mode {
        Mode::Append if ballot.upload_frozen || ballot.status != SessionStatus::Uploading => {
            BallotSeen::Frozen
        }
        Mode::Append => BallotSeen::Open,
        Mode::Replace => BallotSeen::OnTable(ballot_table(&ballot.table, names, target)),
    }
}

fn ballot_table(table: &str, names: &RunNames, target: &str) -> BallotTable {
    match OwnTable::parse(table) {
        Some(OwnTable::Temporary { fingerprint, nonce, target, table, suffix })
            if fingerprint == names.fingerprint() =>
        {
            match suffix {
                TableSuffix::Abandon => BallotTable::Abandon(nonce),
                TableSuffix::Rows | TableSuffix::Empty => {
                    BallotTable::Set(Winner { nonce, target, table: Some(table), suffix, totals: None })
                }
            }
        }
        None if table == target => BallotTable::Target,
        _ => BallotTable::Foreign,
    }
}

/// The proposal that wins among the parts of a ballot.
pub(super) fn smallest_proposal(parts: &[String]) -> Option<Proposal> {
    parts.iter().filter_map(|name| Proposal::parse(name)).min()
}

/// Compares the counts of a loaded session with what its set should hold; `max_errors` applies to a set of this machine.
pub(super) fn counts_seen(
    state: &SessionState,
    totals: Option<PartTotals>,
    max_errors: Option<u64>,
) -> CountsSeen {
    let Some(valid) = state.valid_records else { return CountsSeen::Unknown };
    let errors = state.error_records.unwrap_or_default();
    let is_whole = totals.is_none_or(|totals| valid.checked_add(errors) == Some(totals.valid));
    let are_few = max_errors.is_none_or(|max| errors <= max);
    if is_whole && are_few && state.error_parts.unwrap_or_default() == 0 && valid > 0 {
        CountsSeen::Proven
    } else {
        CountsSeen::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::RunState;
    use crate::identity::{Nonce, TableId, example_target};

    fn state(valid: Option<u64>, errors: u64, error_parts: u64) -> SessionState {
        let text = serde_json::json!({
            "status": "ready", "valid_records": valid, "error_records": errors, "error_parts": error_parts,
        });
        serde_json::from_value(text).unwrap()
    }

    const RUN: &str = "nightly";
    const TABLE: &str = "customers";

    /// The names of a run that loads this table.
    fn names(table: &str, mode: Mode) -> RunNames {
        let target = example_target(table);
        RunNames::of(&RunState::new(RUN.parse().unwrap(), true, target, mode, 100, 1_795_406_400))
    }

    fn session(name: &str, table: &str) -> SessionState {
        let session = serde_json::json!({"name": name, "table": table, "status": "uploading"});
        serde_json::from_value(session).unwrap()
    }

    #[test]
    fn an_attempt_with_another_protocol_is_noticed_only_if_it_is_of_this_run() {
        let names = names(TABLE, Mode::Append);
        let fingerprint = names.fingerprint();
        for (name, version) in [
            (format!("yotpo_td_v2_{fingerprint}_a00_{RUN}"), Some(2)),
            (format!("yotpo_td_v2_{fingerprint}_a00_weekly"), None),
            (format!("yotpo_td_v2_0123456789abcdef_a00_{RUN}"), None),
            (format!("yotpo_td_v1_{fingerprint}_a00_{RUN}"), None),
            ("somebody_elses".to_owned(), None),
        ] {
            let seen = survey(&[session(&name, TABLE)], TargetSeen::Missing, &names);
            assert_eq!(seen.other_protocol, version, "{name}");
            assert_eq!((seen.committed, seen.oldest), (None, None), "{name}");
        }
    }

    #[test]
    fn an_attempt_in_the_other_mode_counts_unless_its_last_ballot_decided_that_it_loads_nothing() {
        let (append, replace) = (names(TABLE, Mode::Append), names(TABLE, Mode::Replace));
        let set = |table| Winner {
            nonce: Nonce::new(1_795_406_400, 7).unwrap(),
            target: TableId::from_api("5"),
            table,
            suffix: TableSuffix::Rows,
            totals: None,
        };
        let (of_append, of_replace) = (set(None), set(Some(TableId::from_api("6"))));
        let mut weekly = append.clone();
        weekly.run_id = "weekly".parse().unwrap();
        let seen = |sessions: &[SessionState], names| other_mode(sessions, names, TABLE);
        let on_target = |name: &SessionName| session(name.as_str(), TABLE);
        for (name, expected) in [
            (append.ballot(0), OtherMode::Present),
            (append.session(&of_append), OtherMode::Present),
            (replace.ballot(0), OtherMode::Absent),
            (replace.session(&of_replace), OtherMode::Absent),
            (weekly.ballot(0), OtherMode::Absent),
            (weekly.session(&of_append), OtherMode::Absent),
            (names("other_customers", Mode::Append).ballot(0), OtherMode::Absent),
        ] {
            assert_eq!(seen(&[on_target(&name)], &replace), expected, "{name}");
        }
        let closed =
            |generation| SessionState { upload_frozen: true, ..on_target(&append.ballot(generation)) };
        assert_eq!(seen(&[closed(0)], &replace), OtherMode::Closed(append.ballot(0)));
        // The parts of the last one decide, in whatever order they are listed.
        assert_eq!(seen(&[closed(1), closed(0)], &replace), OtherMode::Closed(append.ballot(1)));
        assert_eq!(seen(&[closed(0), on_target(&append.ballot(1))], &replace), OtherMode::Present);
        assert_eq!(seen(&[closed(0), on_target(&append.session(&of_append))], &replace), OtherMode::Present);

        let abandoned = TableSuffix::Abandon;
        let decided = |suffix, generation| {
            let table = replace.loaded_table(&Winner { suffix, ..of_replace });
            session(replace.ballot(generation).as_str(), table.as_str())
        };
        assert_eq!(seen(&[decided(abandoned, 0)], &append), OtherMode::Absent);
        assert_eq!(seen(&[decided(TableSuffix::Rows, 0)], &append), OtherMode::Present);
        assert_eq!(
            seen(&[decided(TableSuffix::Rows, 1), decided(abandoned, 0)], &append),
            OtherMode::Present
        );
        assert_eq!(seen(&[on_target(&replace.session(&of_replace))], &append), OtherMode::Present);
    }

    #[test]
    fn the_table_of_a_ballot_shows_what_it_decided() {
        let (ours, others) = (names(TABLE, Mode::Replace), names("other_customers", Mode::Replace));
        let nonce = Nonce::new(1_795_406_400, 7).unwrap();
        let (target, table) = (TableId::from_api("5"), TableId::from_api("6"));
        let temporary = |names: &RunNames, suffix| {
            let fingerprint = names.fingerprint();
            OwnTable::Temporary { fingerprint, nonce, target, table, suffix }.render().to_string()
        };
        let set =
            |suffix| BallotTable::Set(Winner { nonce, target, table: Some(table), suffix, totals: None });
        let scratch = OwnTable::Scratch { fingerprint: ours.fingerprint(), nonce }.render().to_string();
        for (name, expected) in [
            (TABLE.to_owned(), BallotTable::Target),
            (temporary(&ours, TableSuffix::Rows), set(TableSuffix::Rows)),
            (temporary(&ours, TableSuffix::Empty), set(TableSuffix::Empty)),
            (temporary(&ours, TableSuffix::Abandon), BallotTable::Abandon(nonce)),
            (temporary(&others, TableSuffix::Rows), BallotTable::Foreign),
            (scratch, BallotTable::Foreign),
            ("other_customers".to_owned(), BallotTable::Foreign),
        ] {
            let ballot = session("ballot", &name);
            assert_eq!(ballot_seen(Some(&ballot), &ours, TABLE), BallotSeen::OnTable(expected), "{name}");
        }
        assert_eq!(ballot_seen(None, &ours, TABLE), BallotSeen::Absent);
    }

    #[test]
    fn only_counts_as_proven_may_be_committed() {
        let totals = |valid| Some(PartTotals { parts: 1, valid, rejected: 0 });
        assert_eq!(counts_seen(&state(Some(10), 0, 0), totals(10), Some(0)), CountsSeen::Proven);
        assert_eq!(counts_seen(&state(Some(8), 2, 0), totals(10), Some(2)), CountsSeen::Proven);
        assert_eq!(counts_seen(&state(Some(8), 2, 0), totals(10), None), CountsSeen::Proven);
        assert_eq!(counts_seen(&state(None, 0, 0), totals(10), Some(0)), CountsSeen::Unknown);
        for (found, valid, max) in [
            (state(Some(9), 0, 0), 10, 0),
            (state(Some(11), 0, 0), 10, 0),
            (state(Some(8), 2, 0), 10, 1),
            (state(Some(9), 0, 0), 10, 5),
            (state(Some(10), 0, 1), 10, 9),
            (state(Some(0), 10, 0), 10, 10),
            (state(Some(u64::MAX), 1, 0), 0, 1),
        ] {
            assert_eq!(counts_seen(&found, totals(valid), Some(max)), CountsSeen::Wrong, "{found:?}");
        }
    }

    #[test]
    fn parts_that_are_no_proposals_win_nothing() {
        let parts =
            ["abandon_1795406400_0000000000000007", "junk", "propose_1795406401_0000000000000001_42_1_10_0"];
        let smallest = smallest_proposal(&parts.map(str::to_owned)).unwrap();
        assert_eq!(smallest.nonce().time(), 1_795_406_401);
        assert_eq!(smallest_proposal(&["junk".to_owned()]), None);
    }

    #[test]
    fn only_sets_of_this_run_are_committed_or_the_oldest() {
        let ours = names(TABLE, Mode::Append);
        let others = names("other_customers", Mode::Append);
        let target = TableId::from_api("5");
        let set = |time| {
            let nonce = Nonce::new(time, 7).unwrap();
            Winner { nonce, target, table: None, suffix: TableSuffix::Rows, totals: None }
        };
        let committed = |names: &RunNames, time| SessionState {
            status: SessionStatus::Committed,
            ..session(names.session(&set(time)).as_str(), TABLE)
        };
        let seen = |sessions: &[SessionState]| {
            let survey = survey(sessions, TargetSeen::Is(target), &ours);
            (survey.committed, survey.oldest)
        };
        assert_eq!(seen(&[committed(&others, 1_795_406_100)]), (None, None));
        let open = session(ours.session(&set(1_795_406_200)).as_str(), TABLE);
        assert_eq!(seen(std::slice::from_ref(&open)), (None, Some(1_795_406_200)));
        let sessions = [open, committed(&others, 1_795_406_100), committed(&ours, 1_795_406_300)];
        assert_eq!(seen(&sessions), (Some(set(1_795_406_300)), Some(1_795_406_200)));
    }
}
