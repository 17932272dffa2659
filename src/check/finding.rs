//! What a check found: its verdict, what was seen, what to do.
//!
//! Owns the names of the checks and what a list of findings means: the first failed one decides the exit status. It holds
//! counts, generated names and redacted texts only, never customers, tokens or keys.

use std::error::Error;

use serde_json::Value;

use crate::diagnosis::Diagnosis;
use crate::run::RunError;
use crate::shutdown::Signal;

macro_rules! checks {
    ($($(#[$documentation:meta])* $variant:ident $name:literal),+ $(,)?) => {
        /// A check. Its name is stable: programs read it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CheckId {
            $($(#[$documentation])* $variant,)+
        }

        impl CheckId {
            /// Every check, in the order in which it is reported.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in the table and in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

checks! {
    /// The settings are complete and valid.
    Settings "settings",
    /// The state directory can be read.
    StateDir "state_dir",
    /// The clients of both services can be set up; for https, the root certificates.
    Certificates "certificates",
    /// The name of Yotpo's server resolves.
    YotpoDns "yotpo_dns",
    /// Yotpo's server accepts a connection.
    YotpoConnection "yotpo_connection",
    /// The certificate of Yotpo's server is trusted.
    YotpoTls "yotpo_tls",
    /// Yotpo issues an access token.
    YotpoToken "yotpo_token",
    /// Yotpo lists customers.
    YotpoPage "yotpo_page",
    /// Customers have loyalty data.
    YotpoLoyalty "yotpo_loyalty",
    /// The second page can be requested.
    YotpoCursor "yotpo_cursor",
    /// Responses report the rate limit.
    YotpoRateLimit "yotpo_rate_limit",
    /// The name of Treasure Data's server resolves.
    TreasureDataDns "treasure_data_dns",
    /// Treasure Data's server accepts a connection.
    TreasureDataConnection "treasure_data_connection",
    /// The certificate of Treasure Data's server is trusted.
    TreasureDataTls "treasure_data_tls",
    /// The API key is accepted, and its kind is enough for the mode.
    TreasureDataKey "treasure_data_key",
    /// The database exists.
    Database "database",
    /// The table exists or can be created.
    Table "table",
    /// The column has the right type.
    Columns "columns",
    /// Sessions and tables that earlier runs left.
    Leftovers "leftovers",
    /// The machine's clock.
    Clock "clock",
    /// How long a run takes.
    Estimate "estimate",
    /// Creating a session succeeds for exactly one caller.
    ProbeCreate "probe_create",
    /// A part of the same name is overwritten.
    ProbeOverwrite "probe_overwrite",
    /// A frozen session accepts no uploads.
    ProbeFrozen "probe_frozen",
    /// The list of parts is current after a freeze.
    ProbeList "probe_list",
    /// An open session cannot be performed.
    ProbePerform "probe_perform",
    /// A table keeps its id in a rename.
    ProbeTableId "probe_table_id",
    /// What is reported of a session whose table is deleted.
    ProbeLostTable "probe_lost_table",
    /// What the probes created is deleted.
    ProbeCleanup "probe_cleanup",
}

impl CheckId {
    /// The service whose open questions it answers.
    pub fn service(self) -> &'static str {
        if self.name().starts_with("yotpo_") { "Yotpo" } else { "Treasure Data" }
    }
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A run can rely on it.
    Passed,
    /// A run would fail.
    Failed,
    /// A run would succeed, but someone should look at it.
    Warning,
    /// It could not be checked.
    Skipped,
}

impl Verdict {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Warning => "warning",
            Self::Skipped => "skipped",
        }
    }
}

/// Why a check failed, and what that means for the exit status.
#[derive(Debug)]
pub struct CheckFailure {
    /// What went wrong.
    pub error: Box<dyn Error + Send + Sync>,
    /// What it means.
    pub diagnosis: Diagnosis,
}

/// A question that the documentation of a service leaves open, with what was observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The question.
    pub question: &'static str,
    /// What this account showed.
    pub answer: String,
}

/// What a check found.
#[derive(Debug)]
pub struct Finding {
    /// The check.
    pub id: CheckId,
    /// Its result.
    pub verdict: Verdict,
    /// What was seen, or why it was skipped.
    pub seen: String,
    /// What to do.
    pub hint: Option<String>,
    /// Why it failed.
    pub failure: Option<CheckFailure>,
    /// Numbers and words for programs.
    pub facts: Vec<(&'static str, Value)>,
    /// Open questions that it answers.
    pub settled: Vec<Settled>,
}

impl Finding {
    fn new(id: CheckId, verdict: Verdict, seen: impl Into<String>) -> Self {
        let seen = seen.into();
        Self { id, verdict, seen, hint: None, failure: None, facts: Vec::new(), settled: Vec::new() }
    }

    /// A run can rely on it.
    pub(super) fn passed(id: CheckId, seen: impl Into<String>) -> Self {
        Self::new(id, Verdict::Passed, seen)
    }

    /// Someone should look at it.
    pub(super) fn warning(id: CheckId, seen: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::new(id, Verdict::Warning, seen) }
    }

    /// It could not be checked.
    pub(super) fn skipped(id: CheckId, reason: impl Into<String>) -> Self {
        Self::new(id, Verdict::Skipped, reason)
    }

    /// A run would fail with this error. What a run says first, that it could not fetch or load, is not said of a check.
    pub(super) fn failed(id: CheckId, error: impl Into<RunError>) -> Self {
        let error = error.into();
        let diagnosis = error.diagnosis();
        match error {
            RunError::Yotpo(error) => Self::failed_with(id, error, diagnosis),
            RunError::TreasureData(error) => Self::failed_with(id, error, diagnosis),
            error => Self::failed_with(id, error, diagnosis),
        }
    }

    /// A run would fail with this error, which means `diagnosis`.
    pub(super) fn failed_with(
        id: CheckId,
        error: impl Into<Box<dyn Error + Send + Sync>>,
        diagnosis: Diagnosis,
    ) -> Self {
        let error = error.into();
        let seen = describe(error.as_ref());
        let hint = diagnosis.hint.clone();
        Self {
            hint,
            failure: Some(CheckFailure { error, diagnosis }),
            ..Self::new(id, Verdict::Failed, seen)
        }
    }

    /// Adds a number or a word for programs.
    #[must_use]
    pub(super) fn with_fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((name, value.into()));
        self
    }

    /// Adds an open question that was answered.
    #[must_use]
    pub(super) fn settling(mut self, question: &'static str, answer: impl Into<String>) -> Self {
        self.settled.push(Settled { question, answer: answer.into() });
        self
    }
}

/// Skips several checks for one reason.
pub(super) fn skip(ids: &[CheckId], reason: &str) -> Vec<Finding> {
    ids.iter().map(|id| Finding::skipped(*id, reason)).collect()
}

/// An error with everything behind it, in one line.
pub(super) fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    let mut last = text.clone();
    while let Some(cause) = source {
        let words = cause.to_string();
        if words != last && !words.is_empty() {
            text = format!("{text}: {words}");
        }
        last = words;
        source = cause.source();
    }
    text
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Report {
    /// The findings, in the order of [`CheckId::ALL`].
    pub findings: Vec<Finding>,
    /// The signal that ended the checks early.
    pub interrupted: Option<Signal>,
    /// When it was checked, Unix seconds.
    pub checked_at: u64,
}

impl Report {
    /// How many checks have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// The first failed check, which decides the exit status.
    pub fn first_failed(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.verdict == Verdict::Failed)
    }

    /// What the failure of the first failed check is, taken out of the report.
    pub fn take_first_failure(&mut self) -> Option<(CheckId, CheckFailure)> {
        self.findings.iter_mut().find_map(|finding| Some((finding.id, finding.failure.take()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::diagnosis::Code;
    use crate::exit_status::ExitStatus;
    use crate::http::{CallError, Effect};
    use crate::treasure_data::TreasureDataError;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Words(&'static str, #[source] Option<Box<Self>>);

    fn failed(id: CheckId, code: Code) -> Finding {
        Finding::failed_with(id, Words("denied", None), Diagnosis::new(code, Some("do it".to_owned())))
    }

    #[test]
    fn names_are_words_and_different() {
        let names: BTreeSet<_> = CheckId::ALL.iter().map(|id| id.name()).collect();
        assert_eq!(names.len(), CheckId::ALL.len());
        let is_word = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(names.iter().all(is_word), "{names:?}");
    }

    #[test]
    fn the_first_failed_check_decides_and_warnings_do_not() {
        let warning = || Finding::warning(CheckId::Clock, "off", "correct it");
        let mut report = Report { findings: vec![warning()], ..Report::default() };
        assert!(report.first_failed().is_none() && report.take_first_failure().is_none());
        report.findings.extend([
            failed(CheckId::TreasureDataKey, Code::TreasureDataPermissionDenied),
            failed(CheckId::Database, Code::TreasureDataNoDatabase),
        ]);
        assert_eq!(report.first_failed().unwrap().id, CheckId::TreasureDataKey);
        let (id, failure) = report.take_first_failure().unwrap();
        assert_eq!((id, failure.diagnosis.status), (CheckId::TreasureDataKey, ExitStatus::Denied));
        let counts =
            [Verdict::Passed, Verdict::Failed, Verdict::Warning].map(|verdict| report.count(verdict));
        assert_eq!(counts, [0, 2, 1]);
    }

    #[test]
    fn a_check_does_not_say_that_it_could_not_fetch_or_load() {
        let status = http::StatusCode::NOT_FOUND;
        let source = CallError::status("show the database", Effect::Repeatable, status, None, None);
        let error = TreasureDataError::NoDatabase { database: None, source };
        let finding = Finding::failed(CheckId::Database, error);
        assert!(!finding.seen.contains("could not load"), "{}", finding.seen);
        let failure = finding.failure.unwrap();
        assert_eq!(failure.diagnosis.code, Code::TreasureDataNoDatabase);
        assert!(!failure.error.to_string().contains("could not load"), "{}", failure.error);
    }

    #[test]
    fn an_error_is_described_with_its_causes_once_each() {
        let cause =
            Words("refused", Some(Box::new(Words("refused", Some(Box::new(Words("port closed", None)))))));
        assert_eq!(describe(&Words("no token", Some(Box::new(cause)))), "no token: refused: port closed");
    }
}
