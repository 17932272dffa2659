//! Hints: what to do about an error of a run.

use crate::free_space::{NO_SPACE_HINT, is_lack_of_space};
use crate::identity::{SessionName, Target};
use crate::run::decide::Ending;
use crate::run::{GuardError, RunError, STATE_DIRECTORY_HINT};

/// What the user can do next.
pub(super) fn hint(error: &RunError) -> Option<String> {
    match error {
        RunError::Yotpo(error) => Some(error.hint().into_owned()),
        RunError::TreasureData(error) => Some(error.hint()),
        RunError::Denied => Some(
            "check the permissions of TD_API_KEY: replace needs full access, append the right to import".to_owned(),
        ),
        RunError::Customer { .. } => Some(
            "correct that customer in Yotpo, or add --max-error-records to leave such customers out (--quarantine-dir \
             keeps a copy of them)"
                .to_owned(),
        ),
        RunError::Guard(GuardError::Shrunk { .. }) => {
            Some(
                "look at the store in Yotpo: when it is right, add a smaller --min-rows-ratio to override; when it was not and \
                 is corrected, add --fresh to fetch it again"
                    .to_owned(),
            )
        }
        RunError::Guard(GuardError::Empty | GuardError::EmptySince { .. }) => {
            Some("check the store in Yotpo; if it is really empty, add --allow-empty to override".to_owned())
        }
        RunError::Guard(GuardError::NoRows) => Some("check the customers of the store in Yotpo".to_owned()),
        RunError::CountsDiffer { .. } if error.condemns_set() => Some(
            "look for what changes the parts on their way to Treasure Data, such as a proxy; if it persists, ask Treasure \
             Data's support with the session's name"
                .to_owned(),
        ),
        RunError::CountsDiffer { session, .. } => Some(format!(
            "the records that could not be read: td import:error_records {session}; add --max-error-records to leave \
             them out"
        )),
        RunError::Ended { ending: Ending::NoTarget, target, .. } => {
            let Target { database, table, .. } = &**target;
            Some(format!("create it with a key that has the permission: td table:create {database} {table}"))
        }
        RunError::Ended { ending, session, job_id, .. } => {
            Some(hint_of_ending(*ending, session.as_ref(), job_id.as_deref()))
        }
        RunError::TookTooLong { session, .. } => {
            Some(format!("inspect it with: td import:show {session}; use --perform-timeout to allow more time"))
        }
        RunError::AlreadyLoaded { .. } => Some("use a new --run-id to load the customers again".to_owned()),
        RunError::LegacyCommit { session, run_id, ingestion_time } => Some(format!(
            "look at it with: td import:show {session}, and whether the table has rows with time {ingestion_time}; then give \
             the run up with: yotpo-td runs abandon --run-id {run_id}, with the same settings and --mode; where the rows are missing, \
             sync again"
        )),
        RunError::OtherMode { mode, .. } => {
            Some(format!("use --mode {mode}, as the other attempts do, or a new --run-id"))
        }
        RunError::OtherRows { .. } => Some(
            "leave out --run-id, which names another load, or use a new one".to_owned(),
        ),
        RunError::State(_) | RunError::Quarantine(_) | RunError::Export(_) if is_lack_of_space(error) => Some(NO_SPACE_HINT.to_owned()),
        RunError::Export(error) => Some(error.hint()),
        RunError::State(error) => Some(error.hint().unwrap_or_else(|| STATE_DIRECTORY_HINT.to_owned())),
        RunError::Quarantine(_) => {
            Some("check the directory --quarantine-dir (YOTPO_TD_QUARANTINE_DIR), its disk and permissions".to_owned())
        }
        RunError::Clock(_) | RunError::ClockOutOfRange => Some("correct the machine's clock".to_owned()),
        RunError::Interrupted(_) => None,
        RunError::Bug(_) => {
            Some("please report this with the log at --log-level debug".to_owned())
        }
    }
}

fn hint_of_ending(ending: Ending, session: Option<&SessionName>, job_id: Option<&str>) -> String {
    let look =
        session.map_or_else(String::new, |session| format!("inspect it with: td import:show {session}"));
    match (ending, job_id) {
        (Ending::LoadFailed, Some(job)) => {
            format!("find the reason in the job's output: td job:show {job}; then run again")
        }
        (Ending::LoadFailed | Ending::LoadStuck | Ending::CommitFailed, _) => {
            "run it again; if it persists, contact Treasure Data support with the session name".to_owned()
        }
        (Ending::PublishFailed | Ending::NoProgress, _) => {
            "run it again; if it persists, contact Treasure Data support".to_owned()
        }
        (Ending::Superseded, _) => {
            "to load the current customers, start a new run, with a new --run-id if you set one"
                .to_owned()
        }
        (Ending::AbandonedByOthers, _) => {
            "to load the customers after all, run the same command again".to_owned()
        }
        (Ending::RunTooOld, _) => "use a new --run-id".to_owned(),
        (Ending::NoTableIds, _) => {
            "use a key with full access, or --without-table-ids to accept that a recreated table is not detected"
                .to_owned()
        }
        // Nothing of this attempt may exist, so there may be no session to inspect.
        (Ending::OtherProtocol(_) | Ending::ForeignBallot, _) => {
            "use the same version of yotpo-td for all attempts of a run".to_owned()
        }
        (Ending::WinnerGone | Ending::WinnerChanged | Ending::CountsDiffer, _) => {
            look
        }
        _ => "please report this with the log at --log-level debug".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unsuccessful_ending_has_a_hint() {
        let session: SessionName = "nightly".parse().unwrap();
        let inspect = "inspect it with: td import:show nightly";
        let again = "run it again; if it persists, contact Treasure Data support";
        let with_session = format!("{again} with the session name");
        for (ending, job_id, expected) in [
            (
                Ending::LoadFailed,
                Some("4711"),
                "find the reason in the job's output: td job:show 4711; then run again",
            ),
            (Ending::LoadFailed, None, with_session.as_str()),
            (Ending::LoadStuck, Some("4711"), with_session.as_str()),
            (Ending::CommitFailed, Some("4711"), with_session.as_str()),
            (Ending::PublishFailed, None, again),
            (Ending::NoProgress, None, again),
            (
                Ending::Superseded,
                None,
                "to load the current customers, start a new run, with a new --run-id if you set one",
            ),
            (Ending::AbandonedByOthers, None, "to load the customers after all, run the same command again"),
            (Ending::RunTooOld, None, "use a new --run-id"),
            (
                Ending::NoTableIds,
                None,
                "use a key with full access, or --without-table-ids to accept that a recreated table is not detected",
            ),
            (Ending::OtherProtocol(2), None, "use the same version of yotpo-td for all attempts of a run"),
            (Ending::ForeignBallot, None, "use the same version of yotpo-td for all attempts of a run"),
            (Ending::WinnerGone, None, inspect),
            (Ending::WinnerChanged, None, inspect),
            (Ending::CountsDiffer, None, inspect),
            (Ending::UnexpectedResult, None, "please report this with the log at --log-level debug"),
        ] {
            assert_eq!(hint_of_ending(ending, Some(&session), job_id), expected, "{ending:?}");
        }
    }
}
