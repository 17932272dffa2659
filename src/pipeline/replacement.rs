//! `replace`: the guards, and the temporary table that takes the target's place.

use super::error::{GuardError, RunError};
use super::run::Run;
use crate::checkpoint::LastSuccess;
use crate::identity::TableName;
use crate::treasure_data::TableOrigin;

/// Makes an empty temporary table. One of the same name was left by a dead attempt of this run.
pub(super) async fn make_temporary_table(run: &Run<'_>, table: &TableName) -> Result<(), RunError> {
    let (client, database) = (&run.services.treasure_data, &run.settings.database);
    if client.ensure_table(database, table).await? == TableOrigin::Existing {
        tracing::info!(%table, "removing a temporary table that a dead run left");
        client.delete_table(database, table).await?;
        client.ensure_table(database, table).await?;
    }
    Ok(())
}

/// Refuses to publish `rows` rows when they are none, or far fewer than before.
pub(super) async fn guard(run: &Run<'_>, rows: u64) -> Result<(), RunError> {
    let guards = run.settings.guards;
    if rows == 0 {
        return if guards.allow_empty { Ok(()) } else { Err(GuardError::Empty.into()) };
    }
    let last = run.store.last_success()?.map(|LastSuccess { customers, .. }| customers);
    let (before, from_last_run) = match last {
        Some(customers) => (Some(customers), true),
        None => (rows_in_target(run).await, false),
    };
    let Some(before) = before else { return Ok(()) };
    if is_shrunk(rows, before, guards.min_rows_ratio) {
        let ratio = guards.min_rows_ratio;
        return Err(GuardError::Shrunk { found: rows, before, from_last_run, ratio }.into());
    }
    Ok(())
}

/// Rows of the target as Treasure Data counts them; unknown to a write-only key.
async fn rows_in_target(run: &Run<'_>) -> Option<u64> {
    let target = run.settings.table.as_str();
    match run.services.treasure_data.tables(&run.settings.database).await {
        Ok(tables) => tables.into_iter().find(|table| table.name == target).and_then(|table| table.count),
        Err(error) => {
            tracing::warn!(%error, "the target's rows cannot be counted, so they are not compared");
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

    #[test]
    fn half_is_enough_and_less_is_not() {
        assert!(!is_shrunk(50, 100, 0.5));
        assert!(is_shrunk(49, 100, 0.5));
        assert!(!is_shrunk(1, 100, 0.0));
        assert!(!is_shrunk(7, 0, 1.0));
    }

    #[test]
    fn the_message_names_both_counts_and_the_flag() {
        let error = GuardError::Shrunk { found: 49, before: 100, from_last_run: true, ratio: 0.5 };
        assert_eq!(
            error.to_string(),
            "49 rows are fewer than 0.5 of the 100 that the last successful run loaded; a smaller --min-rows-ratio \
             lifts this"
        );
    }
}
