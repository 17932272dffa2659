//! What must hold: checked where it could break, and from every state by a lone attempt that is run to its end.
//!
//! Owns the properties. Each is a value of [`Broken`], so that a search says which one it found.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;

use yotpo_td::identity::{Mode, TableSuffix};
use yotpo_td::run::decide::{Ending, Purpose};

use crate::attempt::{Call, Live, Start};
use crate::faults::Scenario;
use crate::request::Request;
use crate::treasure_data::{Bits, Name, Service, SetName, Status, table_id};
use crate::world::{Process, World};

/// Steps after which a lone attempt must have ended.
const MAX_STEPS: usize = 600;

/// A property that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Broken {
    /// Two sets of one run are in one table.
    CommittedTwice,
    /// A set that is not complete is in a table.
    CommittedIncomplete,
    /// A set is committed that no ballot named.
    CommittedLoser,
    /// A set is committed that the sender did not compare with the target.
    CommittedUnchecked,
    /// A generation loads something of which an attempt said that it never will.
    CommittedAbandoned,
    /// A table is published that holds no committed winner.
    PublishedUnproven,
    /// A table is published over another set of the run.
    PublishedOverOwn,
    /// A table is published over that of a newer run.
    PublishedOverNewer,
    /// A table is published that the sender did not compare with the target.
    PublishedUnchecked,
    /// An older run's table is published over one of this run.
    OlderOverOwn,
    /// An attempt changes what another attempt made.
    ChangedOthers(Request),
    /// An attempt ends with success, and the table does not hold what it says.
    LoadedFalsely,
    /// An attempt ends, and what it says is not true.
    EndedFalsely(Ending),
    /// An attempt ends with something that can never be.
    Impossible(Ending),
    /// A lone attempt ends without success, for no reason.
    LoneEnds(Ending),
    /// A lone attempt never ends.
    LoneNeverEnds,
}

/// An attempt changes only what it made, but for a winner that it sees through.
pub(crate) fn check_call(process: usize, request: Request, service: &Service) -> Result<(), Broken> {
    let set = match request {
        Request::CreateScratch(set)
        | Request::NameTemporary(SetName { set, .. })
        | Request::CreateSession(SetName { set, .. })
        | Request::PutPart(set, _)
        | Request::DeletePart(set, _)
        | Request::Freeze(set)
        | Request::DeleteSession(set)
        | Request::DeleteTable(Name::Scratch(set) | Name::Temporary(SetName { set, .. })) => set,
        Request::Perform(set) if service.history.won[usize::from(set)] == 0 => set,
        _ => return Ok(()),
    };
    if service.history.drawn_by[usize::from(set)] == u8::try_from(process).unwrap_or(u8::MAX) {
        Ok(())
    } else {
        Err(Broken::ChangedOthers(request))
    }
}

/// Whether what an ending says is true at this moment.
pub(crate) fn check_ending(
    ending: Ending,
    live: &Live,
    service: &Service,
    scenario: &Scenario,
) -> Result<(), Broken> {
    let history = &service.history;
    let target = service.find(Name::Target);
    let rows = target.map_or(Bits(0), |target| service.table(target).rows);
    let is_true = match ending {
        Ending::Loaded { winner, joined } => {
            let set = Bits(0).with(service.set_of(winner.nonce));
            let holds = match (scenario.mode, winner.suffix) {
                (Mode::Append, _) => rows == set,
                (Mode::Replace, TableSuffix::Rows) => rows == set && target.map(table_id) == winner.table,
                (Mode::Replace, _) => rows == Bits(0) && target.map(table_id) == winner.table,
            };
            let is_ours = live.attempt.own().is_some_and(|own| own.nonce == winner.nonce);
            return if holds && joined != is_ours { Ok(()) } else { Err(Broken::LoadedFalsely) };
        }
        Ending::NothingToLoad => {
            scenario.mode == Mode::Append && scenario.empty_store.is_some() && rows == Bits(0)
        }
        Ending::Abandoned | Ending::AbandonedByOthers => {
            let generation = live.attempt.generation();
            rows.iter().all(|set| history.won[usize::from(set)] > generation + 1)
        }
        // They may have been replaced in turn since it looked.
        Ending::Superseded => history.outsiders,
        Ending::RunTooOld => {
            let oldest = service.drawn.iter().flatten().min();
            oldest.is_some_and(|oldest| u64::from(service.now - oldest) > scenario.lifetime.propose)
        }
        Ending::LoadFailed | Ending::LoadStuck => history.job_failed,
        Ending::CommitFailed => history.failed_commits > 2,
        // A creation that arrives when retention has taken the session makes an empty one.
        Ending::WinnerGone | Ending::WinnerChanged => history.expired,
        _ => return Err(Broken::Impossible(ending)),
    };
    if is_true { Ok(()) } else { Err(Broken::EndedFalsely(ending)) }
}

/// Lone runs that were tried already: most states differ in the attempts alone, which do not matter to one that comes
/// when they are dead.
#[derive(Default)]
pub(crate) struct LoneRuns {
    tried: Mutex<HashSet<u64>>,
}

impl LoneRuns {
    /// Whether a fresh attempt, and one with the state of each process, end well when all others die in this state, be
    /// the calls in flight lost or just about to arrive.
    pub(crate) fn end_well(&self, world: &World, scenario: &Scenario) -> bool {
        self.first_failure(world, scenario).is_none()
    }

    /// What a lone attempt ends with that it must not.
    pub(crate) fn first_failure(&self, world: &World, scenario: &Scenario) -> Option<Broken> {
        let saved = world.processes.iter().filter_map(|process| match process {
            Process::Live(Live { saved, .. }) | Process::Idle { saved, .. } => *saved,
            Process::Ended => None,
        });
        let starts = saved.map(Start::Resuming).chain([Start::Fresh]);
        let arrivals = 0..=u8::from(world.in_flight[0].is_some());
        let mut runs = starts.flat_map(|start| arrivals.clone().map(move |arrives| (start, arrives > 0)));
        runs.find_map(|(start, arrives)| self.run(world, start, arrives, scenario).err())
    }

    fn run(&self, world: &World, start: Start, arrives: bool, scenario: &Scenario) -> Result<(), Broken> {
        let mut service = world.service;
        if arrives {
            for request in world.in_flight.iter().flatten() {
                if let (_, Some(broken)) = service.apply(*request, scenario.performs_again) {
                    return Err(broken);
                }
            }
        }
        let mut hasher = DefaultHasher::new();
        (service, start).hash(&mut hasher);
        if !self.tried.lock().expect("nobody panicked").insert(hasher.finish()) {
            return Ok(());
        }
        run_alone(service, start, scenario)
    }
}

fn run_alone(mut service: Service, start: Start, scenario: &Scenario) -> Result<(), Broken> {
    let mut live = Live::start(scenario, usize::MAX, Purpose::Load, start);
    for _step in 0..MAX_STEPS {
        if let Some(ending) = live.has_ended() {
            return check_lone_ending(ending, &service, scenario);
        }
        match live.call(&service) {
            Call::Look => {
                if live.waits() {
                    end_all_work(&mut service)?;
                }
                live.look(&mut service, scenario)?;
            }
            Call::Change(request) => {
                let (sent, broken) = service.apply(request, scenario.performs_again);
                broken.map_or(Ok(()), Err)?;
                live.note_sending(&service);
                live.answered(sent, &mut service, scenario)?;
            }
        }
    }
    Err(Broken::LoneNeverEnds)
}

fn end_all_work(service: &mut Service) -> Result<(), Broken> {
    for set in 0..7 {
        match service.set(set).map(|session| session.status) {
            Some(Status::Performing) => service.set_status(set, Status::Ready),
            Some(Status::Committing) => service.end_commit(set).map_or(Ok(()), Err)?,
            _ => {}
        }
    }
    Ok(())
}

/// Alone and without faults an attempt loads; or it must not, because of what others did.
fn check_lone_ending(ending: Ending, service: &Service, scenario: &Scenario) -> Result<(), Broken> {
    let is_fair = match ending {
        Ending::NothingToLoad => scenario.empty_store == Some(service.store),
        // Their truth was checked when they were said.
        Ending::Loaded { .. }
        | Ending::Superseded
        | Ending::RunTooOld
        | Ending::WinnerGone
        | Ending::WinnerChanged => true,
        _ => false,
    };
    if is_fair { Ok(()) } else { Err(Broken::LoneEnds(ending)) }
}
