//! `yotpo-td runs clean`: removing what interrupted runs left in Treasure Data.
//!
//! Owns the order: everything is listed first, then the user confirms, then it is removed.

use std::time::Duration;

use super::{RunsCommand, RunsError, UsageError, age};
use crate::checkpoint::StateStore;
use crate::cli::runtime::client_runtime;
use crate::config::keys::RUN_LIFETIME;
use crate::housekeeping::{Orphan, OrphanKind, Verdict, find_orphans, marker_age, remove_orphan};
use crate::services::assemble_account;
use crate::telemetry::{words, write_stdout};
use crate::treasure_data::TreasureDataError;

impl RunsCommand<'_> {
    pub(super) fn clean(&self) -> Result<(), RunsError> {
        let account = self.account()?;
        let text = self.matches.get_one::<String>("older-than").cloned().unwrap_or_default();
        let limit = humantime::parse_duration(&text).map_err(|_| UsageError::OlderThan(text.clone()))?;
        let mut unfinished = Vec::new();
        for store in StateStore::all(&self.state_directory()?)? {
            unfinished.extend(store.run().ok().flatten());
        }
        let client = assemble_account(&account, &self.clock, fastrand::u64(..))?;
        let runtime = client_runtime()?;
        let databases: Vec<_> = account.database.into_iter().collect();
        let keep = marker_age(longest_lifetime());
        let orphans = runtime.block_on(find_orphans(&client, &databases))?;
        // Names contain Treasure Data's time. By a clock that is ahead, what attempts still need would be old.
        let now = client.server_time().unwrap_or_else(|| {
            tracing::warn!("Treasure Data's responses have no Date header, so this machine's clock is used");
            self.clock.unix_time().as_secs()
        });
        let is_dry_run = self.matches.get_flag("dry-run");
        let mut removable = Vec::new();
        for orphan in orphans {
            let verdict = orphan.verdict(&unfinished, now, limit, keep);
            write_stdout(&line(&orphan, verdict, now));
            if verdict == Verdict::Remove {
                removable.push(orphan);
            }
        }
        let objects = words::count(removable.len() as u64, "object", "objects");
        if removable.is_empty() || is_dry_run {
            write_stdout(&format!("{objects} can be removed\n"));
            return Ok(());
        }
        self.confirm(&format!("remove {objects}? [y/N] "), UsageError::NotConfirmedRemoval)?;
        runtime.block_on(async {
            for orphan in &removable {
                remove_orphan(&client, orphan).await?;
                write_stdout(&format!("removed {}\n", described(orphan)));
            }
            Ok::<(), TreasureDataError>(())
        })?;
        Ok(())
    }
}

/// The longest that any machine may let a run live, whatever is set on this one.
fn longest_lifetime() -> Duration {
    RUN_LIFETIME.kind.max_duration().unwrap_or(Duration::MAX)
}

fn described(orphan: &Orphan) -> String {
    let kind = match orphan.kind {
        OrphanKind::Ballot => "ballot",
        OrphanKind::Session => "session",
        OrphanKind::TemporaryTable => "temporary table",
        OrphanKind::Probe => "object of a check:",
        OrphanKind::Legacy => "object of an earlier release:",
    };
    format!("{kind} {}", orphan.object.name())
}

fn line(orphan: &Orphan, verdict: Verdict, now: u64) -> String {
    let Orphan { place, status, since, .. } = orphan;
    let age = since.map_or_else(|| "age unknown".to_owned(), |since| format!("{} old", age(since, now)));
    let decision = match verdict {
        Verdict::Remove => "can be removed",
        Verdict::Young => "is kept: too young",
        Verdict::UnknownAge => "is kept: age unknown, Treasure Data removes it after a week",
        Verdict::Unfinished => "is kept: of an unfinished run, see yotpo-td runs list",
    };
    format!("{} ({place}, {status}, {age}) {decision}\n", described(orphan))
}
