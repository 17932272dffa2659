//! `yotpo-td runs clean`: removing what interrupted runs left in Treasure Data.

use super::{RunsCommand, RunsError, UsageError, age};
use crate::checkpoint::StateStore;
use crate::cli::runtime::client_runtime;
use crate::housekeeping::{Orphan, OrphanKind, Verdict, find_orphans, marker_age, remove_orphan};
use crate::services::assemble_account;
use crate::telemetry::write_stdout;
use crate::treasure_data::TreasureDataError;

impl RunsCommand<'_> {
    pub(super) fn clean(&self) -> Result<(), RunsError> {
        let account = self.account()?;
        let text = self.matches.get_one::<String>("older-than").cloned().unwrap_or_default();
        let age = humantime::parse_duration(&text).map_err(|_| UsageError::OlderThan(text.clone()))?;
        let directory = self.state_directory()?;
        let mut unfinished = Vec::new();
        for store in StateStore::all(&directory)? {
            unfinished.extend(store.run().ok().flatten());
        }
        let client = assemble_account(&account, &self.clock, fastrand::u64(..))?;
        let runtime = client_runtime()?;
        let keep = marker_age(account.run_lifetime);
        if age < keep && !self.matches.get_flag("dry-run") {
            let question = format!("remove what earlier releases left as soon as it is {text} old? [y/N] ");
            self.confirm(&question, UsageError::NotConfirmedAge(text))?;
        }
        let databases: Vec<_> = account.database.into_iter().collect();
        let now = self.clock.unix_time().as_secs();
        runtime.block_on(async {
            for orphan in find_orphans(&client, &databases).await? {
                let verdict = orphan.verdict(&unfinished, now, age, keep);
                if verdict == Verdict::Remove && !self.matches.get_flag("dry-run") {
                    remove_orphan(&client, &orphan).await?;
                }
                write_stdout(&line(&orphan, verdict, now, self.matches.get_flag("dry-run")));
            }
            Ok::<(), TreasureDataError>(())
        })?;
        Ok(())
    }
}

fn line(orphan: &Orphan, verdict: Verdict, now: u64, dry_run: bool) -> String {
    let Orphan { object, kind, place, status, since } = orphan;
    let name = object.name();
    let kind = match kind {
        OrphanKind::Ballot => "ballot",
        OrphanKind::Session => "session",
        OrphanKind::TemporaryTable => "temporary table",
        OrphanKind::Legacy => "left by an earlier release:",
    };
    let age = since.map_or_else(|| "age unknown".to_owned(), |since| format!("{} old", age(since, now)));
    let done = match verdict {
        Verdict::Remove if dry_run => "would be removed",
        Verdict::Remove => "removed",
        Verdict::Young => "left alone: too young",
        Verdict::UnknownAge => "left alone: age unknown, Treasure Data removes it after a week",
        Verdict::Unfinished => "left alone: of an unfinished run, see runs list",
    };
    format!("{kind} {name} ({place}, {status}, {age}): {done}\n")
}
