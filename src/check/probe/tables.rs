//! Probes of tables: their ids, and sessions whose table is renamed or deleted.

use super::{ProbeError, Prober, Tallies};
use crate::identity::{SessionName, TableId, TableName};
use crate::treasure_data::{Change, Overwrite, TableLookup};

const NAME_QUESTION: &str = "Which table name does bulk_import/show report after a rename?";
const STATUS_QUESTION: &str =
    "Which status does bulk_import/show report for a session whose table is deleted?";

impl Prober<'_> {
    /// A table that is renamed over another keeps its id, and one that is created again under a name has another.
    pub(super) async fn probe_table_id(&mut self, tallies: &mut Tallies) -> Result<(), ProbeError> {
        let (from, to) = (self.create_table().await?, self.create_table().await?);
        let ids = [self.id(&from).await?, self.id(&to).await?];
        let session = self.create_session(&from).await?;
        let is_renamed = self.rename(&from, &to).await?;
        let after = self.id(&to).await?;
        match (ids, after) {
            _ if !is_renamed => tallies.table_id.unclear(),
            ([Some(before), Some(_)], Some(after)) if before == after => {
                if self.recreated_has_same_id(&from, before).await? {
                    tallies
                        .table_id
                        .contradicted("a table that was created again has the id of the former one");
                } else {
                    tallies.table_id.held();
                }
            }
            ([Some(_), Some(replaced)], Some(after)) if replaced == after => {
                tallies.table_id.contradicted("the id stayed with the name of the replaced table");
            }
            ([Some(_), Some(_)], Some(_)) => tallies.table_id.contradicted("a renamed table has another id"),
            _ => tallies.table_id.contradicted("the response for a table has no id"),
        }
        self.settle_reported_name(&session, &from, &to, tallies).await?;
        self.drop_session(&session).await;
        for table in [&from, &to] {
            self.drop_table(table).await;
        }
        Ok(())
    }

    async fn recreated_has_same_id(&mut self, table: &TableName, id: TableId) -> Result<bool, ProbeError> {
        let mut series = self.client.series();
        loop {
            match self.client.create_table(&mut series, self.database, table).await? {
                Change::Done | Change::Conflict => return Ok(self.id(table).await? == Some(id)),
                Change::Unclear => {}
                Change::Denied => return Err(ProbeError::Denied),
                Change::TableGone | Change::SessionGone => {
                    return Err(ProbeError::Disturbed("the database is gone"));
                }
            }
        }
    }

    async fn settle_reported_name(
        &self,
        session: &SessionName,
        old: &TableName,
        new: &TableName,
        tallies: &mut Tallies,
    ) -> Result<(), ProbeError> {
        let answer = match self.client.session(session).await? {
            None => "none: the session is gone",
            Some(state) if state.table == old.as_str() => "the old name",
            Some(state) if state.table == new.as_str() => "the new name",
            Some(_) => "another name",
        };
        tallies.table_id.settle(NAME_QUESTION, answer);
        Ok(())
    }

    /// A session whose table is deleted can still be shown, and a call that would change it names the missing table.
    pub(super) async fn probe_lost_table(&mut self, tallies: &mut Tallies) -> Result<(), ProbeError> {
        let table = self.create_table().await?;
        let session = self.create_session(&table).await?;
        self.client.delete_table(self.database, &table).await?;
        self.made.forget_table(&table);
        let tally = &mut tallies.lost_table;
        match self.client.session(&session).await? {
            None => tally.contradicted("the session is gone together with its table"),
            Some(state) if state.table != table.as_str() => {
                tally.contradicted("show no longer names the deleted table");
            }
            Some(state) => {
                tally.settle(STATUS_QUESTION, state.status.name());
                let mut series = self.client.series();
                match self.client.freeze(&mut series, &session).await? {
                    Change::TableGone => tally.held(),
                    Change::Unclear => tally.unclear(),
                    Change::Denied => return Err(ProbeError::Denied),
                    Change::Done => tally.contradicted("a session whose table is deleted was frozen"),
                    Change::Conflict | Change::SessionGone => {
                        tally.contradicted(
                            "the refusal to freeze a session whose table is deleted does not name the table",
                        );
                    }
                }
            }
        }
        self.drop_session(&session).await;
        Ok(())
    }

    async fn id(&self, table: &TableName) -> Result<Option<TableId>, ProbeError> {
        match self.client.table(self.database, table).await? {
            TableLookup::Is(id) => Ok(Some(id)),
            TableLookup::Missing | TableLookup::Denied => Ok(None),
        }
    }

    /// Renames a table over another; `false` if it is not known whether that happened.
    async fn rename(&self, from: &TableName, to: &TableName) -> Result<bool, ProbeError> {
        let mut series = self.client.series();
        match self.client.rename_table(&mut series, self.database, from, to, Overwrite::Allowed).await? {
            Change::Done => Ok(true),
            Change::Unclear => Ok(false),
            Change::Denied => Err(ProbeError::Denied),
            Change::Conflict => Err(ProbeError::Disturbed("a rename with overwrite=true was a conflict")),
            Change::TableGone | Change::SessionGone => Err(ProbeError::Disturbed("the table is gone")),
        }
    }
}
