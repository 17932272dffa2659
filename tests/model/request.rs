//! The calls that change Treasure Data, and their effect in any state: the same call can arrive late or twice.
//!
//! Owns the service's rules for changes, and the checks for forbidden changes. A request refers to things as a program
//! does: by name, never by object.

use yotpo_td::identity::{Mode, TableSuffix};
use yotpo_td::run::decide::Sent;

use crate::properties::Violation;
use crate::treasure_data::{Ballot, Bits, Name, Parts, Service, Session, SetName, Status};

/// A call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Request {
    CreateTarget,
    CreateScratch(u8),
    NameTemporary(SetName),
    CreateSession(SetName),
    PutPart(u8, Parts),
    DeletePart(u8, Parts),
    Freeze(u8),
    Perform(u8),
    CreateBallot(u8, Option<SetName>),
    ProposeSet(u8, SetName),
    ProposeAbandon(u8, u8),
    FreezeBallot(u8),
    /// `checked`: the target that the sender last saw is the one for which the set was fetched.
    Commit {
        set: u8,
        checked: bool,
    },
    DeleteOlder,
    Publish {
        name: SetName,
        checked: bool,
    },
    DeleteSession(u8),
    DeleteTable(Name),
}

/// The result of a call, and the property that it violates.
pub(crate) type Effect = (Sent, Option<Violation>);

const fn effect(sent: Sent) -> Effect {
    (sent, None)
}

impl Service {
    pub(crate) fn apply(&mut self, request: Request, performs_again: bool) -> Effect {
        match request {
            Request::CreateTarget => effect(self.create_table(Name::Target)),
            Request::CreateScratch(set) => effect(self.create_table(Name::Scratch(set))),
            Request::NameTemporary(name) => {
                effect(self.rename(Name::Scratch(name.set), Name::Temporary(name)))
            }
            Request::CreateSession(name) => effect(self.create_session(name)),
            Request::PutPart(set, part) => effect(self.change_parts(set, |parts| parts.plus(part))),
            Request::DeletePart(set, part) => effect(self.change_parts(set, |parts| parts.minus(part))),
            Request::Freeze(set) => effect(self.with_set(set, |session| match session.status {
                Status::Open => Some(Status::Frozen { job_failed: false }),
                _ => None,
            })),
            Request::Perform(set) => effect(self.with_set(set, |session| match session.status {
                Status::Frozen { .. } => Some(Status::Performing),
                // If a loaded session can be performed again, so can one whose job was killed.
                Status::Ready | Status::Stuck if performs_again => Some(Status::Performing),
                _ => None,
            })),
            Request::CreateBallot(generation, bound_to) => effect(self.create_ballot(generation, bound_to)),
            Request::ProposeSet(generation, name) => {
                self.history.targets[usize::from(name.set)] = name.target;
                effect(self.propose(generation, |ballot| ballot.sets = ballot.sets.with(name.set)))
            }
            Request::ProposeAbandon(generation, set) => {
                effect(self.propose(generation, |ballot| ballot.abandons = ballot.abandons.with(set)))
            }
            Request::FreezeBallot(generation) => effect(self.freeze_ballot(generation)),
            Request::Commit { set, checked } => self.commit(set, checked),
            Request::DeleteOlder => effect(self.delete_table(Name::Older)),
            Request::Publish { name, checked } => self.publish(name, checked),
            Request::DeleteSession(set) => effect(self.delete_session(set)),
            Request::DeleteTable(name) => effect(self.delete_table(name)),
        }
    }

    pub(crate) fn create_table(&mut self, name: Name) -> Sent {
        if self.find(name).is_some() {
            return Sent::Conflict;
        }
        let table = self
            .tables
            .iter_mut()
            .find(|table| table.name == Name::Unused)
            .expect("TABLES is large enough for the faults");
        (table.name, table.exists) = (name, true);
        Sent::Done
    }

    pub(crate) fn delete_table(&mut self, name: Name) -> Sent {
        match self.find(name) {
            Some(table) => {
                self.tables[usize::from(table)].exists = false;
                Sent::Done
            }
            None => Sent::TableGone,
        }
    }

    fn rename(&mut self, from: Name, to: Name) -> Sent {
        match (self.find(from), self.find(to)) {
            (None, _) => Sent::TableGone,
            (Some(_), Some(_)) => Sent::Conflict,
            (Some(table), None) => {
                let table = &mut self.tables[usize::from(table)];
                (table.name, table.is_own) = (to, true);
                Sent::Done
            }
        }
    }

    fn create_session(&mut self, name: SetName) -> Sent {
        let slot = usize::from(name.set);
        if self.sets[slot].is_some() {
            return Sent::Conflict;
        }
        let table = if self.mode == Mode::Append { Name::Target } else { Name::Temporary(name) };
        let Some(table) = self.find(table) else { return Sent::TableGone };
        let (status, parts, created) = (Status::Open, Parts(0), self.now);
        self.sets[slot] = Some(Session { name, table, status, parts, created });
        Sent::Done
    }

    /// The session, if its table exists.
    fn valid(&self, set: u8) -> Result<Session, Sent> {
        let session = *self.set(set).ok_or(Sent::SessionGone)?;
        if self.is_valid(&session) { Ok(session) } else { Err(Sent::TableGone) }
    }

    fn with_set(&mut self, set: u8, next: impl FnOnce(&Session) -> Option<Status>) -> Sent {
        match self.valid(set).map(|session| (session, next(&session))) {
            Ok((session, Some(status))) => {
                self.sets[usize::from(set)] = Some(Session { status, ..session });
                Sent::Done
            }
            Ok((_, None)) => Sent::Conflict,
            Err(sent) => sent,
        }
    }

    fn change_parts(&mut self, set: u8, change: impl FnOnce(Parts) -> Parts) -> Sent {
        match self.valid(set) {
            Ok(session) if session.status == Status::Open => {
                self.sets[usize::from(set)] = Some(Session { parts: change(session.parts), ..session });
                Sent::Done
            }
            Ok(_) => Sent::Conflict,
            Err(sent) => sent,
        }
    }

    fn create_ballot(&mut self, generation: u8, bound_to: Option<SetName>) -> Sent {
        if self.ballot(generation).is_some() {
            return Sent::Conflict;
        }
        let name = bound_to.map_or(Name::Target, Name::Temporary);
        let Some(table) = self.find(name) else { return Sent::TableGone };
        let (frozen, sets, abandons, created) = (false, Bits(0), Bits(0), self.now);
        self.ballots[usize::from(generation)] = Some(Ballot { table, name, frozen, sets, abandons, created });
        if let Some(name) = bound_to
            && name.suffix != TableSuffix::Abandon
        {
            self.history.won[usize::from(name.set)] = generation + 1;
        }
        Sent::Done
    }

    fn with_ballot(&mut self, generation: u8, change: impl FnOnce(&mut Ballot)) -> Sent {
        match self.ballot(generation).copied() {
            None => Sent::SessionGone,
            Some(ballot) if !self.table(ballot.table).exists => Sent::TableGone,
            Some(ballot) if ballot.frozen => Sent::Conflict,
            Some(mut ballot) => {
                change(&mut ballot);
                self.ballots[usize::from(generation)] = Some(ballot);
                Sent::Done
            }
        }
    }

    fn propose(&mut self, generation: u8, change: impl FnOnce(&mut Ballot)) -> Sent {
        self.with_ballot(generation, change)
    }

    fn freeze_ballot(&mut self, generation: u8) -> Sent {
        let sent = self.with_ballot(generation, |ballot| ballot.frozen = true);
        if sent == Sent::Done
            && let Some(ballot) = self.ballot(generation).copied()
            && let Some(winner) = self.smallest_proposal(&ballot)
        {
            let set = self.set_of(winner.nonce());
            if ballot.sets.has(set) {
                self.history.won[usize::from(set)] = generation + 1;
            }
        }
        sent
    }

    fn commit(&mut self, set: u8, checked: bool) -> Effect {
        let sent = self.with_set(set, |session| match session.status {
            Status::Ready => Some(Status::Committing),
            _ => None,
        });
        let won = self.history.won[usize::from(set)];
        let violation = match sent {
            Sent::Done if won == 0 => Some(Violation::CommittedLoser),
            Sent::Done if self.reported_abandoned(won) => Some(Violation::CommittedAbandoned),
            Sent::Done if self.mode == Mode::Append && !checked => Some(Violation::CommittedUnchecked),
            _ => None,
        };
        (sent, violation)
    }

    /// Whether an attempt reported that the generation, counted from 1, loads nothing.
    fn reported_abandoned(&self, won: u8) -> bool {
        won > 0 && self.history.abandoned.has(won - 1)
    }

    /// Completes the commit; the rows become visible.
    pub(crate) fn finish_commit(&mut self, set: u8) -> Option<Violation> {
        let session = self.sets[usize::from(set)].as_mut()?;
        session.status = Status::Committed;
        let (parts, table) = (session.parts, session.table);
        let table = &mut self.tables[usize::from(table)];
        if !table.exists {
            return None;
        }
        let rows = table.rows;
        table.rows = rows.with(set);
        if !parts.are_complete() {
            return Some(Violation::CommittedIncomplete);
        }
        (rows != Bits(0)).then_some(Violation::CommittedTwice)
    }

    fn publish(&mut self, name: SetName, checked: bool) -> Effect {
        let Some(table) = self.find(Name::Temporary(name)) else { return effect(Sent::TableGone) };
        let violation = self.publish_violation(name, table, checked);
        if let Some(target) = self.find(Name::Target) {
            self.tables[usize::from(target)].exists = false;
        }
        self.tables[usize::from(table)].name = Name::Target;
        self.history.newer = false;
        (Sent::Done, violation)
    }

    fn publish_violation(&self, name: SetName, table: u8, checked: bool) -> Option<Violation> {
        let won = self.history.won[usize::from(name.set)];
        let is_proven = match name.suffix {
            TableSuffix::Rows => self.table(table).rows == Bits(0).with(name.set),
            TableSuffix::Empty => true,
            TableSuffix::Abandon => false,
        };
        if won == 0 || !is_proven {
            return Some(Violation::PublishedUnproven);
        }
        if self.reported_abandoned(won) {
            return Some(Violation::CommittedAbandoned);
        }
        let target = self.find(Name::Target).filter(|target| *target != name.target)?;
        match (self.table(target).is_own, self.history.newer, checked) {
            (true, ..) => Some(Violation::PublishedOverOwn),
            (false, true, _) => Some(Violation::PublishedOverNewer),
            (false, false, false) => Some(Violation::PublishedUnchecked),
            // Another client recreated the table between the check and the rename.
            (false, false, true) => None,
        }
    }

    pub(crate) fn delete_session(&mut self, set: u8) -> Sent {
        match self.set(set).copied() {
            None => Sent::SessionGone,
            Some(session) if session.status == Status::Committing && self.is_valid(&session) => {
                Sent::Conflict
            }
            Some(_) => {
                self.sets[usize::from(set)] = None;
                Sent::Done
            }
        }
    }
}
