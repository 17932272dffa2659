//! No attempt repeats steps without a wait, whatever the service answers: the graph of all attempts is searched for cycles.
//!
//! The service may answer each step with any result of that step. [`Attempt::setbacks`] and [`Attempt::generation`] only
//! grow and are bounded, so a transition that counts one of them is in no cycle; its successor is searched with both at
//! their start, which leaves a finite graph. An endless path stays in one cycle of it.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::*;

/// A transition to the node with this number, and what it costs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Edge {
    to: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// It takes no time and counts nothing.
    Free,
    /// Its step waits.
    Wait,
    /// The executor waits before it returns this result, and limits how often it does: see `Executor::series`.
    Unclear,
    /// It counts a setback or begins a generation.
    Counted,
}

struct Graph {
    steps: Vec<Step>,
    edges: Vec<Vec<Edge>>,
    /// For the message of a failure.
    attempts: Vec<Attempt>,
}

/// What the service calls tables and sessions. Two tables and two winners are enough: a set is for the target or for
/// another table, and the winner is this attempt's set or another one.
#[derive(Clone, Copy)]
struct Service {
    mode: Mode,
    /// Whether the API key may read the ids of tables.
    has_ids: bool,
}

impl Service {
    fn winners(self) -> Vec<Winner> {
        let target = if self.has_ids { target() } else { TableId::unknown() };
        let table = (self.mode == Mode::Replace).then(|| self.temporary());
        let own = Winner { target, table, ..other_winner(self.mode) };
        let other = Winner { nonce: nonce(5), table: table.map(|_| foreign()), ..own };
        let own = Winner { nonce: nonce(10), ..own };
        let empty = (self.mode == Mode::Replace).then_some(Winner { suffix: TableSuffix::Empty, ..own });
        [own, other].into_iter().chain(empty).collect()
    }

    fn temporary(self) -> TableId {
        if self.has_ids { temporary() } else { TableId::unknown() }
    }

    fn targets(self) -> Vec<TargetSeen> {
        let ids = match (self.has_ids, self.mode) {
            (false, _) => return vec![TargetSeen::Denied],
            (true, Mode::Append) => [target(), foreign()],
            (true, Mode::Replace) => [target(), temporary()],
        };
        ids.into_iter().map(TargetSeen::Is).chain([TargetSeen::Missing]).collect()
    }
}

fn sets() -> Vec<SetSeen> {
    let jobs = [JobSeen::None, JobSeen::Failed, JobSeen::Working].map(SetSeen::Frozen);
    let counts = [CountsSeen::Unknown, CountsSeen::Proven, CountsSeen::Wrong].map(SetSeen::Ready);
    let performing = [false, true].map(|ended| SetSeen::Performing { ended });
    let others = [SetSeen::Absent, SetSeen::Open, SetSeen::Committing, SetSeen::Committed, SetSeen::Invalid];
    others.into_iter().chain(jobs).chain(counts).chain(performing).collect()
}

/// Every result that the step of an attempt may have.
fn results(service: Service, attempt: &Attempt, step: Step) -> Vec<Seen> {
    let sent = [Sent::Done, Sent::Conflict, Sent::TableGone, Sent::SessionGone, Sent::Unclear];
    let abandons = [nonce(7)];
    match step {
        Step::Survey => {
            let committed = service.winners().into_iter().map(Some).chain([None]);
            let survey = |committed| {
                service.targets().into_iter().map(move |target| Survey {
                    target,
                    committed,
                    oldest: None,
                    other_protocol: None,
                })
            };
            committed.flat_map(survey).map(Seen::Surveyed).collect()
        }
        Step::ReadTarget => service.targets().into_iter().map(Seen::Target).collect(),
        Step::ShowBallot(_) => {
            let tables = service.winners().into_iter().map(BallotTable::Set);
            let tables = tables.chain(abandons.map(BallotTable::Abandon));
            let tables = tables.chain([BallotTable::Target, BallotTable::Foreign]).map(BallotSeen::OnTable);
            let ballots: Vec<_> = match service.mode {
                Mode::Append => vec![BallotSeen::Absent, BallotSeen::Open, BallotSeen::Frozen],
                Mode::Replace => tables.chain([BallotSeen::Absent]).collect(),
            };
            ballots.into_iter().map(Seen::Ballot).collect()
        }
        Step::ListBallot(_) => {
            let proposals = service.winners().into_iter().map(proposal_of);
            let proposals = proposals.chain(abandons.map(|nonce| Proposal::Abandon { nonce })).map(Some);
            let refused = [Sent::TableGone, Sent::SessionGone].map(Seen::Sent);
            proposals.chain([None]).map(Seen::Proposals).chain(refused).collect()
        }
        Step::DrawNonce => {
            let late = attempt.younger_than.map(|_| nonce(6));
            late.into_iter().chain([nonce(10)]).map(Seen::Nonce).collect()
        }
        Step::Fetch(_) => vec![Seen::FirstRows, Seen::NoCustomers],
        Step::ReadScratch(_) => [None, Some(service.temporary())].map(Seen::Table).to_vec(),
        // A table with another id is treated like none.
        Step::ReadTemporary(set) => [None, set.table].map(Seen::Table).to_vec(),
        Step::ShowOwn(_) | Step::ShowWinner(_) => sets().into_iter().map(Seen::Set).collect(),
        Step::TidyParts(_) | Step::ProveParts(_) => {
            [PartsSeen::Stored, PartsSeen::Complete(TOTALS), PartsSeen::Differ].map(Seen::Parts).to_vec()
        }
        Step::Upload(_) => [
            UploadEnd::Complete(TOTALS),
            UploadEnd::BallotMoved,
            UploadEnd::SessionLost,
            UploadEnd::NothingFurther,
        ]
        .map(Seen::Uploaded)
        .to_vec(),
        Step::Guard(_) => vec![Seen::GuardsPassed],
        Step::CreateTarget => sent.into_iter().chain([Sent::Denied]).map(Seen::Sent).collect(),
        Step::CreateScratch(_)
        | Step::NameTemporary(_)
        | Step::CreateSession(_)
        | Step::FreezeOwn(_)
        | Step::Perform(_)
        | Step::CreateBallot(..)
        | Step::Propose(..)
        | Step::FreezeBallot(_)
        | Step::Commit(_)
        | Step::Publish(_) => sent.map(Seen::Sent).to_vec(),
        Step::Fence(_) | Step::Discard(_) | Step::Wait => vec![Seen::Done],
        Step::Finish(_) => Vec::new(),
    }
}

/// Removes what no decision depends on, and the two counters that only grow.
fn reduced(attempt: &Attempt) -> Attempt {
    let mut attempt = *attempt;
    attempt.setbacks = 0;
    attempt.generation = 0;
    attempt.now = 0;
    attempt.oldest = Some(NOW);
    attempt.performs = attempt.performs.min(1);
    attempt.discarded = attempt.discarded.map(|_| planned());
    attempt
}

/// The attempts with each number of polls, commits and renames that an attempt with more of them may have: only what
/// they are compared with distinguishes them.
fn with_counters(attempt: &Attempt) -> Vec<Attempt> {
    let polls: &[u8] = match attempt.polls {
        0 => &[0],
        1 | 2 => &[0, 2],
        _ => &[2, 10],
    };
    let commits: &[u8] = match attempt.commits {
        0 => &[0],
        _ => &[1, 3],
    };
    let renames: &[u8] = match attempt.renames {
        0 => &[0],
        _ => &[1, 5],
    };
    let mut attempts = Vec::new();
    for polls in polls {
        for commits in commits {
            for renames in renames {
                attempts.push(Attempt { polls: *polls, commits: *commits, renames: *renames, ..*attempt });
            }
        }
    }
    attempts
}

impl Graph {
    fn of(service: Service, purpose: Purpose) -> Self {
        let mut graph = Self { steps: Vec::new(), edges: Vec::new(), attempts: Vec::new() };
        let mut numbers = HashMap::new();
        let attempt = Attempt::new(service.mode, purpose, LIFETIME).accepting_unknown_tables();
        let (attempt, step) = attempt.begin();
        graph.number(&mut numbers, &reduced(&attempt), step);
        let mut next = 0;
        while next < graph.steps.len() {
            let (attempt, step) = (graph.attempts[next], graph.steps[next]);
            for seen in results(service, &attempt, step) {
                for now in [NOW + 20, NOW + 2_500] {
                    let (then, then_step) = attempt.decide(seen, now);
                    let kind = kind(&attempt, step, seen, &then);
                    for then in with_counters(&reduced(&then)) {
                        let edge = Edge { to: graph.number(&mut numbers, &then, then_step), kind };
                        if !graph.edges[next].contains(&edge) {
                            graph.edges[next].push(edge);
                        }
                    }
                }
            }
            next += 1;
        }
        graph
    }

    fn number(&mut self, numbers: &mut HashMap<Attempt, u32>, attempt: &Attempt, step: Step) -> u32 {
        let new = u32::try_from(self.steps.len()).unwrap();
        let number = *numbers.entry(*attempt).or_insert(new);
        if number == new {
            self.steps.push(step);
            self.edges.push(Vec::new());
            self.attempts.push(*attempt);
        }
        number
    }

    /// The strongly connected components with a transition of these kinds inside: every cycle is in one of them.
    /// Tarjan's algorithm, without recursion because paths are long.
    fn cycles(&self, kinds: &[Kind]) -> Vec<Vec<usize>> {
        const UNSEEN: usize = usize::MAX;
        let nodes = self.steps.len();
        let (mut order, mut low, mut is_open) = (vec![UNSEEN; nodes], vec![0; nodes], vec![false; nodes]);
        let (mut open, mut cycles, mut count) = (Vec::new(), Vec::new(), 0);
        for root in 0..nodes {
            let mut path = if order[root] == UNSEEN { vec![(root, 0)] } else { Vec::new() };
            while let Some((node, next)) = path.pop() {
                if next == 0 {
                    (order[node], low[node], is_open[node]) = (count, count, true);
                    open.push(node);
                    count += 1;
                }
                if let Some(edge) = self.edges[node].get(next) {
                    path.push((node, next + 1));
                    let to = edge.to as usize;
                    if !kinds.contains(&edge.kind) {
                        continue;
                    }
                    if order[to] == UNSEEN {
                        path.push((to, 0));
                    } else if is_open[to] {
                        low[node] = low[node].min(order[to]);
                    }
                    continue;
                }
                if let Some((parent, _)) = path.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
                if low[node] == order[node] {
                    let first = open.iter().rposition(|other| *other == node).unwrap();
                    let component = open.split_off(first);
                    for node in &component {
                        is_open[*node] = false;
                    }
                    let is_loop = |edge: &Edge| edge.to as usize == node && kinds.contains(&edge.kind);
                    if component.len() > 1 || self.edges[node].iter().any(is_loop) {
                        cycles.push(component);
                    }
                }
            }
        }
        cycles
    }

    /// The transitions of these kinds inside a component, by the step that they belong to.
    fn steps_with(&self, component: &[usize], kinds: &[Kind]) -> BTreeSet<&'static str> {
        let members: HashSet<_> = component.iter().copied().collect();
        let is_inside = |edge: &Edge| members.contains(&(edge.to as usize)) && kinds.contains(&edge.kind);
        let nodes = component.iter().filter(|node| self.edges[**node].iter().any(is_inside));
        nodes.map(|node| self.steps[*node].name()).collect()
    }

    fn assert_no_cycle_without_a_wait(&self) {
        let hot = self.cycles(&[Kind::Free]);
        let names: Vec<_> = hot.iter().map(|cycle| self.steps_with(cycle, &[Kind::Free])).collect();
        assert!(
            hot.is_empty(),
            "steps are repeated without a wait: {names:?}\n{:#?}",
            self.attempts[hot[0][0]]
        );
        // Every other result of the same step ends the series of retries, whose length is limited.
        for cycle in self.cycles(&[Kind::Free, Kind::Unclear]) {
            let retried = self.steps_with(&cycle, &[Kind::Unclear]);
            let others = self.steps_with(&cycle, &[Kind::Free]);
            let both: Vec<_> = retried.intersection(&others).collect();
            assert!(both.is_empty(), "retries are not limited: {both:?}\n{:#?}", self.attempts[cycle[0]]);
        }
    }
}

/// What a transition costs.
fn kind(attempt: &Attempt, step: Step, seen: Seen, then: &Attempt) -> Kind {
    let is_counted = then.setbacks > 0 || then.generation > 0;
    let falls = then.commits < attempt.commits || then.renames < attempt.renames;
    assert!(is_counted || !falls, "the commits and renames of another winner are not limited: {attempt:#?}");
    if is_counted || then.commits > attempt.commits || then.renames > attempt.renames {
        return Kind::Counted;
    }
    match (step, seen) {
        (Step::Wait, _) => Kind::Wait,
        (_, Seen::Sent(Sent::Unclear)) => Kind::Unclear,
        _ => Kind::Free,
    }
}

#[test]
#[ignore = "a large search: make sweeps runs it"]
fn no_append_repeats_steps_without_a_wait() {
    let service = Service { mode: Mode::Append, has_ids: true };
    Graph::of(service, Purpose::Load).assert_no_cycle_without_a_wait();
}

#[test]
#[ignore = "a large search: make sweeps runs it"]
fn no_replace_repeats_steps_without_a_wait() {
    let service = Service { mode: Mode::Replace, has_ids: true };
    Graph::of(service, Purpose::Load).assert_no_cycle_without_a_wait();
}

#[test]
#[ignore = "a large search: make sweeps runs it"]
fn no_abandonment_and_no_attempt_without_table_ids_repeats_steps_without_a_wait() {
    for mode in BOTH {
        for (has_ids, purpose) in
            [(true, Purpose::Abandon), (false, Purpose::Abandon), (false, Purpose::Load)]
        {
            Graph::of(Service { mode, has_ids }, purpose).assert_no_cycle_without_a_wait();
        }
    }
}
