//! The names of steps, results and endings in the log.

use super::seen::{
    BallotSeen, BallotTable, CountsSeen, JobSeen, PartsSeen, Seen, Sent, SetSeen, TargetSeen, UploadEnd,
};
use super::step::{Ending, Step};

impl Step {
    /// Its name in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Survey => "survey",
            Self::ReadTarget => "read_target",
            Self::CreateTarget => "create_target",
            Self::ShowBallot(_) => "show_ballot",
            Self::ListBallot(_) => "list_ballot",
            Self::DrawNonce => "draw_nonce",
            Self::Fetch(_) => "fetch",
            Self::CreateScratch(_) => "create_scratch",
            Self::ReadScratch(_) => "read_scratch",
            Self::NameTemporary(_) => "name_temporary",
            Self::ReadTemporary(_) => "read_temporary",
            Self::CreateSession(_) => "create_session",
            Self::ShowOwn(_) => "show_own",
            Self::TidyParts(_) => "tidy_parts",
            Self::Upload(_) => "upload",
            Self::FreezeOwn(_) => "freeze_own",
            Self::ProveParts(_) => "prove_parts",
            Self::Perform(_) => "perform",
            Self::Guard(_) => "guard",
            Self::CreateBallot(..) => "create_ballot",
            Self::Propose(..) => "propose",
            Self::FreezeBallot(_) => "freeze_ballot",
            Self::ShowWinner(_) => "show_winner",
            Self::Commit(_) => "commit",
            Self::Fence(_) => "fence",
            Self::Publish(_) => "publish",
            Self::Discard(_) => "discard",
            Self::Wait => "wait",
            Self::Finish(ending) => ending.name(),
        }
    }
}

impl Ending {
    /// Its name in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Loaded { joined: false, .. } => "end_loaded",
            Self::Loaded { joined: true, .. } => "end_joined",
            Self::NothingToLoad => "end_nothing_to_load",
            Self::Abandoned => "end_abandoned",
            Self::AbandonedByOthers => "end_abandoned_by_others",
            Self::Superseded => "end_superseded",
            Self::RunTooOld => "end_run_too_old",
            Self::WinnerGone => "end_winner_gone",
            Self::WinnerChanged => "end_winner_changed",
            Self::ForeignBallot => "end_foreign_ballot",
            Self::OtherProtocol(_) => "end_other_protocol",
            Self::NoTableIds => "end_no_table_ids",
            Self::NoTarget => "end_no_target",
            Self::LoadFailed => "end_load_failed",
            Self::LoadStuck => "end_load_stuck",
            Self::CountsDiffer => "end_counts_differ",
            Self::CommitFailed => "end_commit_failed",
            Self::PublishFailed => "end_publish_failed",
            Self::NoProgress => "end_no_progress",
            Self::UnexpectedResult => "end_unexpected_result",
        }
    }
}

impl Seen {
    /// Its name in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Surveyed(survey) => match (survey.target, survey.committed) {
                (TargetSeen::Missing, _) => "no_target",
                (_, Some(_)) => "committed_set",
                (_, None) => "no_committed_set",
            },
            Self::Target(TargetSeen::Missing) => "no_target",
            Self::Target(TargetSeen::Denied) => "target_denied",
            Self::Target(TargetSeen::Is(_)) => "target",
            Self::Table(None) => "no_table",
            Self::Table(Some(_)) => "table",
            Self::Ballot(BallotSeen::Absent) => "no_ballot",
            Self::Ballot(BallotSeen::Open) => "open_ballot",
            Self::Ballot(BallotSeen::Frozen) => "frozen_ballot",
            Self::Ballot(BallotSeen::OnTable(BallotTable::Set(_))) => "ballot_for_set",
            Self::Ballot(BallotSeen::OnTable(BallotTable::Abandon(_))) => "ballot_to_abandon",
            Self::Ballot(BallotSeen::OnTable(BallotTable::Target)) => "ballot_on_target",
            Self::Ballot(BallotSeen::OnTable(BallotTable::Foreign)) => "foreign_ballot",
            Self::Proposals(None) => "no_proposal",
            Self::Proposals(Some(_)) => "proposal",
            Self::Nonce(_) => "nonce",
            Self::FirstRows => "first_rows",
            Self::NoCustomers => "no_customers",
            Self::Set(set) => set.name(),
            Self::Parts(PartsSeen::Stored) => "parts_stored",
            Self::Parts(PartsSeen::Complete(_)) => "parts_complete",
            Self::Parts(PartsSeen::Differ) => "parts_differ",
            Self::Uploaded(UploadEnd::Complete(_)) => "uploaded",
            Self::Uploaded(UploadEnd::BallotMoved) => "ballot_moved",
            Self::Uploaded(UploadEnd::SessionLost) => "session_lost",
            Self::Uploaded(UploadEnd::NothingFurther) => "nothing_further",
            Self::GuardsPassed => "guards_passed",
            Self::Sent(sent) => sent.name(),
            Self::Done => "done",
        }
    }
}

impl SetSeen {
    const fn name(self) -> &'static str {
        match self {
            Self::Absent => "no_session",
            Self::Open => "session_open",
            Self::Frozen(JobSeen::None) => "session_frozen",
            Self::Frozen(JobSeen::Failed) => "load_job_failed",
            Self::Frozen(JobSeen::Working) => "load_job_queued",
            Self::Performing { ended: false } => "performing",
            Self::Performing { ended: true } => "performing_job_failed",
            Self::Ready(CountsSeen::Unknown) => "ready_without_counts",
            Self::Ready(CountsSeen::Proven) => "ready",
            Self::Ready(CountsSeen::Wrong) => "ready_wrong_counts",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Invalid => "session_invalid",
        }
    }
}

impl Sent {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::TableGone => "table_gone",
            Self::SessionGone => "session_gone",
            Self::Denied => "denied",
            Self::Unclear => "unclear",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_that_ends_a_run_has_the_name_of_its_ending() {
        for (ending, name) in [
            (Ending::NothingToLoad, "end_nothing_to_load"),
            (Ending::AbandonedByOthers, "end_abandoned_by_others"),
            (Ending::RunTooOld, "end_run_too_old"),
            (Ending::WinnerChanged, "end_winner_changed"),
            (Ending::ForeignBallot, "end_foreign_ballot"),
            (Ending::OtherProtocol(9), "end_other_protocol"),
            (Ending::CountsDiffer, "end_counts_differ"),
            (Ending::UnexpectedResult, "end_unexpected_result"),
        ] {
            assert_eq!(Step::Finish(ending).name(), name);
        }
    }

    #[test]
    fn states_of_a_set_that_differ_in_one_detail_have_different_names() {
        for (set, name) in [
            (SetSeen::Frozen(JobSeen::Working), "load_job_queued"),
            (SetSeen::Frozen(JobSeen::Failed), "load_job_failed"),
            (SetSeen::Performing { ended: true }, "performing_job_failed"),
            (SetSeen::Performing { ended: false }, "performing"),
            (SetSeen::Ready(CountsSeen::Unknown), "ready_without_counts"),
            (SetSeen::Ready(CountsSeen::Wrong), "ready_wrong_counts"),
            (SetSeen::Invalid, "session_invalid"),
        ] {
            assert_eq!(Seen::Set(set).name(), name);
        }
    }

    #[test]
    fn ballots_and_ends_of_an_upload_have_different_names() {
        for (seen, name) in [
            (Seen::Ballot(BallotSeen::OnTable(BallotTable::Target)), "ballot_on_target"),
            (Seen::Ballot(BallotSeen::OnTable(BallotTable::Foreign)), "foreign_ballot"),
            (Seen::NoCustomers, "no_customers"),
            (Seen::Uploaded(UploadEnd::BallotMoved), "ballot_moved"),
            (Seen::Uploaded(UploadEnd::NothingFurther), "nothing_further"),
        ] {
            assert_eq!(seen.name(), name);
        }
    }
}
