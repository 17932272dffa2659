//! The set of this attempt: started with a nonce, uploaded, proven, loaded and guarded. None of it is visible before a
//! ballot.

use super::seen::{CountsSeen, JobSeen, PartsSeen, Seen, Sent, SetSeen, TargetSeen, UploadEnd};
use super::{
    AfterDiscard, AfterWait, At, Attempt, BallotFor, Ending, MAX_STALE_POLLS, Next, OwnFor, OwnSet, Progress,
    Purpose, Step, SurveyFor, TargetFor,
};
use crate::identity::{Mode, Nonce, PartTotals, TableId, TableSuffix};

impl OwnSet {
    /// Whether it may be proposed. A set without rows need not be loaded.
    pub(super) fn is_ready(&self) -> bool {
        match self.suffix {
            TableSuffix::Rows => self.progress == Progress::Ready,
            TableSuffix::Empty | TableSuffix::Abandon => self.progress >= Progress::Tidy,
        }
    }
}

impl Attempt {
    pub(super) fn decide_on_set(self, seen: Seen) -> Next {
        match (self.at, seen) {
            (At::Nonce, Seen::Nonce(nonce)) => self.nonce_drawn(nonce),
            (At::Fetch(own), Seen::FirstRows) => self.first_rows(own),
            (At::Fetch(own), Seen::NoCustomers) => self.no_customers(own),
            (At::CreateTarget(own), Seen::Sent(sent)) => self.target_sent(own, sent),
            (At::CreateScratch, Seen::Sent(_)) => self.read_scratch(),
            (At::ReadScratch, Seen::Table(id)) => self.scratch_read(id),
            (At::NameTemporary, Seen::Sent(_)) => self.read_named(),
            (At::ReadNamed, Seen::Table(id)) => self.named_read(id),
            (At::CreateSession, Seen::Sent(sent)) => self.session_created(sent),
            (At::ShowOwn(wanted), Seen::Set(set)) => self.own_shown(wanted, set),
            (At::Tidy, Seen::Parts(parts)) => self.tidied(parts),
            (At::Upload, Seen::Uploaded(end)) => self.uploaded(end),
            (At::FreezeOwn | At::PerformOwn, Seen::Sent(sent)) => self.own_changed(sent),
            (At::Prove, Seen::Parts(parts)) => self.parts_proven(parts),
            (At::Guard, Seen::GuardsPassed) => self.guarded(),
            _ => self.finish(Ending::UnexpectedResult),
        }
    }

    /// Continues this attempt's set, or starts one.
    pub(super) fn make_set(mut self) -> Next {
        self.started = true;
        if self.is_older_than(self.lifetime.propose) {
            return self.finish(Ending::RunTooOld);
        }
        if let Some(old) = self.discarded {
            return self.step(At::Discard(AfterDiscard::Ballot), Step::Discard(old));
        }
        let is_young = |nonce: Nonce| self.younger_than.is_none_or(|limit| nonce > limit);
        match self.own {
            Some(own)
                if is_young(own.nonce)
                    && self.is_target_of(&own.as_winner())
                    && own.suffix == TableSuffix::Rows =>
            {
                self.show_own()
            }
            Some(_) => self.give_up_set(),
            None => self.new_set(),
        }
    }

    /// Drops this attempt's set; it is removed unless it may have won.
    pub(super) fn drop_set(&mut self) {
        if let Some(own) = self.own.take()
            && !own.proposed
        {
            self.discarded = Some(own);
        }
    }

    /// Drops this attempt's set, removes it, and reads the ballot before starting another.
    pub(super) fn give_up_set(mut self) -> Next {
        self.drop_set();
        self.unless_hopeless(|attempt| match attempt.discarded {
            Some(old) => attempt.step(At::Discard(AfterDiscard::Ballot), Step::Discard(old)),
            None => attempt.show_ballot(BallotFor::Decide),
        })
    }

    pub(super) fn removed(mut self, next: AfterDiscard) -> Next {
        self.discarded = None;
        match next {
            AfterDiscard::Ballot => self.show_ballot(BallotFor::Decide),
            AfterDiscard::NewSet => self.read_target(TargetFor::NewSet),
        }
    }

    pub(super) fn new_set(mut self) -> Next {
        self.performs = 0;
        self.polls = 0;
        self.acknowledged = false;
        match self.discarded {
            Some(old) => self.step(At::Discard(AfterDiscard::NewSet), Step::Discard(old)),
            None => self.read_target(TargetFor::NewSet),
        }
    }

    fn nonce_drawn(mut self, nonce: Nonce) -> Next {
        if self.younger_than.is_some_and(|limit| nonce <= limit) {
            return self.wait(AfterWait::Nonce);
        }
        self.note_attempt(nonce);
        let target = match self.target {
            Some(TargetSeen::Is(id)) => id,
            _ => TableId::unknown(),
        };
        let own = OwnSet::planned(nonce, target);
        match (self.purpose, self.mode) {
            (Purpose::Load, _) => self.step(At::Fetch(own), Step::Fetch(own)),
            (Purpose::Abandon, Mode::Append) => {
                self.own = Some(own);
                self.show_ballot(BallotFor::Decide)
            }
            (Purpose::Abandon, Mode::Replace) => {
                self.with_target(OwnSet { suffix: TableSuffix::Abandon, ..own })
            }
        }
    }

    fn first_rows(self, own: OwnSet) -> Next {
        self.with_target(own)
    }

    fn no_customers(self, own: OwnSet) -> Next {
        match self.mode {
            Mode::Append => self.show_ballot(BallotFor::NothingToLoad),
            Mode::Replace => self.with_target(OwnSet { suffix: TableSuffix::Empty, ..own }),
        }
    }

    /// Makes sure that the target exists before a session is bound to it.
    fn with_target(self, own: OwnSet) -> Next {
        match self.target {
            Some(TargetSeen::Is(_)) => self.begin_set(own),
            Some(TargetSeen::Missing | TargetSeen::Denied) | None => {
                self.step(At::CreateTarget(Some(own)), Step::CreateTarget)
            }
        }
    }

    /// Creates the target for an abandonment, which needs no set.
    pub(super) fn create_target(self) -> Next {
        self.step(At::CreateTarget(None), Step::CreateTarget)
    }

    fn target_sent(mut self, own: Option<OwnSet>, sent: Sent) -> Next {
        self.polls = 0;
        match (sent, self.target, own) {
            (Sent::Denied, Some(TargetSeen::Missing), _) => self.finish(Ending::NoTarget),
            (_, Some(TargetSeen::Denied), Some(own)) => self.begin_set(own),
            (Sent::Unclear, ..) => self.read_target(TargetFor::CreatedPerhaps(own)),
            _ => self.read_target(TargetFor::Created(own)),
        }
    }

    pub(super) fn target_created(self, own: Option<OwnSet>, is_acknowledged: bool) -> Next {
        let again = |attempt: Self| match own {
            Some(own) => attempt.with_target(own),
            None => attempt.create_target(),
        };
        match (self.target, own) {
            (Some(TargetSeen::Is(target)), Some(own)) => self.begin_set(OwnSet { target, ..own }),
            // It is created once, unless others delete it.
            (Some(TargetSeen::Is(_)), None) => self.unless_hopeless(Self::generation_begins),
            (Some(TargetSeen::Missing), _) if is_acknowledged => {
                self.wait_for_effect(AfterWait::ReadCreatedTarget(own), again)
            }
            _ => self.unless_hopeless(again),
        }
    }

    fn begin_set(mut self, own: OwnSet) -> Next {
        self.own = Some(own);
        match self.mode {
            Mode::Append => self.step(At::CreateSession, Step::CreateSession(own)),
            Mode::Replace => self.step(At::CreateScratch, Step::CreateScratch(own)),
        }
    }

    fn with_own(self, next: impl FnOnce(Self, OwnSet) -> Next) -> Next {
        match self.own {
            Some(own) => next(self, own),
            None => self.finish(Ending::UnexpectedResult),
        }
    }

    fn read_scratch(self) -> Next {
        self.with_own(|attempt, own| attempt.step(At::ReadScratch, Step::ReadScratch(own)))
    }

    fn scratch_read(mut self, id: Option<TableId>) -> Next {
        let Some(own) = self.own.as_mut() else { return self.finish(Ending::UnexpectedResult) };
        match (id, own.table) {
            (Some(id), None) => own.table = Some(id),
            (Some(id), Some(table)) if id == table => {}
            // Its creation was lost: there is no table with that name yet.
            (None, None) => {
                let own = *own;
                return self
                    .unless_hopeless(|attempt| attempt.step(At::CreateScratch, Step::CreateScratch(own)));
            }
            (None | Some(_), Some(_)) => return self.give_up_set(),
        }
        let own = *own;
        self.step(At::NameTemporary, Step::NameTemporary(own))
    }

    fn read_named(self) -> Next {
        self.with_own(|attempt, own| attempt.step(At::ReadNamed, Step::ReadTemporary(own.as_winner())))
    }

    fn named_read(mut self, id: Option<TableId>) -> Next {
        let Some(own) = self.own.as_mut() else { return self.finish(Ending::UnexpectedResult) };
        if id.is_none() || id != own.table {
            return self.unless_hopeless(Self::read_scratch);
        }
        if own.suffix == TableSuffix::Abandon {
            return self.set_without_rows_is_ready();
        }
        // A set without rows has a session as well: the session's name identifies its table after that was renamed to
        // the target.
        let own = *own;
        self.step(At::CreateSession, Step::CreateSession(own))
    }

    fn set_without_rows_is_ready(mut self) -> Next {
        if let Some(own) = self.own.as_mut() {
            own.progress = Progress::Tidy;
            own.totals = Some(PartTotals { parts: 0, valid: 0, rejected: 0 });
        }
        self.show_ballot(BallotFor::Decide)
    }

    fn session_created(mut self, sent: Sent) -> Next {
        match (sent, self.own.as_mut()) {
            (Sent::Done, Some(own)) if own.suffix == TableSuffix::Rows => {
                own.progress = Progress::Tidy;
                self.upload()
            }
            (Sent::Done, Some(_)) => self.set_without_rows_is_ready(),
            (Sent::TableGone, _) => {
                if self.target == Some(TargetSeen::Denied) {
                    return self.finish(Ending::NoTarget);
                }
                self.give_up_set()
            }
            _ => self.unless_hopeless(Self::show_own),
        }
    }

    fn upload(self) -> Next {
        self.with_own(|attempt, own| attempt.step(At::Upload, Step::Upload(own)))
    }

    pub(super) fn show_own(self) -> Next {
        self.show_own_for(OwnFor::Decide)
    }

    pub(super) fn show_own_for(self, wanted: OwnFor) -> Next {
        self.with_own(|attempt, own| attempt.step(At::ShowOwn(wanted), Step::ShowOwn(own)))
    }

    fn freeze_own(self) -> Next {
        self.with_own(|attempt, own| attempt.step(At::FreezeOwn, Step::FreezeOwn(own)))
    }

    fn own_shown(mut self, wanted: OwnFor, set: SetSeen) -> Next {
        let Some(own) = self.own.as_mut() else { return self.finish(Ending::UnexpectedResult) };
        match set {
            SetSeen::Absent if own.progress == Progress::Planned => {
                let own = *own;
                self.step(At::CreateSession, Step::CreateSession(own))
            }
            SetSeen::Open if own.suffix == TableSuffix::Empty => self.set_without_rows_is_ready(),
            SetSeen::Open if own.progress < Progress::Tidy => {
                own.progress = Progress::Created;
                let own = *own;
                self.step(At::Tidy, Step::TidyParts(own))
            }
            SetSeen::Open if own.totals.is_none() => self.upload(),
            SetSeen::Open if wanted == OwnFor::Frozen => {
                self.wait_for_effect(AfterWait::ShowOwn(wanted), Self::freeze_own)
            }
            // Its load was started, so it was frozen.
            SetSeen::Open if self.performs > 0 => self.unless_hopeless(Self::freeze_own),
            SetSeen::Open => self.freeze_own(),
            SetSeen::Frozen(job) => self.frozen(job),
            SetSeen::Performing { ended: false } => self.wait(AfterWait::ShowOwn(OwnFor::Decide)),
            SetSeen::Performing { ended: true } if self.performs > 0 => {
                self.show_ballot(BallotFor::FailedLoad)
            }
            SetSeen::Ready(counts) => self.loaded(counts),
            // It won a ballot that no longer exists.
            SetSeen::Committing | SetSeen::Committed => {
                self.own = None;
                self.unless_hopeless(|attempt| attempt.survey(SurveyFor::Start))
            }
            SetSeen::Absent | SetSeen::Performing { ended: true } | SetSeen::Invalid => self.give_up_set(),
        }
    }

    fn frozen(self, job: JobSeen) -> Next {
        match job {
            JobSeen::Failed if self.performs > 0 => self.show_ballot(BallotFor::FailedLoad),
            // The job that was started is not visible yet, or its result is not.
            JobSeen::Working => self.wait_for_load(),
            JobSeen::None if self.acknowledged => self.wait_for_load(),
            JobSeen::None | JobSeen::Failed => {
                self.with_own(|attempt, own| attempt.step(At::Prove, Step::ProveParts(own)))
            }
        }
    }

    fn wait_for_load(self) -> Next {
        self.wait_and_poll(AfterWait::ShowOwn(OwnFor::Decide), MAX_STALE_POLLS, Ending::LoadStuck)
    }

    fn loaded(self, counts: CountsSeen) -> Next {
        match counts {
            CountsSeen::Unknown => self.wait_for_load(),
            CountsSeen::Proven => self.with_own(|attempt, own| attempt.step(At::Guard, Step::Guard(own))),
            CountsSeen::Wrong => self.finish(Ending::CountsDiffer),
        }
    }

    fn tidied(mut self, parts: PartsSeen) -> Next {
        let Some(own) = self.own.as_mut() else { return self.finish(Ending::UnexpectedResult) };
        match parts {
            PartsSeen::Stored => {
                own.progress = Progress::Tidy;
                self.show_own()
            }
            PartsSeen::Complete(_) | PartsSeen::Differ => self.give_up_set(),
        }
    }

    fn uploaded(mut self, end: UploadEnd) -> Next {
        match (end, self.own.as_mut()) {
            (UploadEnd::Complete(totals), Some(own)) => {
                own.totals = Some(totals);
                self.show_own()
            }
            (UploadEnd::BallotMoved, own) => {
                // Uploads in flight may still arrive.
                if let Some(own) = own {
                    own.progress = Progress::Created;
                }
                self.unless_hopeless(|attempt| attempt.show_ballot(BallotFor::Decide))
            }
            (UploadEnd::SessionLost | UploadEnd::NothingFurther | UploadEnd::Complete(_), _) => {
                self.give_up_set()
            }
        }
    }

    fn own_changed(mut self, sent: Sent) -> Next {
        self.polls = 0;
        if self.at == At::PerformOwn {
            self.acknowledged = sent == Sent::Done;
        }
        match sent {
            Sent::TableGone | Sent::SessionGone => self.give_up_set(),
            Sent::Conflict => self.unless_hopeless(Self::show_own),
            Sent::Done if self.at == At::FreezeOwn => self.show_own_for(OwnFor::Frozen),
            Sent::Done | Sent::Denied | Sent::Unclear => self.show_own(),
        }
    }

    fn parts_proven(mut self, parts: PartsSeen) -> Next {
        match (parts, self.own) {
            (PartsSeen::Complete(totals), Some(own)) if own.totals == Some(totals) => {
                self.performs += 1;
                self.step(At::PerformOwn, Step::Perform(own.as_winner()))
            }
            _ => self.give_up_set(),
        }
    }

    fn guarded(mut self) -> Next {
        if let Some(own) = self.own.as_mut() {
            own.progress = Progress::Ready;
        }
        self.read_target(TargetFor::ReadySet)
    }

    pub(super) fn set_is_ready(self) -> Next {
        match self.own {
            Some(own) if self.is_target_of(&own.as_winner()) => self.show_ballot(BallotFor::Decide),
            _ => self.give_up_set(),
        }
    }
}
