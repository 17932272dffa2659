//! Treasure Data from the point of view of the protocol: table objects with ids, sessions that belong to an object,
//! ballots.
//!
//! Owns the modelled service and all reads. Everything is identified by numbers: a table object by its index in
//! [`Service::tables`], which never changes, a set by the number of its nonce, and a ballot by its generation. Changes
//! are in `request.rs`. It does not know attempts.

use std::fmt;

use yotpo_td::identity::{Mode, Nonce, PartTotals, Proposal, TableId, TableSuffix};
use yotpo_td::run::decide::{BallotSeen, BallotTable, CountsSeen, JobSeen, SetSeen, TargetSeen, Winner};

/// Maximum number of sets.
pub(crate) const SETS: usize = 7;
/// Maximum number of table objects.
pub(crate) const TABLES: usize = 12;
/// Maximum number of ballots.
pub(crate) const GENERATIONS: usize = 6;

/// The service, with a history for the properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Service {
    pub(crate) mode: Mode,
    /// Seconds; the lifetime of a run is a few seconds.
    pub(crate) now: u8,
    pub(crate) tables: [Table; TABLES],
    pub(crate) sets: [Option<Session>; SETS],
    pub(crate) ballots: [Option<Ballot>; GENERATIONS],
    /// When each nonce was drawn; `None` for those that were not drawn yet.
    pub(crate) drawn: [Option<u8>; SETS],
    /// The content of the store, which changes at most once.
    pub(crate) store: u8,
    pub(crate) history: History,
}

/// A table object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    /// Its current name, or the last one if it was deleted.
    pub(crate) name: Name,
    pub(crate) exists: bool,
    /// Whether it was created as a temporary table by an attempt of the run.
    pub(crate) is_own: bool,
    /// The sets of the run whose rows it contains.
    pub(crate) rows: Bits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// Not created yet.
    Unused,
    Target,
    Scratch(u8),
    Temporary(SetName),
    /// The temporary table of an older run.
    Older,
}

/// The fields in the names of the session and the temporary table of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetName {
    pub(crate) set: u8,
    pub(crate) target: u8,
    pub(crate) table: Option<u8>,
    pub(crate) suffix: TableSuffix,
}

/// The session of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) name: SetName,
    /// The table object to which it belongs.
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
    /// Performing forever, because its job was killed.
    Stuck,
    Ready,
    Committing,
    Committed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ballot {
    /// The table object to which it belongs.
    pub(crate) table: u8,
    /// The name of the table when the ballot was created.
    pub(crate) name: Name,
    pub(crate) frozen: bool,
    /// The proposed sets and abandonments.
    pub(crate) sets: Bits,
    pub(crate) abandons: Bits,
    pub(crate) created: u8,
}

/// The history for the properties; it does not affect the model.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of the past")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// The target in the proposal of each set.
    pub(crate) targets: [u8; SETS],
    /// Which process drew each nonce.
    pub(crate) drawn_by: [u8; SETS],
    /// The last generation, from 1, in which a ballot chose each set.
    pub(crate) won: [u8; SETS],
    /// Generations that load nothing according to an attempt.
    pub(crate) abandoned: Bits,
    /// Others deleted, recreated or replaced the target, or deleted what attempts created.
    pub(crate) outsiders: bool,
    /// Retention removed something.
    pub(crate) expired: bool,
    /// A load job failed or was killed.
    pub(crate) job_failed: bool,
    /// A call was acknowledged without effect.
    pub(crate) ignored: bool,
    /// Number of failed commits.
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

/// The parts of a session: two per set, with the content of the store from which each was created. The name of the last
/// one contains a digest over the first.
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

    /// The lowest part.
    pub(crate) const fn lowest(self) -> Self {
        Self(self.0 & self.0.wrapping_neg())
    }

    /// Whether they are exactly one complete set.
    pub(crate) fn are_complete(self) -> bool {
        let stores = [(0, 0), (0, 1), (1, 0), (1, 1)];
        stores.into_iter().any(|(first, last)| self == Self::first(first).plus(Self::last(last, first)))
    }
}

/// The totals of every complete set; they are equal, so counts alone prove nothing.
pub(crate) const TOTALS: PartTotals = PartTotals { parts: 2, valid: 2, rejected: 0 };

/// The id of a table object.
pub(crate) fn table_id(table: u8) -> TableId {
    const DIGITS: [&str; TABLES] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];
    TableId::from_api(DIGITS[usize::from(table)])
}

/// The table object of an id.
pub(crate) fn table_of(id: TableId) -> u8 {
    (0..12).find(|table| table_id(*table) == id).expect("an id from the model")
}

impl Service {
    /// Creates a service with an empty target, or with the given tables.
    pub(crate) fn new(mode: Mode, target_exists: bool, older_exists: bool) -> Self {
        let unused = Table { name: Name::Unused, exists: false, is_own: false, rows: Bits(0) };
        let mut tables = [unused; TABLES];
        if target_exists {
            tables[0] = Table { name: Name::Target, exists: true, is_own: false, rows: Bits(0) };
        }
        if older_exists {
            tables[1] = Table { name: Name::Older, exists: true, is_own: false, rows: Bits(0) };
        }
        let (sets, ballots, drawn) = ([None; SETS], [None; GENERATIONS], [None; SETS]);
        Self { mode, now: 0, tables, sets, ballots, drawn, store: 0, history: History::default() }
    }

    /// The value of a nonce: its time, then the order in which nonces were drawn. The second nonce is the smallest of
    /// its second, so that being first and being older are different.
    pub(crate) fn nonce(&self, set: u8) -> Nonce {
        let time = self.drawn[usize::from(set)].expect("the nonce was drawn");
        let random = [2, 1, 3, 4, 5, 6, 7][usize::from(set)];
        Nonce::new(u64::from(time), random).expect("a small number")
    }

    pub(crate) fn set_of(&self, nonce: Nonce) -> u8 {
        (0..7)
            .find(|set| self.drawn[usize::from(*set)].is_some() && self.nonce(*set) == nonce)
            .expect("a nonce from the model")
    }

    /// The existing table with a name.
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

    /// The fields in the names of a set.
    pub(crate) fn name_of(&self, winner: &Winner) -> SetName {
        SetName {
            set: self.set_of(winner.nonce),
            target: table_of(winner.target),
            table: winner.table.map(table_of),
            suffix: winner.suffix,
        }
    }

    /// `show` of a ballot. With `follows_renames`, it reports the new name of a renamed table.
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
            Name::Unused | Name::Scratch(_) | Name::Older => BallotTable::Foreign,
        })
    }

    /// The winning proposal.
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

    /// `show` of the session of a set. With `hides`, it reports an unknown status if the table was deleted.
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

    /// The relevant sessions of attempts in `list`: those that are committed or can be published without a commit.
    pub(crate) fn list_sets(&self, hides: bool) -> Bits {
        let is_empty = |session: &Session| session.name.suffix == TableSuffix::Empty;
        let empty = (0..7).filter(|set| self.set(*set).is_some_and(is_empty));
        empty.fold(self.list_committed(hides), Bits::with)
    }

    /// The name of a listed session.
    pub(crate) fn listed_name(&self, set: u8) -> Option<SetName> {
        self.set(set).map(|session| SetName { suffix: TableSuffix::Rows, ..session.name })
    }

    /// The relevant part of `list`: the sets that it reports as committed or committing.
    pub(crate) fn list_committed(&self, hides: bool) -> Bits {
        let is_committed = |session: &Session| {
            matches!(session.status, Status::Committing | Status::Committed)
                && (!hides || self.is_valid(session))
        };
        (0..7).filter(|set| self.set(*set).is_some_and(is_committed)).fold(Bits(0), Bits::with)
    }

    /// The time of the oldest attempt in `list`.
    pub(crate) fn list_oldest(&self) -> Option<u8> {
        (0..SETS).filter(|set| self.sets[*set].is_some()).filter_map(|set| self.drawn[set]).min()
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "at {}, store {}", self.now, self.store)?;
        for (id, table) in self.tables.iter().enumerate().filter(|(_, table)| table.name != Name::Unused) {
            writeln!(formatter, "table {id}: {table:?}")?;
        }
        self.sets.iter().flatten().try_for_each(|set| writeln!(formatter, "{set:?}"))?;
        self.ballots.iter().flatten().try_for_each(|ballot| writeln!(formatter, "{ballot:?}"))?;
        write!(formatter, "{:?}", self.history)
    }
}
