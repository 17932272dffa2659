//! Faults and their bounds: each search is a [`Scenario`] with a maximum for each fault, so that it terminates.
//!
//! Owns the faults: everything that happens to the service without a call of an attempt.

use yotpo_td::identity::Mode;
use yotpo_td::run::decide::{Lifetime, Purpose};

use crate::mutation::{self, Mutation};
use crate::properties::Violation;
use crate::treasure_data::{Name, Service, Session, Status};

/// Maximum number of concurrent processes.
pub(crate) const ATTEMPTS: usize = 3;

/// The parameters of a search.
#[expect(clippy::struct_excessive_bools, reason = "independent switches of a scenario")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) mode: Mode,
    pub(crate) purposes: &'static [Purpose],
    pub(crate) faults: Faults,
    pub(crate) lifetime: Lifetime,
    /// The content of the store without customers.
    pub(crate) empty_store: Option<u8>,
    pub(crate) target_exists: bool,
    /// An older run left its temporary table and may still publish it.
    pub(crate) older_exists: bool,
    /// `show` of a session reports the new name of a renamed table.
    pub(crate) follows_renames: bool,
    /// `show` of a session whose table was deleted reports an unknown status.
    pub(crate) hides_invalid: bool,
    /// A loaded session can be performed again.
    pub(crate) performs_again: bool,
    /// The times to which the clock can jump.
    pub(crate) ticks: &'static [u8],
    /// Sessions that are not committed are removed at this age.
    pub(crate) retention: u8,
    /// Steps that others cannot observe are not interleaved.
    pub(crate) reduced: bool,
    pub(crate) mutation: Option<Mutation>,
}

/// Maximum number of each fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// Kills, with or without a restart.
    pub(crate) crashes: u8,
    /// Restarts after a kill, or after an ending that is not final.
    pub(crate) restarts: u8,
    /// Calls whose response is lost, or that arrive late, never or twice.
    pub(crate) messages: u8,
    pub(crate) failing_jobs: u8,
    pub(crate) failing_commits: u8,
    /// Another client deletes or recreates the target, or deletes a temporary table.
    pub(crate) other_clients: u8,
    /// A newer run publishes.
    pub(crate) newer_runs: u8,
    /// The content of the store changes.
    pub(crate) changes: u8,
    /// Calls that are acknowledged and have no effect.
    pub(crate) ignored: u8,
}

/// An event in the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    JobEnds(u8),
    JobFails(u8),
    JobIsKilled(u8),
    CommitEnds(u8),
    CommitFails(u8),
    TargetDeleted,
    TargetRecreated,
    TemporaryDeleted(u8),
    NewerRunPublishes,
    OlderRunPublishes,
    StoreChanges,
    ClockMoves(u8),
    /// Retention removes every ballot that is old enough, or every set that is not committed.
    BallotsExpire,
    SetsExpire,
}

impl Event {
    /// Whether the event only continues work of attempts, or affects only uploads.
    pub(crate) const fn continues_attempts(self) -> bool {
        matches!(
            self,
            Self::JobEnds(_)
                | Self::JobFails(_)
                | Self::JobIsKilled(_)
                | Self::CommitEnds(_)
                | Self::CommitFails(_)
                | Self::StoreChanges
        )
    }
}

impl Scenario {
    pub(crate) const fn new(mode: Mode, purposes: &'static [Purpose], faults: Faults) -> Self {
        Self {
            mode,
            purposes,
            faults,
            lifetime: Lifetime { propose: 5, commit: 6 },
            empty_store: None,
            target_exists: true,
            older_exists: false,
            follows_renames: false,
            hides_invalid: false,
            performs_again: true,
            ticks: &[],
            retention: 7,
            reduced: true,
            mutation: None,
        }
    }

    /// The events that are possible next.
    pub(crate) fn events(&self, service: &Service, left: Faults, events: &mut Vec<Event>) {
        for set in 0..7 {
            let Some(session) = service.set(set) else { continue };
            let is_gone = !service.is_valid(session);
            match session.status {
                Status::Performing => {
                    events.push(Event::JobEnds(set));
                    if left.failing_jobs > 0 {
                        events.extend([Event::JobFails(set), Event::JobIsKilled(set)]);
                    }
                }
                Status::Committing => {
                    events.push(Event::CommitEnds(set));
                    if left.failing_commits > 0 || is_gone {
                        events.push(Event::CommitFails(set));
                    }
                }
                _ => {}
            }
        }
        if left.other_clients > 0 {
            if service.find(Name::Target).is_some() {
                events.extend([Event::TargetDeleted, Event::TargetRecreated]);
            }
            let temporary = |table: u8| match service.table(table).name {
                Name::Temporary(_) if service.table(table).exists => Some(Event::TemporaryDeleted(table)),
                _ => None,
            };
            events.extend((0..12).filter_map(temporary));
        }
        if left.newer_runs > 0 && service.find(Name::Target).is_some() {
            events.push(Event::NewerRunPublishes);
        }
        if service.find(Name::Older).is_some() {
            events.push(Event::OlderRunPublishes);
        }
        if left.changes > 0 {
            events.push(Event::StoreChanges);
        }
        if let Some(tick) = self.ticks.iter().find(|tick| **tick > service.now) {
            events.push(Event::ClockMoves(*tick));
        }
        if service.ballots.iter().flatten().any(|ballot| self.is_expired(ballot.created, service)) {
            events.push(Event::BallotsExpire);
        }
        if service.sets.iter().flatten().any(|set| self.is_set_expired(set, service)) {
            events.push(Event::SetsExpire);
        }
    }
}

impl Scenario {
    fn is_expired(&self, created: u8, service: &Service) -> bool {
        created + self.retention <= service.now
    }

    fn is_set_expired(&self, session: &Session, service: &Service) -> bool {
        self.is_expired(session.created, service) && session.status != Status::Committed
    }

    fn expire(&self, service: &mut Service, event: Event) {
        service.history.expired = true;
        let now = *service;
        if event == Event::BallotsExpire {
            for ballot in &mut service.ballots {
                *ballot = ballot.filter(|ballot| !self.is_expired(ballot.created, &now));
            }
        } else {
            for set in &mut service.sets {
                *set = set.filter(|set| !self.is_set_expired(set, &now));
            }
        }
    }
}

impl Service {
    pub(crate) fn apply_event(
        &mut self,
        event: Event,
        left: &mut Faults,
        scenario: &Scenario,
    ) -> Option<Violation> {
        match event {
            Event::JobEnds(set) => self.set_status(set, Status::Ready),
            Event::JobFails(set) | Event::JobIsKilled(set) => {
                left.failing_jobs -= 1;
                self.history.job_failed = true;
                let is_killed = event == Event::JobIsKilled(set);
                self.set_status(
                    set,
                    if is_killed { Status::Stuck } else { Status::Frozen { job_failed: true } },
                );
            }
            Event::CommitEnds(set) => return self.finish_commit(set),
            Event::CommitFails(set) => {
                left.failing_commits = left.failing_commits.saturating_sub(1);
                self.history.failed_commits += 1;
                self.set_status(set, Status::Ready);
            }
            Event::TargetDeleted => {
                self.record_outsider(&mut left.other_clients);
                self.delete_table(Name::Target);
            }
            Event::TargetRecreated => {
                self.record_outsider(&mut left.other_clients);
                self.replace_target();
            }
            Event::TemporaryDeleted(table) => {
                self.record_outsider(&mut left.other_clients);
                self.tables[usize::from(table)].exists = false;
            }
            Event::NewerRunPublishes => {
                self.record_outsider(&mut left.newer_runs);
                if mutation::newer_runs_have_fence(scenario.mutation) {
                    self.fence_of_newer_run();
                }
                self.replace_target();
                self.history.newer = true;
            }
            Event::OlderRunPublishes => return self.older_run_publishes(),
            Event::StoreChanges => {
                left.changes -= 1;
                self.store += 1;
            }
            Event::ClockMoves(now) => self.now = now,
            Event::BallotsExpire | Event::SetsExpire => scenario.expire(self, event),
        }
        None
    }

    pub(crate) fn set_status(&mut self, set: u8, status: Status) {
        if let Some(session) = self.sets[usize::from(set)] {
            self.sets[usize::from(set)] = Some(Session { status, ..session });
        }
    }

    fn record_outsider(&mut self, left: &mut u8) {
        *left -= 1;
        self.history.outsiders = true;
        self.history.newer = false;
    }

    fn replace_target(&mut self) {
        self.delete_table(Name::Target);
        self.create_table(Name::Target);
    }

    /// Everything that this run has created so far is older.
    fn fence_of_newer_run(&mut self) {
        for table in &mut self.tables {
            table.exists &= !matches!(table.name, Name::Temporary(_) | Name::Older);
        }
    }

    /// It checked the target long ago.
    fn older_run_publishes(&mut self) -> Option<Violation> {
        let target = self.find(Name::Target);
        let older = self.find(Name::Older)?;
        let violation =
            target.is_some_and(|target| self.table(target).is_own).then_some(Violation::OlderOverOwn);
        if let Some(target) = target {
            self.tables[usize::from(target)].exists = false;
        }
        self.tables[usize::from(older)].name = Name::Target;
        self.history.outsiders = true;
        self.history.newer = false;
        violation
    }
}
