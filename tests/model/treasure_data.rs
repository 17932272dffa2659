//! Treasure Data as the protocol sees it: table objects with ids, sessions that are bound to an object, ballots.
//!
//! Owns the modelled service and what can be read of it. Numbers stand for everything: a table object is its position in
//! [`Service::tables`] and keeps it for ever, a set is the number of its nonce, a ballot that of its generation. What
//! changes the service is in `request.rs`; nothing here knows attempts.

use std::fmt;

use yotpo_td::identity::{Mode, Nonce, PartTotals, Proposal, TableId, TableSuffix};
use yotpo_td::run::decide::{BallotSeen, BallotTable, CountsSeen, JobSeen, SetSeen, TargetSeen, Winner};

/// Sets that attempts can begin.
pub(crate) const SETS: usize = 7;
/// Table objects that can ever exist.
pub(crate) const TABLES: usize = 12;
/// Generations that can have a ballot.
pub(crate) const GENERATIONS: usize = 6;

/// The service, with what observers note for the properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Service {
    pub(crate) mode: Mode,
    /// Seconds, of which a few make a run's lifetime.
    pub(crate) now: u8,
    pub(crate) tables: [Table; TABLES],
    pub(crate) sets: [Option<Session>; SETS],
    pub(crate) ballots: [Option<Ballot>; GENERATIONS],
    /// When each nonce was drawn; as many as were drawn.
    pub(crate) drawn: [Option<u8>; SETS],
    /// The store's content: it changes once at most.
    pub(crate) store: u8,
    pub(crate) history: History,
}

/// A table object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    /// Its present name, or the last one when it is gone.
    pub(crate) name: Name,
    pub(crate) exists: bool,
    /// Whether an attempt of the run made it as its temporary table.
    pub(crate) is_own: bool,
    /// The sets of the run whose rows are in it.
    pub(crate) rows: Bits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// Not made yet.
    Unborn,
    Target,
    Scratch(u8),
    Temporary(SetName),
    /// The temporary table of an older run.
    Older,
}

/// What stands in the names of a set's session and temporary table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetName {
    pub(crate) set: u8,
    pub(crate) target: u8,
    pub(crate) table: Option<u8>,
    pub(crate) suffix: TableSuffix,
}

/// The own session of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) name: SetName,
    /// The table object that it is bound to.
    pub(crate) table: u8,
    pub(crate) status: Status,
    pub(crate) parts: Parts,
    pub(crate) created: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    Open,
    Frozen {
        job_failed: bool,
    },
    Performing,
    /// Performing for ever: its job was killed.
    Stuck,
    Ready,
    Committing,
    Committed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ballot {
    /// The table object that it is bound to.
    pub(crate) table: u8,
    /// The table's name when it was bound.
    pub(crate) name: Name,
    pub(crate) frozen: bool,
    /// Sets and abandonments that are proposed.
    pub(crate) sets: Bits,
    pub(crate) abandons: Bits,
    pub(crate) created: u8,
}

/// What observers note; nobody in the model decides by it.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of the past")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// The set names that were proposed.
    pub(crate) targets: [u8; SETS],
    /// Which process drew each nonce.
    pub(crate) drawn_by: [u8; SETS],
    /// Sets that a ballot named, and the last generation that did, from 1.
    pub(crate) won: [u8; SETS],
    /// Generations of which an attempt said that they load nothing.
    pub(crate) abandoned: Bits,
    /// Others deleted, recreated or replaced the target, or deleted what attempts made.
    pub(crate) outsiders: bool,
    /// Retention took something.
    pub(crate) expired: bool,
    /// A load job failed, or was killed.
    pub(crate) job_failed: bool,
    /// Commits that fell back.
    pub(crate) failed_commits: u8,
    /// The target is the table of a newer run.
    pub(crate) newer: bool,
}

/// A small set of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Bits(pub(crate) u8);

impl Bits {
    pub(crate) const fn with(self, bit: u8) -> Self {
        Self(self.0 | 1 << bit)
    }

    pub(crate) const fn has(self, bit: u8) -> bool {
        self.0 & 1 << bit != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |bit| self.has(*bit))
    }
}

/// The parts of a session: two of each set, with the store's content that each was made of. The last one names the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Parts(pub(crate) u8);

impl Parts {
    pub(crate) const fn first(store: u8) -> Self {
        Self(1 << store)
    }

    pub(crate) const fn last(store: u8, after: u8) -> Self {
        Self(1 << (2 + 2 * store + after))
    }

    pub(crate) const fn contains(self, part: Self) -> bool {
        self.0 & part.0 == part.0
    }

    pub(crate) const fn plus(self, part: Self) -> Self {
        Self(self.0 | part.0)
    }

    pub(crate) const fn minus(self, part: Self) -> Self {
        Self(self.0 & !part.0)
    }

    /// One of them.
    pub(crate) const fn lowest(self) -> Self {
        Self(self.0 & self.0.wrapping_neg())
    }

    /// Whether they are exactly one complete set.
    pub(crate) fn are_complete(self) -> bool {
        let stores = [(0, 0), (0, 1), (1, 0), (1, 1)];
        stores.into_iter().any(|(first, last)| self == Self::first(first).plus(Self::last(last, first)))
    }
}

/// What every complete set holds, so that counts alone prove nothing.
pub(crate) const TOTALS: PartTotals = PartTotals { parts: 2, valid: 2, rejected: 0 };

/// The id of a table object.
pub(crate) fn table_id(table: u8) -> TableId {
    const DIGITS: [&str; TABLES] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];
    TableId::from_api(DIGITS[usize::from(table)])
}

/// The table object of an id.
pub(crate) fn table_of(id: TableId) -> u8 {
    (0..12).find(|table| table_id(*table) == id).expect("an id that the model gave")
}

impl Service {
    /// One empty target, nothing else.
    pub(crate) fn new(mode: Mode, target_exists: bool, older_exists: bool) -> Self {
        let unborn = Table { name: Name::Unborn, exists: false, is_own: false, rows: Bits(0) };
        let mut tables = [unborn; TABLES];
        if target_exists {
            tables[0] = Table { name: Name::Target, exists: true, is_own: false, rows: Bits(0) };
        }
        if older_exists {
            tables[1] = Table { name: Name::Older, exists: true, is_own: false, rows: Bits(0) };
        }
        let (sets, ballots, drawn) = ([None; SETS], [None; GENERATIONS], [None; SETS]);
        Self { mode, now: 0, tables, sets, ballots, drawn, store: 0, history: History::default() }
    }

    /// A nonce's value: its time, then the order in which nonces were drawn, but that the second is the smallest of its
    /// second, so that being first and being older are different things.
    pub(crate) fn nonce(&self, set: u8) -> Nonce {
        let time = self.drawn[usize::from(set)].expect("it was drawn");
        let random = [2, 1, 3, 4, 5, 6, 7][usize::from(set)];
        Nonce::new(u64::from(time), random).expect("a small number")
    }

    pub(crate) fn set_of(&self, nonce: Nonce) -> u8 {
        (0..7)
            .find(|set| self.drawn[usize::from(*set)].is_some() && self.nonce(*set) == nonce)
            .expect("a nonce that the model gave")
    }

    /// The existing table of a name.
    pub(crate) fn find(&self, name: Name) -> Option<u8> {
        (0..12).find(|table| self.table(*table).exists && self.table(*table).name == name)
    }

    pub(crate) fn table(&self, table: u8) -> &Table {
        &self.tables[usize::from(table)]
    }

    pub(crate) fn set(&self, set: u8) -> Option<&Session> {
        self.sets[usize::from(set)].as_ref()
    }

    pub(crate) fn ballot(&self, generation: u8) -> Option<&Ballot> {
        self.ballots.get(usize::from(generation)).and_then(Option::as_ref)
    }

    pub(crate) fn target(&self) -> TargetSeen {
        self.find(Name::Target).map_or(TargetSeen::Missing, |table| TargetSeen::Is(table_id(table)))
    }

    pub(crate) fn is_valid(&self, session: &Session) -> bool {
        self.table(session.table).exists
    }

    pub(crate) fn winner(&self, name: SetName, totals: Option<PartTotals>) -> Winner {
        let SetName { set, target, table, suffix } = name;
        let (target, table) = (table_id(target), table.map(table_id));
        Winner { nonce: self.nonce(set), target, table, suffix, totals }
    }

    /// What a set's names say.
    pub(crate) fn name_of(&self, winner: &Winner) -> SetName {
        SetName {
            set: self.set_of(winner.nonce),
            target: table_of(winner.target),
            table: winner.table.map(table_of),
            suffix: winner.suffix,
        }
    }

    /// `show` of a ballot. `renames`: the service follows a table's new names.
    pub(crate) fn show_ballot(&self, generation: u8, follows_renames: bool) -> BallotSeen {
        let Some(ballot) = self.ballot(generation) else { return BallotSeen::Absent };
        if self.mode == Mode::Append {
            return if ballot.frozen { BallotSeen::Frozen } else { BallotSeen::Open };
        }
        let name = if follows_renames { self.table(ballot.table).name } else { ballot.name };
        BallotSeen::OnTable(match name {
            Name::Temporary(set) if set.suffix == TableSuffix::Abandon => {
                BallotTable::Abandon(self.nonce(set.set))
            }
            Name::Temporary(set) => BallotTable::Set(self.winner(set, None)),
            Name::Target => BallotTable::Target,
            Name::Unborn | Name::Scratch(_) | Name::Older => BallotTable::Foreign,
        })
    }

    /// The proposal that wins.
    pub(crate) fn smallest_proposal(&self, ballot: &Ballot) -> Option<Proposal> {
        let PartTotals { parts, valid, rejected } = TOTALS;
        let set = |set: u8| Proposal::Set {
            nonce: self.nonce(set),
            target: table_id(self.history.targets[usize::from(set)]),
            parts,
            valid,
            rejected,
        };
        let abandon = |set: u8| Proposal::Abandon { nonce: self.nonce(set) };
        ballot.sets.iter().map(set).chain(ballot.abandons.iter().map(abandon)).min()
    }

    /// `show` of a set's session. `hides`: of one whose table is gone it says that its status is unknown.
    pub(crate) fn show_set(&self, set: u8, totals: Option<PartTotals>, hides: bool) -> SetSeen {
        let Some(session) = self.set(set) else { return SetSeen::Absent };
        if hides && !self.is_valid(session) {
            return SetSeen::Invalid;
        }
        match session.status {
            Status::Open => SetSeen::Open,
            Status::Frozen { job_failed: false } => SetSeen::Frozen(JobSeen::None),
            Status::Frozen { job_failed: true } => SetSeen::Frozen(JobSeen::Failed),
            Status::Performing => SetSeen::Performing { ended: false },
            Status::Stuck => SetSeen::Performing { ended: true },
            // Every part has one row.
            Status::Ready
                if totals.is_none_or(|totals| totals.valid == u64::from(session.parts.0.count_ones())) =>
            {
                SetSeen::Ready(CountsSeen::Proven)
            }
            Status::Ready => SetSeen::Ready(CountsSeen::Wrong),
            Status::Committing => SetSeen::Committing,
            Status::Committed => SetSeen::Committed,
        }
    }

    /// The own sessions in `list`, as far as they count: those that are committed, or can be published without.
    pub(crate) fn list_sets(&self, hides: bool) -> Bits {
        let is_empty = |session: &Session| session.name.suffix == TableSuffix::Empty;
        let empty = (0..7).filter(|set| self.set(*set).is_some_and(is_empty));
        empty.fold(self.list_committed(hides), Bits::with)
    }

    /// The name of a session that was listed.
    pub(crate) fn listed_name(&self, set: u8) -> Option<SetName> {
        self.set(set).map(|session| SetName { suffix: TableSuffix::Rows, ..session.name })
    }

    /// `list`, as far as it counts: the sets that it calls committed or committing.
    pub(crate) fn list_committed(&self, hides: bool) -> Bits {
        let is_committed = |session: &Session| {
            matches!(session.status, Status::Committing | Status::Committed)
                && (!hides || self.is_valid(session))
        };
        (0..7).filter(|set| self.set(*set).is_some_and(is_committed)).fold(Bits(0), Bits::with)
    }

    /// The time of the oldest attempt that `list` tells of.
    pub(crate) fn list_oldest(&self) -> Option<u8> {
        (0..SETS).filter(|set| self.sets[*set].is_some()).filter_map(|set| self.drawn[set]).min()
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "at {}, store {}", self.now, self.store)?;
        for (id, table) in self.tables.iter().enumerate().filter(|(_, table)| table.name != Name::Unborn) {
            writeln!(formatter, "table {id}: {table:?}")?;
        }
        self.sets.iter().flatten().try_for_each(|set| writeln!(formatter, "{set:?}"))?;
        self.ballots.iter().flatten().try_for_each(|ballot| writeln!(formatter, "{ballot:?}"))?;
        write!(formatter, "{:?}", self.history)
    }
}
