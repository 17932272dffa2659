//! Attempts and Treasure Data together: every order of calls, kills, restarts and faults.
//!
//! Owns the searched state and its transitions. A transition that violates a property ends the search of its branch;
//! [`World::violation`] contains the violation.

use std::hash::Hash;

use stateright::{Model, Property};
use yotpo_td::run::decide::{Ending, Sent};

use crate::attempt::{Call, Live, Saved, Start};
use crate::faults::{ATTEMPTS, Event, Faults, Scenario};
use crate::mutation;
use crate::properties::{LoneRuns, Violation};
use crate::reduction::is_private;
use crate::request::Request;
use crate::treasure_data::Service;

/// Maximum number of calls in flight.
const IN_FLIGHT: usize = 2;

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) service: Service,
    pub(crate) processes: [Process; ATTEMPTS],
    /// Calls that may still arrive.
    pub(crate) in_flight: [Option<Request>; IN_FLIGHT],
    pub(crate) left: Faults,
    pub(crate) violation: Option<Violation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::large_enum_variant, reason = "copied as a whole, most of them alive")]
pub(crate) enum Process {
    /// Not started yet, killed, or ended with an error, with the state file for the next process.
    Idle {
        saved: Option<Saved>,
        is_new: bool,
    },
    Live(Live),
    Ended,
}

/// The delivery of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Delivery {
    Normal,
    /// The response is lost; the call arrives at any time, or never.
    Delayed,
    /// There is a response, and the call arrives again at any time.
    Duplicated,
    /// The call is applied, its response is lost, and it is sent again immediately, with a response.
    Retried,
    /// There is a response, and the call is never applied.
    Ignored,
}

/// A transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Start(usize, StartKind),
    Call(usize, Delivery),
    SeeBallotMoved(usize),
    /// `saves`: it saved its state before the crash.
    Crash {
        process: usize,
        saves: bool,
    },
    Arrive(usize),
    Event(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum StartKind {
    Fresh,
    Resuming,
    Discarding,
}

/// A scenario, and the lone attempts that were already tested.
pub(crate) struct Search {
    pub(crate) scenario: Scenario,
    pub(crate) lone_runs: LoneRuns,
}

impl Model for Search {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let scenario = &self.scenario;
        let mut processes = [Process::Ended; ATTEMPTS];
        for process in processes.iter_mut().take(scenario.purposes.len()) {
            *process = Process::Idle { saved: None, is_new: true };
        }
        let service = Service::new(scenario.mode, scenario.target_exists, scenario.older_exists);
        let left = scenario.faults;
        vec![World { service, processes, in_flight: [None; IN_FLIGHT], left, violation: None }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.violation.is_some() {
            return;
        }
        let mut events = Vec::new();
        self.scenario.events(&world.service, world.left, &mut events);
        for (slot, request) in world.in_flight.iter().enumerate() {
            actions.extend(request.map(|_| Action::Arrive(slot)));
        }
        let private = self.private_process(world);
        let commutes = |event: &Event| private.is_some() && event.continues_attempts();
        actions.extend(events.into_iter().filter(|event| !commutes(event)).map(Action::Event));
        if let Some(process) = private {
            return world.add_actions_of(process, &self.scenario, actions);
        }
        (0..ATTEMPTS).for_each(|process| world.add_actions_of(process, &self.scenario, actions));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        if let Err(violation) = next.apply_action(action, &self.scenario) {
            next.violation = Some(violation);
        }
        next.normalize();
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no property is violated", |_, world: &World| world.violation.is_none()),
            Property::always("a lone attempt ends correctly", |search: &Self, world: &World| {
                world.violation.is_some() || search.lone_runs.end_well(world, &search.scenario)
            }),
        ]
    }
}

impl Search {
    fn private_process(&self, world: &World) -> Option<usize> {
        if !self.scenario.reduced {
            return None;
        }
        let is_private = |process: &Process| match process {
            Process::Live(live) => is_private(live, &world.service, &self.scenario),
            _ => false,
        };
        world.processes.iter().position(is_private)
    }
}

impl World {
    fn add_actions_of(&self, process: usize, scenario: &Scenario, actions: &mut Vec<Action>) {
        match &self.processes[process] {
            Process::Ended => {}
            Process::Idle { saved, is_new } => {
                // Attempts with the same purpose are interchangeable, so they start in order.
                let is_turn = process == 0
                    || self.processes[process - 1] != (Process::Idle { saved: None, is_new: true })
                    || scenario.purposes[process] != scenario.purposes[process - 1];
                if *is_new && is_turn || !*is_new && self.left.restarts > 0 {
                    actions.push(Action::Start(process, StartKind::Fresh));
                }
                if saved.is_some() && self.left.restarts > 0 {
                    actions.push(Action::Start(process, StartKind::Resuming));
                    actions.push(Action::Start(process, StartKind::Discarding));
                }
            }
            Process::Live(live) => {
                actions.push(Action::Call(process, Delivery::Normal));
                let changes = matches!(live.call(&self.service), Call::Change(_));
                if changes && self.left.messages > 0 && self.in_flight.contains(&None) {
                    for delivery in [Delivery::Delayed, Delivery::Duplicated, Delivery::Retried] {
                        actions.push(Action::Call(process, delivery));
                    }
                }
                if changes && self.left.ignored > 0 {
                    actions.push(Action::Call(process, Delivery::Ignored));
                }
                if live.can_see_ballot_moved(&self.service) {
                    actions.push(Action::SeeBallotMoved(process));
                }
                if self.left.crashes > 0 {
                    actions.push(Action::Crash { process, saves: false });
                    if changes {
                        actions.push(Action::Crash { process, saves: true });
                    }
                }
            }
        }
    }

    fn apply_action(&mut self, action: Action, scenario: &Scenario) -> Result<(), Violation> {
        match action {
            Action::Start(process, kind) => {
                let Process::Idle { saved, is_new } = self.processes[process] else { return Ok(()) };
                self.left.restarts -= u8::from(!is_new);
                let start = match (kind, saved) {
                    (StartKind::Resuming, Some(saved)) => Start::Resuming(saved),
                    (StartKind::Discarding, Some(saved)) => Start::Discarding(saved),
                    _ => Start::Fresh,
                };
                self.processes[process] =
                    Process::Live(Live::start(scenario, process, scenario.purposes[process], start));
                Ok(())
            }
            Action::Call(process, delivery) => self.call(process, delivery, scenario),
            Action::SeeBallotMoved(process) => {
                let Process::Live(live) = &mut self.processes[process] else { return Ok(()) };
                live.see_ballot_moved(&mut self.service, scenario)
            }
            Action::Crash { process, saves } => {
                self.left.crashes -= 1;
                let Process::Live(live) = &mut self.processes[process] else { return Ok(()) };
                if saves {
                    live.save();
                }
                self.processes[process] = Process::Idle { saved: live.saved, is_new: false };
                Ok(())
            }
            Action::Arrive(slot) => {
                let Some(request) = self.in_flight[slot].take() else { return Ok(()) };
                self.apply(request, scenario).map(|_sent| ())
            }
            Action::Event(event) => {
                self.service.apply_event(event, &mut self.left, scenario).map_or(Ok(()), Err)
            }
        }
    }

    fn apply(&mut self, request: Request, scenario: &Scenario) -> Result<Sent, Violation> {
        match self.service.apply(request, scenario.performs_again) {
            (sent, None) => Ok(sent),
            (_, Some(violation)) => Err(violation),
        }
    }

    fn call(&mut self, process: usize, delivery: Delivery, scenario: &Scenario) -> Result<(), Violation> {
        let Process::Live(mut live) = self.processes[process] else { return Ok(()) };
        match live.call(&self.service) {
            Call::Read => live.read(&mut self.service, scenario)?,
            Call::Change(request) => {
                live.save();
                live.record_sending(&self.service);
                crate::properties::check_call(process, request, &self.service)?;
                mutation::side_effect(scenario.mutation, process, request, &mut self.service);
                let sent = self.deliver(request, delivery, scenario)?;
                live.handle_response(sent, &mut self.service, scenario)?;
            }
        }
        self.processes[process] = match live.has_ended() {
            None => Process::Live(live),
            Some(Ending::Loaded { .. }) => Process::Ended,
            Some(_) => Process::Idle { saved: live.saved, is_new: false },
        };
        Ok(())
    }

    fn deliver(
        &mut self,
        request: Request,
        delivery: Delivery,
        scenario: &Scenario,
    ) -> Result<Sent, Violation> {
        match delivery {
            Delivery::Normal => {}
            Delivery::Ignored => self.left.ignored -= 1,
            Delivery::Delayed | Delivery::Duplicated | Delivery::Retried => self.left.messages -= 1,
        }
        if matches!(delivery, Delivery::Delayed | Delivery::Duplicated)
            && let Some(slot) = self.in_flight.iter_mut().find(|slot| slot.is_none())
        {
            *slot = Some(request);
        }
        match delivery {
            Delivery::Normal | Delivery::Duplicated => self.apply(request, scenario),
            Delivery::Delayed => Ok(Sent::Unclear),
            Delivery::Ignored => {
                self.service.history.ignored = true;
                Ok(Sent::Done)
            }
            Delivery::Retried => {
                self.apply(request, scenario)?;
                self.apply(request, scenario)
            }
        }
    }

    /// Removes what can no longer be used, so that equivalent states are equal.
    fn normalize(&mut self) {
        for process in &mut self.processes {
            if let Process::Idle { is_new: false, .. } = process
                && self.left.restarts == 0
            {
                *process = Process::Ended;
            }
        }
        if self.in_flight[0].is_none() {
            self.in_flight.swap(0, 1);
        }
    }
}
