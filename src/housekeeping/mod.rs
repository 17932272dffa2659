//! What runs leave in Treasure Data, and how long it must be kept.
//!
//! Owns the ages of sessions and tables and the rule when they may be removed. Invariant: nothing is removed unless its
//! whole name can be parsed, and nothing that an attempt may still need: a ballot, a winner or a marker is kept for
//! [`marker_age`].

use std::time::Duration;

use crate::checkpoint::RunState;
use crate::identity::{
    DatabaseName, Fingerprint, OwnTable, ProbeName, Proposal, RunSession, SessionName, TableName,
};
use crate::treasure_data::{SessionState, TreasureDataClient, TreasureDataError};

/// Maximum number of sessions of old runs that one run removes.
const MAX_SWEPT: usize = 100;

/// Approximate maximum number of sessions in an account, as observed by other clients.
pub const MAX_SESSIONS: usize = 2_448;
/// Number of sessions that is worth a warning: each run with `--run-id` adds two or three.
pub const MANY_SESSIONS: usize = 1_500;

/// A session or table that a run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The session or the table.
    pub object: OrphanObject,
    /// Its kind.
    pub kind: OrphanKind,
    /// Its place: `database.table` for a session, the database for a table.
    pub place: String,
    /// Its status.
    pub status: String,
    /// When its attempt began or its load job ended, Unix seconds; `None` if both are unknown.
    pub since: Option<u64>,
}

/// A session or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrphanObject {
    /// A bulk import session.
    Session(SessionName),
    /// A table in a database.
    Table(DatabaseName, TableName),
}

/// The kind of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanKind {
    /// A ballot. Treasure Data removes it without being asked after a week.
    Ballot,
    /// The session of an attempt, which may be the marker of its run.
    Session,
    /// A table of `replace`.
    TemporaryTable,
    /// A session or table with which `yotpo-td check` tested the service: no run needs it.
    Probe,
    /// A session or table of a release without ballots.
    Legacy,
}

/// Whether an orphan may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is no longer needed.
    Remove,
    /// An attempt may still need it.
    Young,
    /// Its age is unknown.
    UnknownAge,
    /// It belongs to an unfinished run on this machine.
    Unfinished,
}

/// How long the orphans of a run with this lifetime are kept: eight days by default, a day longer than Treasure Data
/// keeps a session that was never loaded.
pub fn marker_age(run_lifetime: Duration) -> Duration {
    run_lifetime * 8 / 5
}

impl Orphan {
    /// Whether it may be removed. `limit` applies to what earlier releases left; everything else is kept for at least
    /// `marker_age`.
    pub fn verdict(
        &self,
        unfinished: &[RunState],
        now: u64,
        limit: Duration,
        marker_age: Duration,
    ) -> Verdict {
        let in_use = |run: &RunState| {
            let name = self.object.name();
            run.set.is_some_and(|set| name.contains(&set.nonce.to_string()))
                || name.ends_with(run.run_id.as_str())
        };
        let limit = match self.kind {
            OrphanKind::Probe => Duration::ZERO,
            OrphanKind::Legacy => limit,
            OrphanKind::Ballot | OrphanKind::Session | OrphanKind::TemporaryTable => limit.max(marker_age),
        };
        match self.since {
            _ if unfinished.iter().any(in_use) => Verdict::Unfinished,
            None => Verdict::UnknownAge,
            Some(since) if has_reached(limit, since, now) => Verdict::Remove,
            Some(_) => Verdict::Young,
        }
    }
}

/// Whether a session or table was made by this program, in any version.
pub fn is_of_this_program(name: &str) -> bool {
    RunSession::parse(name).is_some() || of_table(name).is_some()
}

/// Whether nobody can need a session or table of this program any more, as far as its name tells; `now` is Treasure Data's
/// time.
pub fn is_removable(name: &str, now: u64, marker_age: Duration) -> bool {
    let since = match (RunSession::parse(name), of_table(name)) {
        (_, Some((OrphanKind::Probe, _))) => return true,
        (Some(RunSession::Own(own)), _) => Some(own.nonce.time()),
        (_, Some((_, since))) => since,
        _ => None,
    };
    since.is_some_and(|since| has_reached(marker_age, since, now))
}

/// Whether what began at `since` is at least this old.
fn has_reached(age: Duration, since: u64, now: u64) -> bool {
    now.saturating_sub(since) >= age.as_secs()
}

/// Everything in the account that this program created.
///
/// # Errors
/// When sessions or tables cannot be listed.
pub async fn find_orphans(
    client: &TreasureDataClient,
    databases: &[DatabaseName],
) -> Result<Vec<Orphan>, TreasureDataError> {
    let mut orphans = Vec::new();
    for session in client.sessions().await? {
        if let Some(orphan) = session_orphan(client, session).await? {
            orphans.push(orphan);
        }
    }
    for database in databases {
        for table in client.tables(database).await? {
            let Some((kind, since)) = of_table(&table.name) else { continue };
            // This program creates no invalid names.
            let Ok(name) = table.name.parse() else { continue };
            orphans.push(Orphan {
                since,
                object: OrphanObject::Table(database.clone(), name),
                kind,
                place: database.to_string(),
                status: table.count.map_or_else(String::new, |count| format!("{count} rows")),
            });
        }
    }
    Ok(orphans)
}

/// What a table is by its name, and its age; `None` if it does not belong to this program.
fn of_table(name: &str) -> Option<(OrphanKind, Option<u64>)> {
    if let Some(own) = OwnTable::parse(name) {
        return Some((OrphanKind::TemporaryTable, Some(own.nonce().time())));
    }
    if let Some(probe) = ProbeName::parse(name) {
        return Some((OrphanKind::Probe, Some(probe.nonce.time())));
    }
    OwnTable::is_legacy(name).then(|| (OrphanKind::Legacy, time_in_legacy_name(name)))
}

async fn session_orphan(
    client: &TreasureDataClient,
    session: SessionState,
) -> Result<Option<Orphan>, TreasureDataError> {
    let (kind, since) = match RunSession::parse(&session.name) {
        None => match ProbeName::parse(&session.name) {
            Some(probe) => (OrphanKind::Probe, Some(probe.nonce.time())),
            None => return Ok(None),
        },
        // Sessions of other protocol versions are unknown and left alone.
        Some(RunSession::OtherProtocol { .. }) => return Ok(None),
        Some(RunSession::Own(own)) => (OrphanKind::Session, Some(own.nonce.time())),
        Some(RunSession::Ballot(_)) => (OrphanKind::Ballot, ballot_time(client, &session).await?),
        Some(RunSession::Legacy) => (OrphanKind::Legacy, legacy_time(client, &session).await?),
    };
    let Ok(name) = session.name.parse() else { return Ok(None) };
    Ok(Some(Orphan {
        object: OrphanObject::Session(name),
        kind,
        place: format!("{}.{}", session.database, session.table),
        status: session.status.name().to_owned(),
        since,
    }))
}

/// A ballot is as old as its newest proposal.
async fn ballot_time(
    client: &TreasureDataClient,
    ballot: &SessionState,
) -> Result<Option<u64>, TreasureDataError> {
    if let Some(own) = OwnTable::parse(&ballot.table) {
        return Ok(Some(own.nonce().time()));
    }
    let Ok(name) = ballot.name.parse() else { return Ok(None) };
    let parts = client.parts(&name).await?.unwrap_or_default();
    Ok(parts.iter().filter_map(|part| Proposal::parse(part)).map(|proposal| proposal.nonce().time()).max())
}

async fn legacy_time(
    client: &TreasureDataClient,
    session: &SessionState,
) -> Result<Option<u64>, TreasureDataError> {
    match (time_in_legacy_name(&session.name), &session.job_id) {
        (None, Some(job)) => client.job_time(job).await,
        (since, _) => Ok(since),
    }
}

impl OrphanObject {
    /// Its name, without the database.
    pub fn name(&self) -> &str {
        match self {
            Self::Session(name) => name.as_str(),
            Self::Table(_, name) => name.as_str(),
        }
    }
}

/// Removes an orphan. Names that this program did not create are never sent.
///
/// # Errors
/// When the call fails after all retries.
pub async fn remove_orphan(client: &TreasureDataClient, orphan: &Orphan) -> Result<(), TreasureDataError> {
    match &orphan.object {
        OrphanObject::Session(name)
            if RunSession::parse(name.as_str()).is_some() || ProbeName::parse(name.as_str()).is_some() =>
        {
            client.delete_session(name).await?;
        }
        OrphanObject::Table(database, name) if of_table(name.as_str()).is_some() => {
            client.delete_table(database, name).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Removes what old runs of the same target left. Nothing depends on its success.
pub async fn sweep_stale_runs(
    client: &TreasureDataClient,
    fingerprint: Fingerprint,
    now: u64,
    run_lifetime: Duration,
) {
    let marker_age = marker_age(run_lifetime);
    let sweep = async {
        let mut swept = 0;
        for session in client.sessions().await? {
            if swept == MAX_SWEPT {
                tracing::warn!(
                    "old runs left more sessions than one run removes; remove the rest with \
                     yotpo-td runs clean and the same settings"
                );
                break;
            }
            if let Some(RunSession::Own(own)) = RunSession::parse(&session.name)
                && own.fingerprint == fingerprint
                && has_reached(marker_age, own.nonce.time(), now)
            {
                client.delete_session(&own.render()).await?;
                swept += 1;
                tracing::info!(session = session.name, "removed a session of an old run");
            }
        }
        Ok::<(), TreasureDataError>(())
    };
    if let Err(error) = sweep.await {
        tracing::debug!(%error, "could not remove what old runs left");
    }
}

/// When a run of an earlier release began, from the time in a generated id; unknown for an id that the user set.
fn time_in_legacy_name(name: &str) -> Option<u64> {
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
    fn ages_come_from_generated_names() {
        assert_eq!(time_in_legacy_name("yotpo_td_00c0ffee_20261123T040000Z-9f1c02ab"), Some(1_795_406_400));
        assert_eq!(
            time_in_legacy_name("yotpo_td_tmp_00c0ffee_20261123t040000z_9f1c02ab_12345678"),
            Some(1_795_406_400)
        );
        assert_eq!(time_in_legacy_name("yotpo_td_00c0ffee_nightly"), None);
        assert_eq!(time_in_legacy_name("yotpo_td_00c0ffee_99999999T999999Z-1"), None);
        // Words that only have its length or only its last letter are not the time.
        for word in ["0123456789abcdef", "blitz"] {
            let name = format!("yotpo_td_00c0ffee_{word}-20261123T040000Z");
            assert_eq!(time_in_legacy_name(&name), Some(1_795_406_400), "{name}");
        }
    }

    #[test]
    fn what_an_attempt_may_need_is_kept_with_any_limit() {
        let day = 86_400;
        let orphan = |kind, since| Orphan {
            object: OrphanObject::Session("yotpo_td_v1_0123456789abcdef_a00_nightly".parse().unwrap()),
            kind,
            place: String::new(),
            status: String::new(),
            since,
        };
        let marker_age = marker_age(Duration::from_secs(5 * day));
        assert_eq!(marker_age, Duration::from_secs(8 * day));
        let verdict = |kind, age: u64, limit| {
            orphan(kind, Some(20 * day - age)).verdict(&[], 20 * day, Duration::from_secs(limit), marker_age)
        };
        for kind in [OrphanKind::Ballot, OrphanKind::Session, OrphanKind::TemporaryTable] {
            assert_eq!(verdict(kind, 8 * day - 1, 0), Verdict::Young, "{kind:?}");
            assert_eq!(verdict(kind, 8 * day, 0), Verdict::Remove, "{kind:?}");
            assert_eq!(verdict(kind, 9 * day, 10 * day), Verdict::Young, "{kind:?}");
        }
        assert_eq!(verdict(OrphanKind::Legacy, 3 * day, 2 * day), Verdict::Remove);
        assert_eq!(verdict(OrphanKind::Probe, 0, 8 * day), Verdict::Remove, "no run needs it");
        let unknown = orphan(OrphanKind::Ballot, None);
        assert_eq!(unknown.verdict(&[], 20 * day, Duration::ZERO, marker_age), Verdict::UnknownAge);
    }

    #[test]
    fn what_no_run_needs_is_recognised_by_its_name() {
        let removable =
            |name: &str, age: u64| is_removable(name, 1_795_406_400 + age, Duration::from_secs(86_400));
        let head = "yotpo_td_v1_0123456789abcdef";
        let nonce = "1795406400_0000000000000007";
        for aging in [
            format!("{head}_s_{nonce}_5_nightly"),
            format!("{head}_y_{nonce}_5_6"),
            "yotpo_td_tmp_00c0ffee_20261123t040000z_9f1c02ab_12345678".to_owned(),
        ] {
            assert!(!removable(&aging, 86_399) && removable(&aging, 86_400), "{aging}");
        }
        let probe = format!("{head}_p_{nonce}_1");
        assert!(removable(&probe, 0), "no run needs it");
        // The name of a ballot has no time, and what is not of this program is never removable.
        let ballot = format!("{head}_a00_nightly");
        for kept in [ballot.as_str(), "yotpo_td_tmp_00c0ffee_nightly", "somebody_elses"] {
            assert!(!removable(kept, u64::MAX / 2), "{kept}");
        }
    }
}
