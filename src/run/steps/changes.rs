//! The steps that change something: each sends a call once and interprets its result.

use std::mem::discriminant;

use tracing::{Instrument as _, Span};

use super::Executor;
use crate::http::error_type;
use crate::identity::OwnTable;
use crate::retry::Series;
use crate::run::decide::{Seen, Sent, Step, Winner};
use crate::run::error::RunError;
use crate::spans;
use crate::treasure_data::{Change, Overwrite};

impl Executor<'_> {
    /// Sends a call that changes something, once.
    pub(super) async fn change(&mut self, step: Step) -> Result<Seen, RunError> {
        if matches!(step, Step::Commit(_) | Step::Publish(_) | Step::Perform(_)) {
            self.has_changed_winner = true;
        }
        if let Step::Fence(winner) = step {
            return self.fence(winner).await;
        }
        let mut series =
            self.series.remove(&discriminant(&step)).unwrap_or_else(|| self.run.client().series());
        let span = self.span_of(step);
        let change = self.call(step, &mut series).instrument(span.clone()).await;
        let change = change.inspect_err(|error| spans::record_failure(&span, &error_type(error)))?;
        if change == Change::Unclear {
            self.series.insert(discriminant(&step), series);
        }
        Ok(Seen::Sent(match change {
            Change::Done => Sent::Done,
            Change::Conflict => Sent::Conflict,
            Change::TableGone => Sent::TableGone,
            Change::SessionGone => Sent::SessionGone,
            Change::Denied => Self::denied(step)?,
            Change::Unclear => Sent::Unclear,
        }))
    }

    /// The span of a call that a trace shows.
    fn span_of(&self, step: Step) -> Span {
        let names = &self.run.names;
        match step {
            Step::Perform(set) => spans::perform(&names.session(&set)),
            Step::Commit(winner) => spans::commit(&names.session(&winner)),
            Step::Publish(winner) => spans::publish(&names.loaded_table(&winner)),
            _ => Span::none(),
        }
    }

    /// Only the creation of the target may be denied: a write-only key can still load into an existing table.
    fn denied(step: Step) -> Result<Sent, RunError> {
        match step {
            Step::CreateTarget => Ok(Sent::Denied),
            _ => Err(RunError::Denied),
        }
    }

    pub(super) async fn call(&mut self, step: Step, series: &mut Series) -> Result<Change, RunError> {
        let (client, names) = (self.run.client(), &self.run.names);
        let (database, target) = (&self.run.settings.target.database, &self.run.settings.target.table);
        Ok(match step {
            Step::CreateTarget => {
                let change = client.create_table(series, database, target).await?;
                if change == Change::Done {
                    tracing::info!(%database, table = %target, "table created");
                }
                change
            }
            Step::CreateScratch(own) => {
                client.create_table(series, database, &names.scratch_table(&own)).await?
            }
            Step::NameTemporary(own) => {
                let (from, to) = (names.scratch_table(&own), names.loaded_table(&own.as_winner()));
                client.rename_table(series, database, &from, &to, Overwrite::Forbidden).await?
            }
            Step::CreateSession(own) => {
                let set = own.as_winner();
                let (session, table) = (names.session(&set), names.loaded_table(&set));
                let change = client.create_session(series, &session, database, &table).await?;
                if change == Change::Done {
                    tracing::info!(%session, "bulk import session opened");
                }
                change
            }
            Step::FreezeOwn(own) => client.freeze(series, &names.session(&own.as_winner())).await?,
            Step::Perform(set) => {
                let (change, job) = client.perform(series, &names.session(&set)).await?;
                if let Some(job_id) = job {
                    tracing::info!(job_id, "load job started");
                    self.run.progress.load_job_id(&job_id);
                    self.run.journal.note(|state| state.job_id = Some(job_id));
                }
                change
            }
            Step::CreateBallot(generation, own) => {
                let table = match own {
                    Some(own) => names.loaded_table(&own.as_winner()),
                    None => target.clone(),
                };
                client.create_session(series, &names.ballot(generation), database, &table).await?
            }
            Step::Propose(generation, proposal) => {
                client.propose(series, &names.ballot(generation), &proposal.render()).await?
            }
            Step::FreezeBallot(generation) => client.freeze(series, &names.ballot(generation)).await?,
            Step::Commit(winner) => client.commit(series, &names.session(&winner)).await?,
            Step::Publish(winner) => {
                let from = names.loaded_table(&winner);
                let change = client.rename_table(series, database, &from, target, Overwrite::Allowed).await?;
                if change == Change::Done {
                    tracing::info!(table = %target, "the new rows replaced the old");
                }
                change
            }
            _ => return Err(RunError::Bug("a step without a call")),
        })
    }

    /// Deletes temporary tables that older runs left, so that none of them can be renamed over the target later.
    pub(super) async fn fence(&self, winner: Winner) -> Result<Seen, RunError> {
        let database = &self.run.settings.target.database;
        for table in self.run.client().tables(database).await? {
            let Some(own) = OwnTable::parse(&table.name) else { continue };
            if own.fingerprint() == self.run.names.fingerprint() && own.nonce() < winner.nonce {
                let Ok(name) = table.name.parse() else { continue };
                self.run.client().delete_table(database, &name).await?;
                tracing::info!(table = %name, "removed the temporary table of an older attempt");
            }
        }
        Ok(Seen::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::RunState;
    use crate::identity::{Mode, Nonce, TableId, TableSuffix, example_target};
    use crate::run::context::RunNames;
    use crate::run::fixture::{Fixture, STARTED};
    use crate::run::settings::RowSource;
    use crate::run::start::load_attempt;
    use crate::shutdown::StopRequests;

    fn set(time: u64) -> Winner {
        Winner {
            nonce: Nonce::new(time, 7).unwrap(),
            target: TableId::from_api("5"),
            table: Some(TableId::from_api("6")),
            suffix: TableSuffix::Rows,
            totals: None,
        }
    }

    #[tokio::test]
    async fn only_older_temporary_tables_of_the_target_are_removed_before_it_is_replaced() {
        let fixture = Fixture::new(Mode::Replace, RowSource::Store);
        let state = fixture.state();
        let names = RunNames::of(&state);
        let others = RunNames::of(&RunState { target: example_target("others"), ..state.clone() });
        let older = names.loaded_table(&set(STARTED - 1));
        let table = |name: &str| serde_json::json!({"name": name});
        let tables = [
            table(names.loaded_table(&set(STARTED)).as_str()),
            table(names.loaded_table(&set(STARTED + 1)).as_str()),
            table(older.as_str()),
            table(others.loaded_table(&set(STARTED - 1)).as_str()),
            table("customers"),
        ];
        let list = serde_json::json!({"tables": tables}).to_string();
        let mut responses = vec![("200 OK", list.as_str())];
        responses.resize(6, ("200 OK", "{}"));
        let fixture = Fixture::with_account(Mode::Replace, &responses);
        let run = fixture.run(state);
        let (_sender, stop) = StopRequests::channel();
        let executor = Executor::new(&run, &load_attempt(&run), &stop);
        assert_eq!(executor.fence(set(STARTED)).await.unwrap(), Seen::Done);
        assert_eq!(fixture.requests().split_off(1), [format!("POST /v3/table/delete/database/{older}")]);
    }

    /// The state is read between the tries, so they are separate calls; the limit on retries is for all of them.
    #[tokio::test]
    async fn tries_with_an_unclear_result_share_the_retries_of_one_call_and_a_clear_result_ends_it() {
        const NO_ANSWER: (&str, &str) = ("503 Service Unavailable", "{}");
        let responses = [NO_ANSWER, NO_ANSWER, ("200 OK", "{}"), NO_ANSWER, NO_ANSWER, NO_ANSWER];
        let fixture = Fixture::with_retried_account(Mode::Append, &responses, 2);
        let run = fixture.run(fixture.state());
        let (_sender, stop) = StopRequests::channel();
        let mut executor = Executor::new(&run, &load_attempt(&run), &stop);
        let commit = Step::Commit(set(STARTED));
        for expected in [Sent::Unclear, Sent::Unclear, Sent::Done, Sent::Unclear, Sent::Unclear] {
            assert_eq!(executor.change(commit).await.unwrap(), Seen::Sent(expected));
        }
        let error = executor.change(commit).await.unwrap_err();
        assert!(matches!(error, RunError::TreasureData(_)), "{error:?}");
        assert_eq!(fixture.requests().len(), responses.len());
    }
}
