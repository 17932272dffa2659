//! The properties: checked where they could be violated, and from every state by a lone attempt that runs to its end.
//!
//! Owns the properties. Each has a value of [`Violation`], so that a search reports which one is violated.

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

/// Maximum number of steps of a lone attempt.
const MAX_STEPS: usize = 600;

/// A violated property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Violation {
    /// Two sets of one run are in the same table.
    CommittedTwice,
    /// An incomplete set is in a table.
    CommittedIncomplete,
    /// A set is committed that no ballot chose.
    CommittedLoser,
    /// A set is committed although the sender did not check the target.
    CommittedUnchecked,
    /// A generation loads something although an attempt reported that it never will.
    CommittedAbandoned,
    /// A table without a committed winner is published.
    PublishedUnproven,
    /// A table is published over another set of the run.
    PublishedOverOwn,
    /// A table is published over that of a newer run.
    PublishedOverNewer,
    /// A table is published although the sender did not check the target.
    PublishedUnchecked,
    /// An older run's table is published over one of this run.
    OlderOverOwn,
    /// An attempt changes what another attempt created.
    ChangedOthers(Request),
    /// An attempt reports success, but the table does not contain what it reports.
    FalselyLoaded,
    /// An attempt ends with an incorrect reason.
    FalselyEnded(Ending),
    /// An attempt ends with a reason that is impossible.
    Impossible(Ending),
    /// A lone attempt ends without success and without a reason.
    LoneEnds(Ending),
    /// A lone attempt never ends.
    LoneNeverEnds,
}

/// Checks that an attempt changes only what it created, except for a winner that it completes.
pub(crate) fn check_call(process: usize, request: Request, service: &Service) -> Result<(), Violation> {
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
        Err(Violation::ChangedOthers(request))
    }
}

/// Checks that an ending is correct at this moment.
pub(crate) fn check_ending(
    ending: Ending,
    live: &Live,
    service: &Service,
    scenario: &Scenario,
) -> Result<(), Violation> {
    let history = &service.history;
    let target = service.find(Name::Target);
    let rows = target.map_or(Bits(0), |target| service.table(target).rows);
    let is_correct = match ending {
        Ending::Loaded { winner, joined } => {
            let set = Bits(0).with(service.set_of(winner.nonce));
            let is_loaded = match (scenario.mode, winner.suffix) {
                (Mode::Append, _) => rows == set,
                (Mode::Replace, TableSuffix::Rows) => rows == set && target.map(table_id) == winner.table,
                (Mode::Replace, _) => rows == Bits(0) && target.map(table_id) == winner.table,
            };
            let is_ours = live.attempt.own().is_some_and(|own| own.nonce == winner.nonce);
            return if is_loaded && joined != is_ours { Ok(()) } else { Err(Violation::FalselyLoaded) };
        }
        Ending::NothingToLoad => {
            scenario.mode == Mode::Append && scenario.empty_store.is_some() && rows == Bits(0)
        }
        Ending::Abandoned | Ending::AbandonedByOthers => {
            let generation = live.attempt.generation();
            rows.iter().all(|set| history.won[usize::from(set)] > generation + 1)
        }
        // They may have been replaced again since the check.
        Ending::Superseded => history.outsiders,
        Ending::RunTooOld => {
            let oldest = service.drawn.iter().flatten().min();
            oldest.is_some_and(|oldest| u64::from(service.now - oldest) > scenario.lifetime.propose)
        }
        Ending::LoadFailed => history.job_failed,
        Ending::LoadStuck => history.job_failed || history.ignored,
        Ending::PublishFailed => history.ignored,
        Ending::CommitFailed => history.failed_commits > 2,
        // A creation that arrives after retention has removed the session creates an empty one.
        Ending::WinnerGone | Ending::WinnerChanged => history.expired,
        _ => return Err(Violation::Impossible(ending)),
    };
    if is_correct { Ok(()) } else { Err(Violation::FalselyEnded(ending)) }
}

/// Lone attempts that were already tested. Most states differ only in the attempts, which do not affect a lone attempt
/// that starts after they were killed.
#[derive(Default)]
pub(crate) struct LoneRuns {
    tried: Mutex<HashSet<u64>>,
}

impl LoneRuns {
    /// Whether a fresh attempt, and one with the state of each process, end correctly if all others are killed in this
    /// state, whether the calls in flight are lost or arrive now.
    pub(crate) fn end_well(&self, world: &World, scenario: &Scenario) -> bool {
        self.first_failure(world, scenario).is_none()
    }

    /// The first violation by a lone attempt.
    pub(crate) fn first_failure(&self, world: &World, scenario: &Scenario) -> Option<Violation> {
        let saved = world.processes.iter().filter_map(|process| match process {
            Process::Live(Live { saved, .. }) | Process::Idle { saved, .. } => *saved,
            Process::Ended => None,
        });
        let starts = saved.map(Start::Resuming).chain([Start::Fresh]);
        let arrivals = 0..=u8::from(world.in_flight[0].is_some());
        let mut runs = starts.flat_map(|start| arrivals.clone().map(move |arrives| (start, arrives > 0)));
        runs.find_map(|(start, arrives)| self.run(world, start, arrives, scenario).err())
    }

    fn run(&self, world: &World, start: Start, arrives: bool, scenario: &Scenario) -> Result<(), Violation> {
        let mut service = world.service;
        if arrives {
            for request in world.in_flight.iter().flatten() {
                if let (_, Some(violation)) = service.apply(*request, scenario.performs_again) {
                    return Err(violation);
                }
            }
        }
        let mut hasher = DefaultHasher::new();
        (service, start).hash(&mut hasher);
        if !self.tried.lock().expect("no thread panicked").insert(hasher.finish()) {
            return Ok(());
        }
        run_alone(service, start, scenario)
    }
}

fn run_alone(mut service: Service, start: Start, scenario: &Scenario) -> Result<(), Violation> {
    let mut live = Live::start(scenario, usize::MAX, Purpose::Load, start);
    for _step in 0..MAX_STEPS {
        if let Some(ending) = live.has_ended() {
            return check_lone_ending(ending, &service, scenario);
        }
        match live.call(&service) {
            Call::Read => {
                if live.is_waiting() {
                    finish_all_work(&mut service)?;
                }
                live.read(&mut service, scenario)?;
            }
            Call::Change(request) => {
                let (sent, violation) = service.apply(request, scenario.performs_again);
                violation.map_or(Ok(()), Err)?;
                live.record_sending(&service);
                live.handle_response(sent, &mut service, scenario)?;
            }
        }
    }
    Err(Violation::LoneNeverEnds)
}

fn finish_all_work(service: &mut Service) -> Result<(), Violation> {
    for set in 0..7 {
        match service.set(set).map(|session| session.status) {
            Some(Status::Performing) => service.set_status(set, Status::Ready),
            Some(Status::Committing) => service.finish_commit(set).map_or(Ok(()), Err)?,
            _ => {}
        }
    }
    Ok(())
}

/// Alone and without faults, an attempt loads its rows, unless something that others did prevents it.
fn check_lone_ending(ending: Ending, service: &Service, scenario: &Scenario) -> Result<(), Violation> {
    let is_allowed = match ending {
        Ending::NothingToLoad => scenario.empty_store == Some(service.store),
        // They were checked when the attempt ended.
        Ending::Loaded { .. }
        | Ending::Superseded
        | Ending::RunTooOld
        | Ending::WinnerGone
        | Ending::WinnerChanged => true,
        _ => false,
    };
    if is_allowed { Ok(()) } else { Err(Violation::LoneEnds(ending)) }
}
