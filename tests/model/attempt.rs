//! A running attempt: executes each step of the program's decision function on the modelled service.
//!
//! Owns the state of a process in addition to [`Attempt`]: the progress of a step with several calls, and the state
//! file. It decides only what the program's executor decides, too: an upload is repeated until there is a response.

use yotpo_td::identity::{Mode, Proposal, TableSuffix};
use yotpo_td::run::decide::{
    Attempt, Ending, OwnSet, PartsSeen, Purpose, Seen, Sent, Step, Survey, TargetSeen, UploadEnd, Winner,
};

use crate::faults::Scenario;
use crate::mutation;
use crate::properties::{self, Violation};
use crate::request::Request;
use crate::treasure_data::{Bits, Name, Parts, Service, SetName, TOTALS, table_id};

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Live {
    pub(crate) attempt: Attempt,
    pub(crate) step: Step,
    /// Number of completed calls of the step.
    calls: u8,
    /// The sets that the first call listed, and which of them as committed.
    listed: Bits,
    committed: Bits,
    oldest: Option<u8>,
    surplus: Parts,
    /// The target when it was last read.
    target: TargetSeen,
    set: Fetched,
    /// Number of the process.
    process: u8,
    keeps_state: bool,
    /// The state file.
    pub(crate) saved: Option<Saved>,
    /// The ending of the attempt, while it still cleans up.
    ending: Option<Ending>,
}

/// The set that is being fetched, as this process knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Fetched {
    /// The content of the store from which the first and the last part were created.
    first: Option<u8>,
    last: Option<u8>,
    /// Number of parts that are known to be stored.
    stored: u8,
}

/// The content of a state file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Saved {
    pub(crate) own: OwnSet,
    set: Fetched,
}

/// How the next process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Start {
    Fresh,
    Resuming(Saved),
    Discarding(Saved),
}

/// The next call of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Change(Request),
    Read,
}

/// The result of a call.
pub(crate) type Outcome = Result<(), Violation>;

impl Live {
    pub(crate) fn start(scenario: &Scenario, process: usize, purpose: Purpose, start: Start) -> Self {
        let attempt = Attempt::new(scenario.mode, purpose, scenario.lifetime);
        let (attempt, saved) = match start {
            Start::Fresh => (attempt, None),
            Start::Resuming(saved) => (attempt.resuming(saved.own), Some(saved)),
            Start::Discarding(saved) => (attempt.discarding(saved.own), None),
        };
        let (attempt, step) = attempt.begin();
        Self {
            attempt,
            step,
            calls: 0,
            listed: Bits(0),
            committed: Bits(0),
            oldest: None,
            surplus: Parts(0),
            target: TargetSeen::Missing,
            set: saved.map_or(Fetched::default(), |saved| saved.set),
            process: u8::try_from(process).unwrap_or(u8::MAX),
            keeps_state: purpose == Purpose::Load,
            saved,
            ending: None,
        }
    }

    /// Whether this is a lone attempt with which a state is tested.
    pub(crate) fn is_lone(&self) -> bool {
        self.process == u8::MAX
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.step == Step::Wait
    }

    /// The ending of the attempt, if it has ended.
    pub(crate) fn has_ended(&self) -> Option<Ending> {
        match self.step {
            Step::Finish(ending) => Some(ending),
            _ => None,
        }
    }

    /// Whether an uploading attempt could see that the ballot is decided or about to be.
    pub(crate) fn can_see_ballot_moved(&self, service: &Service) -> bool {
        let moved = |ballot: &crate::treasure_data::Ballot| match service.mode {
            Mode::Append => ballot.frozen || ballot.sets != Bits(0) || ballot.abandons != Bits(0),
            Mode::Replace => true,
        };
        matches!(self.step, Step::Upload(_)) && service.ballot(self.attempt.generation()).is_some_and(moved)
    }

    /// Sees the ballot between two parts.
    pub(crate) fn see_ballot_moved(&mut self, service: &mut Service, scenario: &Scenario) -> Outcome {
        self.decide(Seen::Uploaded(UploadEnd::BallotMoved), service, scenario)
    }

    /// The next call.
    pub(crate) fn call(&self, service: &Service) -> Call {
        let set = |own: &OwnSet| service.set_of(own.nonce);
        let name = |own: &OwnSet| service.name_of(&own.as_winner());
        let change = match self.step {
            Step::CreateTarget => Request::CreateTarget,
            Step::CreateScratch(own) => Request::CreateScratch(set(&own)),
            Step::NameTemporary(own) => Request::NameTemporary(name(&own)),
            Step::CreateSession(own) => Request::CreateSession(name(&own)),
            Step::TidyParts(own) if self.surplus != Parts(0) => {
                Request::DeletePart(set(&own), self.surplus.lowest())
            }
            Step::Upload(own) => Request::PutPart(set(&own), self.next_part(service)),
            Step::FreezeOwn(own) => Request::Freeze(set(&own)),
            Step::Perform(winner) => Request::Perform(service.set_of(winner.nonce)),
            Step::CreateBallot(generation, bound_to) => {
                Request::CreateBallot(generation, bound_to.as_ref().map(name))
            }
            Step::Propose(generation, Proposal::Abandon { nonce }) => {
                Request::ProposeAbandon(generation, service.set_of(nonce))
            }
            Step::Propose(generation, Proposal::Set { nonce, target, .. }) => {
                let (set, target) = (service.set_of(nonce), crate::treasure_data::table_of(target));
                let (table, suffix) = (None, TableSuffix::Rows);
                Request::ProposeSet(generation, SetName { set, target, table, suffix })
            }
            Step::FreezeBallot(generation) => Request::FreezeBallot(generation),
            Step::Commit(winner) => {
                Request::Commit { set: service.set_of(winner.nonce), checked: self.has_checked(&winner) }
            }
            Step::Fence(_) => Request::DeleteOlder,
            Step::Publish(winner) => {
                Request::Publish { name: service.name_of(&winner), checked: self.has_checked(&winner) }
            }
            Step::Discard(own) => match (self.calls, own.table) {
                (0, None) if service.mode == Mode::Replace => Request::DeleteTable(Name::Scratch(set(&own))),
                (0, _) => Request::DeleteSession(set(&own)),
                (1, _) => Request::DeleteTable(Name::Temporary(name(&own))),
                (_, _) => Request::DeleteTable(Name::Scratch(set(&own))),
            },
            _ => return Call::Read,
        };
        Call::Change(change)
    }

    fn has_checked(&self, winner: &Winner) -> bool {
        self.target == TargetSeen::Is(winner.target) || self.target == TargetSeen::Missing
    }

    fn next_part(&self, service: &Service) -> Parts {
        let Fetched { first, last, stored } = self.set;
        let first = first.unwrap_or(service.store);
        if stored == 0 { Parts::first(first) } else { Parts::last(last.unwrap_or(service.store), first) }
    }

    /// Saves the state, as required before a call that changes something.
    pub(crate) fn save(&mut self) {
        let Fetched { first, last, stored } = self.set;
        let set = Fetched { first: first.filter(|_| stored > 0), last: last.filter(|_| stored > 1), stored };
        self.saved = self.attempt.own().filter(|_| self.keeps_state).map(|own| Saved { own: *own, set });
    }

    /// Records the content of a part that is sent, because it is the same when it is sent again.
    pub(crate) fn record_sending(&mut self, service: &Service) {
        if matches!(self.step, Step::Upload(_)) {
            let part = if self.set.stored == 0 { &mut self.set.first } else { &mut self.set.last };
            part.get_or_insert(service.store);
        }
    }

    /// Continues after the response to a call that changes something.
    pub(crate) fn handle_response(
        &mut self,
        sent: Sent,
        service: &mut Service,
        scenario: &Scenario,
    ) -> Outcome {
        match self.step {
            Step::Upload(_) => match sent {
                Sent::Done => self.part_stored(service, scenario),
                Sent::Unclear => Ok(()),
                _ => self.decide(Seen::Uploaded(UploadEnd::SessionLost), service, scenario),
            },
            Step::TidyParts(_) => match sent {
                Sent::Unclear => Ok(()),
                Sent::Done => {
                    self.surplus = self.surplus.minus(self.surplus.lowest());
                    if self.surplus != Parts(0) {
                        return Ok(());
                    }
                    self.decide(Seen::Parts(PartsSeen::Stored), service, scenario)
                }
                _ => self.decide(Seen::Parts(PartsSeen::Differ), service, scenario),
            },
            Step::Fence(_) if sent == Sent::Unclear => Ok(()),
            Step::Fence(_) => self.decide(Seen::Done, service, scenario),
            Step::Discard(own) => {
                if sent != Sent::Unclear {
                    self.calls += 1;
                }
                if self.calls < if own.table.is_some() { 3 } else { 1 } {
                    return Ok(());
                }
                match self.ending {
                    Some(ending) => {
                        self.step = Step::Finish(ending);
                        Ok(())
                    }
                    None => self.decide(Seen::Done, service, scenario),
                }
            }
            _ => self.decide(Seen::Sent(sent), service, scenario),
        }
    }

    fn part_stored(&mut self, service: &mut Service, scenario: &Scenario) -> Outcome {
        self.set.stored += 1;
        match self.set.stored {
            1 => Ok(()),
            _ => self.decide(Seen::Uploaded(UploadEnd::Complete(TOTALS)), service, scenario),
        }
    }

    /// A call that changes nothing, or local work.
    pub(crate) fn read(&mut self, service: &mut Service, scenario: &Scenario) -> Outcome {
        let set = |winner: &Winner| service.set_of(winner.nonce);
        let seen = match self.step {
            Step::Survey if self.calls == 0 => {
                self.calls = 1;
                self.listed = service.list_sets(scenario.hides_invalid);
                self.committed = service.list_committed(scenario.hides_invalid);
                self.oldest = service.list_oldest();
                return Ok(());
            }
            Step::Survey => {
                self.target = service.target();
                Seen::Surveyed(self.survey(service))
            }
            Step::ReadTarget => {
                self.target = service.target();
                Seen::Target(self.target)
            }
            Step::ShowBallot(generation) => {
                Seen::Ballot(service.show_ballot(generation, scenario.follows_renames))
            }
            Step::ListBallot(generation) => list_ballot(service, generation),
            Step::DrawNonce => {
                self.set = Fetched::default();
                Seen::Nonce(draw_nonce(service, self.process))
            }
            Step::Fetch(_) if scenario.empty_store == Some(service.store) => Seen::NoCustomers,
            Step::Fetch(_) => Seen::FirstRows,
            Step::ReadScratch(own) => {
                Seen::Table(service.find(Name::Scratch(set(&own.as_winner()))).map(table_id))
            }
            Step::ReadTemporary(winner) => {
                Seen::Table(service.find(Name::Temporary(service.name_of(&winner))).map(table_id))
            }
            Step::ShowOwn(own) => {
                Seen::Set(service.show_set(set(&own.as_winner()), own.totals, scenario.hides_invalid))
            }
            Step::ShowWinner(winner) => {
                Seen::Set(service.show_set(set(&winner), winner.totals, scenario.hides_invalid))
            }
            Step::TidyParts(own) => match self.tidy(service, set(&own.as_winner())) {
                Some(parts) => Seen::Parts(parts),
                None => return Ok(()),
            },
            Step::ProveParts(own) => Seen::Parts(prove(service, set(&own.as_winner()))),
            Step::Guard(_) => Seen::GuardsPassed,
            Step::Wait => Seen::Done,
            step => unreachable!("{step:?} changes something"),
        };
        self.decide(mutation::seen(scenario.mutation, self, seen), service, scenario)
    }

    fn survey(&self, service: &Service) -> Survey {
        let winner =
            |set: u8| Some((service.winner(service.listed_name(set)?, None), self.committed.has(set)));
        let sets = self.listed.iter().filter_map(winner);
        let oldest = self.oldest.map(u64::from);
        Survey {
            target: self.target,
            committed: Survey::choose(self.target, sets),
            oldest,
            other_protocol: None,
        }
    }

    /// Lists the parts of the open session; `None` if surplus parts must be deleted.
    fn tidy(&mut self, service: &Service, set: u8) -> Option<PartsSeen> {
        let Some(session) = service.set(set).filter(|session| service.is_valid(session)) else {
            return Some(PartsSeen::Differ);
        };
        let Fetched { first, last, stored } = self.set;
        let mut known = Parts(0);
        if let Some(first) = first.filter(|_| stored > 0) {
            known = Parts::first(first);
            if let Some(last) = last.filter(|_| stored > 1) {
                known = known.plus(Parts::last(last, first));
            }
        }
        self.surplus = session.parts.minus(known);
        match (session.parts.contains(known), self.surplus) {
            (false, _) => Some(PartsSeen::Differ),
            (true, Parts(0)) => Some(PartsSeen::Stored),
            (true, _) => None,
        }
    }

    fn decide(&mut self, seen: Seen, service: &mut Service, scenario: &Scenario) -> Outcome {
        (self.attempt, self.step) = self.attempt.decide(seen, u64::from(service.now));
        (self.calls, self.listed, self.committed) = (0, Bits(0), Bits(0));
        (self.oldest, self.surplus) = (None, Parts(0));
        let Step::Finish(ending) = self.step else { return Ok(()) };
        properties::check_ending(ending, self, service, scenario)?;
        if let Ending::Loaded { .. } = ending {
            self.saved = None;
            if let Some(own) = self.attempt.cleanup(true).own {
                self.ending = Some(ending);
                self.step = Step::Discard(own);
            }
        }
        Ok(())
    }
}

fn draw_nonce(service: &mut Service, process: u8) -> yotpo_td::identity::Nonce {
    let set = service.drawn.iter().position(Option::is_none).expect("SETS is large enough for the faults");
    service.drawn[set] = Some(service.now);
    service.history.drawn_by[set] = process;
    service.nonce(u8::try_from(set).expect("a small number"))
}

fn list_ballot(service: &Service, generation: u8) -> Seen {
    match service.ballot(generation) {
        None => Seen::Sent(Sent::SessionGone),
        Some(ballot) if !service.table(ballot.table).exists => Seen::Sent(Sent::TableGone),
        Some(ballot) => Seen::Proposals(service.smallest_proposal(ballot)),
    }
}

fn prove(service: &Service, set: u8) -> PartsSeen {
    match service.set(set) {
        Some(session) if service.is_valid(session) && session.parts.are_complete() => {
            PartsSeen::Complete(TOTALS)
        }
        _ => PartsSeen::Differ,
    }
}
