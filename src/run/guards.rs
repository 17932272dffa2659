//! Guards against publishing a broken result: they compare row counts with earlier ones.

use super::context::Run;
use super::error::{GuardError, RunError};
use super::settings::LoadSettings;
use crate::checkpoint::{FinishedAs, FinishedRun};
use crate::identity::Mode;

/// Refuses a store without customers unless that is allowed.
pub(super) fn guard_empty(run: &Run<'_>) -> Result<(), RunError> {
    Ok(refuse_empty(run.settings, &run.store.history()?)?)
}

/// As [`guard_empty`], with the history of the target.
pub(super) fn refuse_empty(settings: &LoadSettings, history: &[FinishedRun]) -> Result<(), GuardError> {
    if settings.guards.allow_empty {
        return Ok(());
    }
    match settings.mode {
        Mode::Replace => Err(GuardError::Empty),
        // A store that never had customers loses nothing.
        Mode::Append => match rows_of_last_run(history) {
            Some(before) if before > 0 => Err(GuardError::EmptySince { before }),
            _ => Ok(()),
        },
    }
}

/// Refuses a result without rows or, in `replace` mode, with far fewer rows than before.
pub(super) async fn guard(run: &Run<'_>, rows: u64) -> Result<(), RunError> {
    let history = run.store.history()?;
    refuse_rows(run.settings, &history, rows)?;
    if rows_of_last_run(&history).is_none() && run.settings.mode == Mode::Replace {
        let before = rows_in_target(run).await;
        refuse_shrunk(run.settings, rows, before, false)?;
    }
    Ok(())
}

/// What [`guard`] refuses with the history of the target alone.
pub(super) fn refuse_rows(
    settings: &LoadSettings,
    history: &[FinishedRun],
    rows: u64,
) -> Result<(), GuardError> {
    if rows == 0 {
        return Err(GuardError::NoRows);
    }
    refuse_fewer(settings, history, rows)
}

/// Refuses far fewer rows than the last run loaded, in `replace` mode.
fn refuse_fewer(settings: &LoadSettings, history: &[FinishedRun], rows: u64) -> Result<(), GuardError> {
    match settings.mode {
        Mode::Append => Ok(()),
        Mode::Replace => refuse_shrunk(settings, rows, rows_of_last_run(history), true),
    }
}

fn refuse_shrunk(
    settings: &LoadSettings,
    rows: u64,
    before: Option<u64>,
    from_last_run: bool,
) -> Result<(), GuardError> {
    let ratio = settings.guards.min_rows_ratio;
    match before {
        Some(before) if is_shrunk(rows, before, ratio) => {
            Err(GuardError::Shrunk { found: rows, before, from_last_run, ratio })
        }
        _ => Ok(()),
    }
}

/// Warns if this attempt's limits would have refused what another one loaded: the winner's limits decided.
pub(super) fn warn_of_stricter_limits(run: &Run<'_>, rows: Option<u64>, error_records: u64) {
    let max_error_records = run.settings.transfer.max_error_records;
    if error_records > max_error_records {
        tracing::warn!(
            error_records,
            max_error_records,
            "another attempt loaded the rows and left out more records than this one allows"
        );
    }
    let history = run.store.history().unwrap_or_default();
    if let Some(rows) = rows
        && let Err(GuardError::Shrunk { before, ratio, .. }) = refuse_fewer(run.settings, &history, rows)
    {
        tracing::warn!(rows, before, ratio, "another attempt loaded fewer rows than this one allows");
    }
}

/// Rows that the last run of this target on this machine loaded.
fn rows_of_last_run(history: &[FinishedRun]) -> Option<u64> {
    let loaded = history
        .iter()
        .find(|finished| finished.outcome != FinishedAs::NothingToLoad && finished.rows.is_some());
    loaded.and_then(|finished| finished.rows)
}

/// Customers of the last run that this machine saw all of: what another attempt made, it did not.
pub(super) fn customers_of_last_run(history: &[FinishedRun]) -> Option<u64> {
    history.iter().find(|run| !run.joined && run.customers > 0).map(|run| run.customers)
}

/// Rows of the target as reported by Treasure Data; a write-only key cannot read this.
async fn rows_in_target(run: &Run<'_>) -> Option<u64> {
    let target = run.settings.target.table.as_str();
    match run.client().tables(&run.settings.target.database).await {
        Ok(tables) => tables.into_iter().find(|table| table.name == target).and_then(|table| table.count),
        Err(error) => {
            tracing::warn!(%error, "could not count the rows of the target, so they are not compared");
            None
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of counts below 2^53")]
fn is_shrunk(rows: u64, before: u64, ratio: f64) -> bool {
    (rows as f64) < before as f64 * ratio
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::fixture::{Fixture, unreachable_settings};
    use crate::run::settings::RowSource;

    #[test]
    fn half_is_enough_and_less_is_not() {
        assert!(!is_shrunk(50, 100, 0.5));
        assert!(is_shrunk(49, 100, 0.5));
        assert!(!is_shrunk(1, 100, 0.0));
        assert!(!is_shrunk(7, 0, 1.0));
    }

    #[test]
    fn the_message_names_both_counts_and_the_flag() {
        let error = GuardError::Shrunk { found: 3_000, before: 80_000, from_last_run: true, ratio: 0.5 };
        assert_eq!(
            error.to_string(),
            "3,000 rows is 4 % of the 80,000 that the last successful run loaded (minimum 50 %)"
        );
    }

    /// A run of the history. It loaded what it fetched.
    fn finished(rows: Option<u64>) -> FinishedRun {
        FinishedRun {
            run_id: "earlier".parse().unwrap(),
            store_id: None,
            mode: None,
            outcome: FinishedAs::Committed,
            joined: false,
            ingestion_time: None,
            rows,
            customers: rows.unwrap_or_default(),
            customers_with_loyalty_data: 0,
            pages: 1,
            error_records: 0,
            ended_by: None,
            job_id: None,
            started_at: 0,
            finished_at: 0,
        }
    }

    fn settings(mode: Mode) -> LoadSettings {
        let mut settings = unreachable_settings(mode, "/state".into());
        settings.guards.min_rows_ratio = 0.5;
        settings
    }

    fn nothing_to_load() -> FinishedRun {
        FinishedRun { outcome: FinishedAs::NothingToLoad, ..finished(Some(0)) }
    }

    #[test]
    fn a_store_without_customers_is_refused_if_the_table_would_lose_rows() {
        let refused = |mode, history: &[FinishedRun]| refuse_empty(&settings(mode), history);
        assert_eq!(refused(Mode::Replace, &[]), Err(GuardError::Empty));
        assert_eq!(refused(Mode::Append, &[]), Ok(()));
        assert_eq!(refused(Mode::Append, &[finished(Some(0)), finished(Some(9))]), Ok(()));
        let since = Err(GuardError::EmptySince { before: 9 });
        assert_eq!(refused(Mode::Append, &[finished(Some(9))]), since);
        assert_eq!(refused(Mode::Append, &[nothing_to_load(), finished(Some(9))]), since);
        for mode in [Mode::Append, Mode::Replace] {
            let mut settings = settings(mode);
            settings.guards.allow_empty = true;
            assert_eq!(refuse_empty(&settings, &[finished(Some(9))]), Ok(()));
        }
    }

    #[test]
    fn rows_are_compared_with_the_last_run_whose_rows_are_known() {
        let history = [finished(None), nothing_to_load(), finished(Some(100)), finished(Some(4))];
        assert_eq!(refuse_rows(&settings(Mode::Replace), &history, 50), Ok(()));
        let shrunk = GuardError::Shrunk { found: 49, before: 100, from_last_run: true, ratio: 0.5 };
        assert_eq!(refuse_rows(&settings(Mode::Replace), &history, 49), Err(shrunk));
        assert_eq!(refuse_rows(&settings(Mode::Append), &history, 1), Ok(()));
        assert_eq!(refuse_rows(&settings(Mode::Append), &history, 0), Err(GuardError::NoRows));
    }

    #[test]
    fn customers_are_those_of_the_last_run_that_this_machine_fetched() {
        let joined = FinishedRun { joined: true, ..finished(Some(7)) };
        let history = [joined, nothing_to_load(), finished(Some(100)), finished(Some(4))];
        assert_eq!(customers_of_last_run(&history), Some(100));
        assert_eq!(customers_of_last_run(&history[..2]), None);
    }

    #[tokio::test]
    async fn rows_are_compared_with_the_table_if_no_run_is_known_and_it_is_replaced() {
        let tables = &[(
            "200 OK",
            r#"{"tables": [{"name": "others", "count": 9}, {"name": "customers", "count": 100}]}"#,
        )];
        for (rows, expected) in [(50, Ok(())), (49, Err(false))] {
            let mut fixture = Fixture::with_account(Mode::Replace, tables);
            fixture.settings.guards.min_rows_ratio = 0.5;
            let result = guard(&fixture.run(fixture.state()), rows).await;
            let result = result.map_err(|error| match error {
                RunError::Guard(GuardError::Shrunk { before: 100, from_last_run, .. }) => from_last_run,
                error => panic!("{error:?}"),
            });
            assert_eq!(result, expected, "{rows}");
        }
        // Rows that are added to a table lose nothing.
        let fixture = Fixture::new(Mode::Append, RowSource::Store);
        guard(&fixture.run(fixture.state()), 1).await.unwrap();
        assert_eq!(fixture.services.usage().treasure_data.requests, 0);
    }
}
