//! The context of every step of a run, and the names derived from it.

use std::sync::Arc;

use super::journal::Journal;
use super::phases::Phases;
use super::settings::LoadSettings;
use crate::checkpoint::{RunState, SavedSet, StateStore};
use crate::clock::Clock;
use crate::identity::{
    BallotName, Fingerprint, Mode, Nonce, OwnSessionName, OwnTable, RunId, RunSession, SessionName, TableName,
};
use crate::retry::ClientUse;
use crate::run::decide::{OwnSet, Progress as SetProgress, Winner};
use crate::telemetry::{Progress, ServiceUse};
use crate::transfer::Quarantine;
use crate::treasure_data::TreasureDataClient;
use crate::yotpo::YotpoClient;

/// The services that a run uses. A clone in another thread can read how much they were used: see [`Self::usage`].
#[derive(Clone, Debug)]
pub struct Services {
    /// The store; `None` if only Treasure Data is used.
    pub yotpo: Option<Arc<YotpoClient>>,
    /// The account.
    pub treasure_data: Arc<TreasureDataClient>,
    /// Time.
    pub clock: Clock,
}

impl Services {
    /// What was sent so far. Does not wait for the network thread or for anything that it locks.
    pub fn usage(&self) -> ServiceUse {
        let yotpo = self.yotpo.as_deref().map(usage_of_store).unwrap_or_default();
        ServiceUse { treasure_data: self.treasure_data.counts(), ..yotpo }
    }
}

impl Services {
    /// What each client has sent so far, by operation.
    pub fn clients(&self) -> Vec<ClientUse> {
        let yotpo = self.yotpo.as_deref().map(YotpoClient::client_use);
        yotpo.into_iter().chain([self.treasure_data.client_use()]).collect()
    }
}

/// What was sent to Yotpo so far.
pub fn usage_of_store(yotpo: &YotpoClient) -> ServiceUse {
    ServiceUse {
        yotpo: yotpo.counts(),
        yotpo_response_bytes: yotpo.response_bytes(),
        rate: yotpo.rate_usage(),
        has_token: yotpo.has_token(),
        ..ServiceUse::default()
    }
}

/// A run that is active on this machine.
pub(super) struct Run<'a> {
    pub(super) services: &'a Services,
    pub(super) settings: &'a LoadSettings,
    pub(super) store: &'a Arc<StateStore>,
    pub(super) progress: &'a Arc<Progress>,
    pub(super) phases: Phases,
    pub(super) journal: Journal,
    pub(super) quarantine: Quarantine,
    pub(super) names: RunNames,
    /// The set of the interrupted run that this process resumed.
    pub(super) resumed: Option<Nonce>,
}

/// The names of everything that the attempts of one run create.
#[derive(Clone, Debug)]
pub(super) struct RunNames {
    pub(super) run_id: RunId,
    pub(super) mode: Mode,
    fingerprint: Fingerprint,
    target: TableName,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        services: &'a Services,
        settings: &'a LoadSettings,
        store: &'a Arc<StateStore>,
        progress: &'a Arc<Progress>,
        state: RunState,
        saved: Option<RunState>,
        resumed: bool,
    ) -> Self {
        let names = RunNames::of(&state);
        let resumed = state.set.filter(|_| resumed).map(|set| set.nonce);
        let quarantine = Quarantine::new(settings.quarantine_directory.as_deref(), services.clock.clone());
        let journal = Journal::new(Arc::clone(store), services.clock.clone(), state, saved);
        let phases = Phases::new(progress, &services.clock);
        Self { services, settings, store, progress, phases, journal, quarantine, names, resumed }
    }

    pub(super) fn client(&self) -> &TreasureDataClient {
        &self.services.treasure_data
    }

    /// Unix seconds by Treasure Data's clock, or by the machine's clock if no response had a `Date`.
    pub(super) fn now(&self) -> u64 {
        self.client().server_time().unwrap_or_else(|| self.services.clock.unix_time().as_secs())
    }
}

impl RunNames {
    pub(super) fn of(state: &RunState) -> Self {
        Self {
            run_id: state.run_id.clone(),
            mode: state.mode,
            fingerprint: state.target.fingerprint(),
            target: state.target.table.clone(),
        }
    }

    /// The names of a run with the same id and the other mode.
    pub(super) fn in_other_mode(&self) -> Self {
        Self { mode: self.mode.other(), ..self.clone() }
    }

    pub(super) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn ballot(&self, generation: u8) -> SessionName {
        let Self { run_id, mode, fingerprint, .. } = self;
        let (run_id, mode, fingerprint) = (run_id.clone(), *mode, *fingerprint);
        BallotName { fingerprint, mode, generation, run_id }.render()
    }

    /// Whether a session was created by an attempt of this run.
    pub(super) fn is_of_run(&self, session: &RunSession) -> bool {
        match session {
            RunSession::Own(own) => {
                own.fingerprint == self.fingerprint
                    && own.table.is_some() == (self.mode == Mode::Replace)
                    && own.belongs_to(&self.run_id)
            }
            RunSession::Ballot(BallotName { fingerprint, mode, run_id, .. }) => {
                (*fingerprint, *mode, run_id) == (self.fingerprint, self.mode, &self.run_id)
            }
            RunSession::OtherProtocol { .. } | RunSession::Legacy => false,
        }
    }

    /// The session that holds a set.
    pub(super) fn session(&self, set: &Winner) -> SessionName {
        let Winner { nonce, target, table, .. } = *set;
        OwnSessionName::new(self.fingerprint, &self.run_id, nonce, target, table).render()
    }

    /// The table that a set is loaded into.
    pub(super) fn loaded_table(&self, set: &Winner) -> TableName {
        let Winner { nonce, target, table, suffix, .. } = *set;
        let fingerprint = self.fingerprint;
        match table {
            None => self.target.clone(),
            Some(table) => OwnTable::Temporary { fingerprint, nonce, target, table, suffix }.render(),
        }
    }

    pub(super) fn scratch_table(&self, set: &OwnSet) -> TableName {
        OwnTable::Scratch { fingerprint: self.fingerprint, nonce: set.nonce }.render()
    }
}

/// The session of a saved run's set, if it has one.
pub fn session_of(state: &RunState) -> Option<SessionName> {
    state.set.map(|set| RunNames::of(state).session(&restored(&set).as_winner()))
}

/// The set in the form in which it is saved.
pub(super) fn saved(set: &OwnSet) -> SavedSet {
    let OwnSet { nonce, target, table, suffix, totals, proposed, .. } = *set;
    SavedSet { nonce, target_id: target, table_id: table, content: suffix, proposed, totals }
}

/// A saved set, whose progress must be read from Treasure Data.
pub(super) fn restored(set: &SavedSet) -> OwnSet {
    let SavedSet { nonce, target_id, table_id, content, proposed, totals } = *set;
    let progress = SetProgress::Created;
    OwnSet { nonce, target: target_id, table: table_id, suffix: content, totals, progress, proposed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::example_target;
    use crate::run::fixture::Fixture;
    use crate::run::settings::RowSource;
    use crate::treasure_data::TreasureDataError;
    use crate::yotpo::YotpoError;

    #[tokio::test]
    async fn what_both_clients_sent_is_counted() {
        let Fixture { services, .. } = Fixture::new(Mode::Append, RowSource::Store);
        assert_eq!(services.usage().yotpo.requests, 0);
        assert!((services.usage().rate.configured_per_second - 5.0).abs() < 1e-9);
        let error = services.yotpo.as_ref().unwrap().server_time().await.unwrap_err();
        assert!(matches!(error, YotpoError::Token(_)), "{error:?}");
        let error = services.treasure_data.sessions().await.unwrap_err();
        assert!(matches!(error, TreasureDataError::Call(_)), "{error:?}");
        let usage = services.usage();
        assert_eq!((usage.yotpo.requests, usage.treasure_data.requests), (1, 1));
        let clients = services.clients();
        let names: Vec<_> = clients.iter().map(|client| (client.service, client.requests.requests)).collect();
        assert_eq!(names, [("Yotpo", 1), ("Treasure Data", 1)]);
        let account = Services { yotpo: None, ..services };
        assert_eq!((account.usage().yotpo.requests, account.usage().treasure_data.requests), (0, 1));
    }

    #[test]
    fn only_sessions_of_the_same_run_target_and_mode_are_of_a_run() {
        let state = |table: &str, run: &str, mode| {
            let mut state =
                RunState::new(run.parse().unwrap(), true, example_target(table), mode, 100, 1_795_406_400);
            state.set = Some(SavedSet {
                nonce: Nonce::new(1_795_406_400, 7).unwrap(),
                target_id: crate::identity::TableId::from_api("5"),
                table_id: (mode == Mode::Replace).then(|| crate::identity::TableId::from_api("6")),
                content: crate::identity::TableSuffix::Rows,
                proposed: false,
                totals: None,
            });
            state
        };
        for mode in [Mode::Append, Mode::Replace] {
            let names = RunNames::of(&state("customers", "nightly", mode));
            let other_mode = if mode == Mode::Append { Mode::Replace } else { Mode::Append };
            for (other, expected) in [
                (state("customers", "nightly", mode), true),
                (state("others", "nightly", mode), false),
                (state("customers", "weekly", mode), false),
                (state("customers", "nightly", other_mode), false),
            ] {
                for session in [session_of(&other).unwrap(), RunNames::of(&other).ballot(0)] {
                    let parsed = RunSession::parse(session.as_str()).unwrap();
                    assert_eq!(names.is_of_run(&parsed), expected, "{session}");
                }
            }
            assert_eq!(session_of(&RunState { set: None, ..state("customers", "nightly", mode) }), None);
        }
    }
}
