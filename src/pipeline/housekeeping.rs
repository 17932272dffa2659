//! What dead runs leave in Treasure Data, and what may not be touched.
//!
//! Only names that carry this program's prefix are ever looked at or removed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::entry::discard;
use super::error::RunError;
use super::identity::{SESSION_PREFIX, TEMPORARY_TABLE_PREFIX};
use super::run::Services;
use super::settings::LoadSettings;
use crate::checkpoint::RunState;
use crate::identity::{DatabaseName, SessionName, TableName};
use crate::treasure_data::{Polling, SessionState, SessionStatus, TreasureDataClient, TreasureDataError};

/// How long the committed session of a run with an id stays as its marker.
const MARKER_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What a dead run may have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The session's or the table's name.
    pub name: String,
    /// Session or table.
    pub kind: OrphanKind,
    /// Where it belongs: `database.table` of a session, the database of a table.
    pub place: String,
    /// What is known of it.
    pub status: String,
    /// When its run began or its load job ended, Unix seconds; unknown when neither can be told.
    pub since: Option<u64>,
}

/// What an orphan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanKind {
    /// A bulk import session.
    Session,
    /// A temporary table of `replace`.
    TemporaryTable,
}

/// Looks for other runs of the same target: warns of one that seems alive elsewhere, removes what dead ones left.
/// Nothing depends on it, so that a key that may not list, or a fault, only costs the look.
pub(super) async fn look_around(services: &Services, settings: &LoadSettings, own: &RunState) {
    let client = &services.treasure_data;
    let sessions = match client.sessions().await {
        Ok(sessions) => sessions,
        Err(error) => return tracing::debug!(%error, "other sessions could not be listed"),
    };
    let prefix =
        format!("{SESSION_PREFIX}{}_", settings.target.file_stem().rsplit('.').next().unwrap_or_default());
    let now = services.clock.unix_time().as_secs();
    let mut loading: HashSet<String> = HashSet::new();
    for session in
        sessions.iter().filter(|session| session.name.starts_with(&prefix) && session.name != own.session)
    {
        loading.insert(session.table.clone());
        if session.status == SessionStatus::Committed {
            if let Err(error) = remove_old_marker(client, session, now).await {
                tracing::debug!(%error, "an old marker could not be removed");
            }
        } else {
            tracing::warn!(
                session = session.name,
                status = session.status.name(),
                "a session of another run for this target exists: if that run is active on another machine, stop \
                 one of them; if it is dead, yotpo-td runs clean removes it"
            );
        }
    }
    if own.temporary_table.is_some() {
        remove_dead_tables(client, settings, own, &loading).await;
    }
}

/// Temporary tables of the same target that no session loads any more.
async fn remove_dead_tables(
    client: &TreasureDataClient,
    settings: &LoadSettings,
    own: &RunState,
    loading: &HashSet<String>,
) {
    let prefix = format!(
        "{TEMPORARY_TABLE_PREFIX}{}_",
        settings.target.file_stem().rsplit('.').next().unwrap_or_default()
    );
    let tables = match client.tables(&settings.database).await {
        Ok(tables) => tables,
        Err(error) => return tracing::debug!(%error, "tables could not be listed"),
    };
    let dead = |name: &str| {
        name.starts_with(&prefix) && !loading.contains(name) && own.temporary_table.as_deref() != Some(name)
    };
    for table in tables.into_iter().filter(|table| dead(&table.name)) {
        let Ok(name) = table.name.parse::<TableName>() else { continue };
        match client.delete_table(&settings.database, &name).await {
            Ok(()) => tracing::info!(table = %name, "removed a temporary table that a dead run left"),
            Err(error) => tracing::debug!(%error, "a temporary table could not be removed"),
        }
    }
}

async fn remove_old_marker(
    client: &TreasureDataClient,
    session: &SessionState,
    now: u64,
) -> Result<(), TreasureDataError> {
    let (Some(job), Ok(name)) = (&session.job_id, session.name.parse::<SessionName>()) else { return Ok(()) };
    let Some(time) = client.job_time(job).await? else { return Ok(()) };
    if now.saturating_sub(time) > MARKER_AGE.as_secs() {
        client.remove_session(&name).await?;
        tracing::info!(session = %name, "removed the marker of an old run");
    }
    Ok(())
}

/// Everything in the account that carries this program's prefix.
///
/// # Errors
/// When sessions or tables cannot be listed.
pub async fn find_orphans(
    client: &TreasureDataClient,
    databases: &[DatabaseName],
) -> Result<Vec<Orphan>, TreasureDataError> {
    let mut orphans = Vec::new();
    for session in client.sessions().await? {
        if !session.name.starts_with(SESSION_PREFIX) {
            continue;
        }
        let since = match (time_in_name(&session.name), &session.job_id) {
            (None, Some(job)) => client.job_time(job).await?,
            (since, _) => since,
        };
        orphans.push(Orphan {
            kind: OrphanKind::Session,
            place: format!("{}.{}", session.database, session.table),
            status: session.status.name().to_owned(),
            name: session.name,
            since,
        });
    }
    for database in databases {
        for table in client.tables(database).await? {
            if table.name.starts_with(TEMPORARY_TABLE_PREFIX) {
                orphans.push(Orphan {
                    since: time_in_name(&table.name),
                    name: table.name,
                    kind: OrphanKind::TemporaryTable,
                    place: database.to_string(),
                    status: table.count.map_or_else(String::new, |count| format!("{count} rows")),
                });
            }
        }
    }
    Ok(orphans)
}

/// Removes an orphan. A name without our prefix is never sent.
///
/// # Errors
/// When the call fails for good.
pub async fn remove_orphan(client: &TreasureDataClient, orphan: &Orphan) -> Result<(), RunError> {
    match orphan.kind {
        OrphanKind::Session if orphan.name.starts_with(SESSION_PREFIX) => {
            client.remove_session(&orphan.name.parse()?).await?;
        }
        OrphanKind::TemporaryTable if orphan.name.starts_with(TEMPORARY_TABLE_PREFIX) => {
            client.delete_table(&orphan.place.parse()?, &orphan.name.parse()?).await?;
        }
        OrphanKind::Session | OrphanKind::TemporaryTable => {}
    }
    Ok(())
}

/// Removes what a saved run left in Treasure Data. Its state is the caller's to forget.
///
/// # Errors
/// When a call fails for good.
pub async fn abandon(
    client: &Arc<TreasureDataClient>,
    polling: Polling,
    state: &RunState,
) -> Result<(), RunError> {
    discard(client, polling, state).await
}

/// When a run began, from the time in an id that this program made; unknown of an id that a user gave.
fn time_in_name(name: &str) -> Option<u64> {
    let words = name.split(['_', '-']);
    let stamp = words.into_iter().find(|word| word.len() == 16 && word.ends_with(['Z', 'z']))?;
    let digits = |range: std::ops::Range<usize>| {
        stamp.get(range).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
    };
    let date = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let time = (digits(9..11)?, digits(11..13)?, digits(13..15)?);
    let text = format!("{}-{}-{}T{}:{}:{}Z", date.0, date.1, date.2, time.0, time.1, time.2);
    let moment = humantime::parse_rfc3339(&text).ok()?;
    moment.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_come_from_names_of_our_own_making() {
        assert_eq!(time_in_name("yotpo_td_00c0ffee_20261123T040000Z-9f1c02ab"), Some(1_795_406_400));
        assert_eq!(
            time_in_name("yotpo_td_tmp_00c0ffee_20261123t040000z_9f1c02ab_12345678"),
            Some(1_795_406_400)
        );
        assert_eq!(time_in_name("yotpo_td_00c0ffee_nightly"), None);
        assert_eq!(time_in_name("yotpo_td_00c0ffee_99999999T999999Z-1"), None);
    }
}
