//! Counts how often an assumption held, and turns the counts into a finding.

use crate::check::finding::{CheckId, Finding, Settled};
use crate::diagnosis::{Code, Diagnosis};
use crate::telemetry::words;

const HINT: &str = "runs rely on this (docs/guarantees.md): send the line to Treasure Data's support and to the maintainers of \
                    yotpo-td before several attempts share a run";

/// Treasure Data does not do what runs rely on.
#[derive(Debug, thiserror::Error)]
#[error("contradicted: {0}")]
struct Contradicted(String);

/// The observations of one assumption.
#[derive(Debug)]
pub(super) struct Tally {
    id: CheckId,
    question: &'static str,
    held: u64,
    unclear: u64,
    contradiction: Option<String>,
    settled: Vec<Settled>,
}

impl Tally {
    /// No observation yet. `question` is the assumption as a question whose expected answer is yes.
    pub(super) const fn new(id: CheckId, question: &'static str) -> Self {
        Self { id, question, held: 0, unclear: 0, contradiction: None, settled: Vec::new() }
    }

    /// It held in one try.
    pub(super) fn held(&mut self) {
        self.held += 1;
    }

    /// One try showed nothing, because a response was lost.
    pub(super) fn unclear(&mut self) {
        self.unclear += 1;
    }

    /// It did not hold. The first contradiction is reported.
    pub(super) fn contradicted(&mut self, what: impl Into<String>) {
        self.contradiction.get_or_insert_with(|| what.into());
    }

    /// Whether it did not hold.
    pub(super) const fn is_contradicted(&self) -> bool {
        self.contradiction.is_some()
    }

    /// Adds what was observed about a further open question, unless something was observed before.
    pub(super) fn settle(&mut self, question: &'static str, answer: impl Into<String>) {
        if !self.settled.iter().any(|settled| settled.question == question) {
            self.settled.push(Settled { question, answer: answer.into() });
        }
    }

    /// Whether there is any observation.
    pub(super) const fn is_empty(&self) -> bool {
        self.held == 0 && self.unclear == 0 && self.contradiction.is_none()
    }

    /// The finding; `None` without any observation.
    pub(super) fn finding(self) -> Option<Finding> {
        if self.is_empty() {
            return None;
        }
        let Self { id, question, held, unclear, contradiction, settled } = self;
        let tries = held + u64::from(contradiction.is_some());
        let finding = match contradiction {
            Some(what) => {
                let diagnosis = Diagnosis::new(Code::AssumptionContradicted, Some(HINT.to_owned()));
                Finding::failed_with(id, Contradicted(what.clone()), diagnosis)
                    .settling(question, format!("no: {what}"))
            }
            None if held > 0 => {
                let verdict = format!("not contradicted in {}", tries_of(held));
                Finding::passed(id, verdict.clone()).settling(question, verdict)
            }
            None => Finding::warning(
                id,
                format!("unclear in {}: responses were lost", tries_of(unclear)),
                "run the command again",
            ),
        };
        let mut finding = finding.with_fact("tries", tries).with_fact("unclear", unclear);
        finding.settled.extend(settled);
        Some(finding)
    }
}

fn tries_of(number: u64) -> String {
    words::count(number, "try", "tries")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Verdict;
    use crate::exit_status::ExitStatus;

    fn tally() -> Tally {
        Tally::new(CheckId::ProbeCreate, "Does it hold?")
    }

    #[test]
    fn a_verdict_says_in_how_many_tries_nothing_contradicted_it() {
        assert!(tally().finding().is_none());
        let mut held = tally();
        held.held();
        held.unclear();
        assert_eq!(held.finding().unwrap().seen, "not contradicted in 1 try");
        let mut held = tally();
        (0..3).for_each(|_| held.held());
        let finding = held.finding().unwrap();
        assert_eq!(
            (finding.verdict, finding.seen.as_str()),
            (Verdict::Passed, "not contradicted in 3 tries")
        );
        let mut unclear = tally();
        unclear.unclear();
        assert_eq!(unclear.finding().unwrap().verdict, Verdict::Warning);
    }

    #[test]
    fn further_questions_keep_their_first_answers() {
        let mut tally = tally();
        tally.held();
        for (question, answer) in [("Which name?", "the old one"), ("Which status?", "uploading")] {
            tally.settle(question, answer);
            tally.settle(question, "another");
        }
        let settled = tally.finding().unwrap().settled;
        let settled: Vec<_> =
            settled.iter().map(|settled| (settled.question, settled.answer.as_str())).collect();
        let expected = [
            ("Does it hold?", "not contradicted in 1 try"),
            ("Which name?", "the old one"),
            ("Which status?", "uploading"),
        ];
        assert_eq!(settled, expected);
    }

    #[test]
    fn one_contradiction_outweighs_all_other_tries_and_needs_attention() {
        let mut tally = tally();
        tally.held();
        tally.contradicted("two of 4 calls succeeded");
        tally.contradicted("another");
        let finding = tally.finding().unwrap();
        assert_eq!(
            (finding.verdict, finding.seen.as_str()),
            (Verdict::Failed, "contradicted: two of 4 calls succeeded")
        );
        assert!(finding.facts.contains(&("tries", 2.into())), "{:?}", finding.facts);
        assert_eq!(finding.failure.unwrap().diagnosis.status, ExitStatus::NeedsAttention);
        assert_eq!(finding.settled[0].answer, "no: two of 4 calls succeeded");
    }
}
