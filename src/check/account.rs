//! Checks of the Treasure Data account: API key, database, table, columns, and what earlier runs left.
//!
//! Owns what is judged on them. It sends only requests that change nothing.

use super::finding::{CheckId, Finding, skip};
use super::reach::{Interruption, Way};
use crate::config::Settings;
use crate::housekeeping::{MANY_SESSIONS, MAX_SESSIONS, is_of_this_program, is_removable, marker_age};
use crate::identity::{DatabaseName, Mode};
use crate::run::RunError;
use crate::telemetry::words;
use crate::treasure_data::{
    Access, Column, KeyInfo, SessionState, TableAccess, TableDetails, TreasureDataClient, TreasureDataError,
};

/// The column that a run declares.
const COLUMN: &str = "json_response";
const KEY_QUESTION: &str = "Which kind does GET /v3/user/apikey/validate report for this key?";
const READ_QUESTION: &str = "May a key of this kind read databases and tables?";
const ID_QUESTION: &str = "Does GET /v3/table/show report the id of a table?";
const DATE_QUESTION: &str = "Do responses have a Date header?";

const OF_OBJECTS: [CheckId; 4] = [CheckId::Database, CheckId::Table, CheckId::Columns, CheckId::Leftovers];

/// What was found in the account.
pub(super) struct AccountFindings {
    pub(super) findings: Vec<Finding>,
    /// Whether the key is accepted.
    pub(super) is_usable: bool,
    /// Whether the table is known to exist.
    pub(super) has_table: bool,
}

impl AccountFindings {
    fn unusable(findings: Vec<Finding>) -> Self {
        Self { findings, is_usable: false, has_table: false }
    }
}

/// Checks the account.
pub(super) async fn check_account(client: &TreasureDataClient, settings: &Settings) -> AccountFindings {
    let way = Way {
        ids: [CheckId::TreasureDataDns, CheckId::TreasureDataConnection, CheckId::TreasureDataTls],
        endpoint: &settings.treasure_data.endpoint,
        origin: &settings.treasure_data_origin,
    };
    let mut findings = Vec::new();
    let key = client.key_info().await;
    if let Err(error) = &key
        && let Some(broken) = Interruption::of(error.call())
        && let Err(error) = key
    {
        findings.extend(way.unreachable(error, broken));
        let reason = "Treasure Data cannot be reached";
        findings.push(Finding::skipped(CheckId::TreasureDataKey, reason));
        findings.extend(skip(&OF_OBJECTS, reason));
        return AccountFindings::unusable(findings);
    }
    findings.extend(way.reached());
    let sessions = match client.sessions().await {
        Ok(sessions) => sessions,
        Err(error) => {
            findings.push(Finding::failed(CheckId::TreasureDataKey, why_unusable(key, error)));
            findings.extend(skip(&OF_OBJECTS, "the API key cannot be used"));
            return AccountFindings::unusable(findings);
        }
    };
    let is_import_only = key.as_ref().is_ok_and(KeyInfo::is_import_only);
    findings.push(of_key(key.ok(), settings.load.mode));
    let (of_database, access) = of_database(client, settings).await;
    findings.push(of_database);
    let mut has_table = false;
    match access {
        None => findings.extend(skip(&[CheckId::Table, CheckId::Columns], "the database could not be read")),
        Some(_) => {
            let (of_table, of_columns, exists) = of_table(client, settings, is_import_only).await;
            has_table = exists;
            findings.extend([of_table, of_columns]);
        }
    }
    findings.push(leftovers(client, settings, &sessions, access).await);
    AccountFindings { findings, is_usable: true, has_table }
}

/// Why the key cannot be used to list sessions: that it is denied is the more precise reason.
fn why_unusable(key: Result<KeyInfo, TreasureDataError>, sessions: TreasureDataError) -> TreasureDataError {
    match key {
        Err(denied @ TreasureDataError::Denied(_)) => denied,
        _ => sessions,
    }
}

fn of_key(info: Option<KeyInfo>, mode: Mode) -> Finding {
    let id = CheckId::TreasureDataKey;
    let unknown = "accepted; Treasure Data does not report its kind";
    let Some(info) = info else {
        return Finding::warning(
            id,
            unknown,
            "make sure that the key may import, and for replace that it has full access",
        );
    };
    let Some(kind) = &info.kind else { return Finding::passed(id, unknown) };
    let administrator = if info.administrator == Some(true) { ", of an administrator" } else { "" };
    let seen = format!("accepted; its kind is {kind}{administrator}");
    let finding = match (info.is_import_only(), mode) {
        (true, Mode::Replace) => Finding::failed(id, RunError::Denied),
        (true, Mode::Append) => Finding::passed(id, format!("{seen}: enough to append to an existing table")),
        (false, _) => Finding::passed(id, seen),
    };
    finding.with_fact("key_type", kind.as_str()).settling(KEY_QUESTION, kind.as_str())
}

/// `None` as access if it is not known whether the database exists.
async fn of_database(client: &TreasureDataClient, settings: &Settings) -> (Finding, Option<Access>) {
    let id = CheckId::Database;
    let database = &settings.load.target.database;
    match client.database(database).await {
        Ok(Access::Granted) => (
            Finding::passed(id, format!("{database} exists")).settling(READ_QUESTION, "yes"),
            Some(Access::Granted),
        ),
        Ok(Access::Denied) => {
            let finding = Finding::skipped(id, "the API key may not read databases (403)");
            (finding.settling(READ_QUESTION, "no (403)"), Some(Access::Denied))
        }
        // The key was accepted, so this is Treasure Data: it only does not have this call.
        Err(TreasureDataError::WrongEndpoint(_)) => (
            Finding::skipped(id, "Treasure Data does not have the call that shows a database"),
            Some(Access::Denied),
        ),
        Err(error) => (Finding::failed(id, error), None),
    }
}

/// The findings on the table and its columns, and whether the table is known to exist.
async fn of_table(
    client: &TreasureDataClient,
    settings: &Settings,
    is_import_only: bool,
) -> (Finding, Finding, bool) {
    let (id, target) = (CheckId::Table, &settings.load.target);
    let skipped = |reason: &str| Finding::skipped(CheckId::Columns, reason);
    let label = target.label();
    match client.table_details(&target.database, &target.table).await {
        Ok(TableAccess::Granted(table)) => {
            let of_columns = of_columns(table.columns.as_deref());
            (of_existing_table(&table, settings), of_columns, true)
        }
        Ok(TableAccess::Missing) if is_import_only => {
            let create = format!("td table:create {} {}", target.database, target.table);
            let hint = format!("create it with a key that may: {create}");
            (
                Finding::warning(id, format!("{label} does not exist"), hint),
                skipped("there is no table"),
                false,
            )
        }
        Ok(TableAccess::Missing) => {
            let finding = Finding::passed(id, format!("{label} does not exist; a run creates it"));
            (finding, skipped("there is no table"), false)
        }
        Ok(TableAccess::Denied) => (
            without_id(settings, "the API key may not read tables (403)"),
            skipped("the table cannot be read"),
            false,
        ),
        Err(error) => (Finding::failed(id, error), skipped("the table could not be read"), false),
    }
}

fn of_existing_table(table: &TableDetails, settings: &Settings) -> Finding {
    let label = settings.load.target.label();
    let rows = table
        .rows
        .map_or_else(|| "an unknown number of rows".to_owned(), |rows| words::count(rows, "row", "rows"));
    let finding = match table.id {
        Some(_) => Finding::passed(CheckId::Table, format!("{label} exists, with {rows} and an id")),
        None => without_id(settings, "the response for the table has no id"),
    };
    let answer = if table.id.is_some() { "yes" } else { "no" };
    finding.with_fact("rows", table.rows).settling(ID_QUESTION, answer)
}

/// The id of the table cannot be read.
fn without_id(settings: &Settings, reason: &str) -> Finding {
    let id = CheckId::Table;
    let label = settings.load.target.label();
    match settings.load.mode {
        Mode::Replace if !settings.load.without_table_ids => {
            let error = RunError::Denied;
            let hint = "--without-table-ids accepts that a recreated table is not noticed";
            let diagnosis = error.diagnosis().with_hint(hint);
            let mut finding = Finding::failed_with(id, error, diagnosis);
            finding.seen = format!("{reason}, and replace needs the id of {label}");
            finding
        }
        Mode::Replace | Mode::Append => Finding::warning(
            id,
            reason,
            format!(
                "{label} must exist; that it is deleted or recreated during a run goes unnoticed. A key with full access \
                 avoids both"
            ),
        ),
    }
}

fn of_columns(columns: Option<&[Column]>) -> Finding {
    let id = CheckId::Columns;
    let Some(columns) = columns else {
        return Finding::warning(
            id,
            "the columns could not be read",
            format!("make sure that {COLUMN} is a string, if the table has that column"),
        );
    };
    match columns.iter().find(|column| column.name == COLUMN) {
        None => Finding::passed(id, format!("there is no column {COLUMN} yet; a run declares it as string")),
        Some(column) if column.kind == "string" => Finding::passed(id, format!("{COLUMN} is a string")),
        Some(_) => Finding::warning(
            id,
            format!("{COLUMN} is not a string in this table"),
            "a run loads the rows, but queries may not be able to read them; load another table, or delete that column",
        ),
    }
    .with_fact("columns", columns.len())
}

async fn leftovers(
    client: &TreasureDataClient,
    settings: &Settings,
    sessions: &[SessionState],
    access: Option<Access>,
) -> Finding {
    let now = client.server_time().unwrap_or_else(|| client.clock().unix_time().as_secs());
    let keep = marker_age(settings.load.run_lifetime);
    let names: Vec<&str> = sessions.iter().map(|session| session.name.as_str()).collect();
    let database = &settings.load.target.database;
    let tables = match access {
        Some(Access::Granted) => client.tables(database).await.ok(),
        _ => None,
    };
    let tables: Option<Vec<&str>> =
        tables.as_ref().map(|tables| tables.iter().map(|table| table.name.as_str()).collect());
    let finding = of_leftovers(database, &names, tables.as_deref(), &|name| is_removable(name, now, keep));
    let has_date = if client.server_time().is_some() { "yes" } else { "no" };
    finding.settling(DATE_QUESTION, has_date)
}

/// Judges the names of all sessions of the account and of all tables of the database, if these could be listed.
fn of_leftovers(
    database: &DatabaseName,
    names: &[&str],
    tables: Option<&[&str]>,
    is_removable: &dyn Fn(&str) -> bool,
) -> Finding {
    let id = CheckId::Leftovers;
    let has_tables = tables.is_some();
    let tables = tables.unwrap_or_default();
    let ours = |names: &[&str]| names.iter().filter(|name| is_of_this_program(name)).count() as u64;
    let removable = |names: &[&str]| names.iter().filter(|name| is_removable(name)).count() as u64;
    let old = removable(names) + removable(tables);
    let of_tables = if has_tables {
        format!("{} in {database}", words::count(ours(tables), "temporary table", "temporary tables"))
    } else {
        "the tables could not be listed".to_owned()
    };
    let seen = format!(
        "{} in the account, {} of them of yotpo-td; {of_tables}; {}",
        words::count(names.len() as u64, "session", "sessions"),
        words::number(ours(names)),
        if old == 0 {
            "nothing to remove".to_owned()
        } else {
            format!("{} can be removed", words::number(old))
        },
    );
    let clean = format!("remove what no run needs: yotpo-td runs clean --database {database}");
    let finding = if names.len() >= MANY_SESSIONS {
        let most = words::number(MAX_SESSIONS as u64);
        let hint = format!("an account may hold about {most} sessions; {clean}; see --run-lifetime");
        Finding::warning(id, seen, hint)
    } else if old > 0 {
        Finding::warning(id, seen, clean)
    } else {
        Finding::passed(id, seen)
    };
    finding
        .with_fact("sessions", names.len())
        .with_fact("own_sessions", ours(names))
        .with_fact("own_tables", ours(tables))
        .with_fact("removable", old)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;
    use crate::exit_status::ExitStatus;
    use crate::http::{CallError, Effect};

    fn info(kind: Option<&str>) -> KeyInfo {
        KeyInfo { kind: kind.map(str::to_owned), administrator: Some(false) }
    }

    #[test]
    fn an_import_only_key_is_enough_to_append_and_not_to_replace() {
        let verdict = |key, mode| of_key(key, mode).verdict;
        for mode in [Mode::Append, Mode::Replace] {
            assert_eq!(verdict(Some(info(Some("master"))), mode), Verdict::Passed);
            assert_eq!(verdict(Some(info(None)), mode), Verdict::Passed);
            assert_eq!(verdict(None, mode), Verdict::Warning);
        }
        assert_eq!(verdict(Some(info(Some("write_only"))), Mode::Append), Verdict::Passed);
        let finding = of_key(Some(info(Some("write_only"))), Mode::Replace);
        assert_eq!(finding.failure.unwrap().diagnosis.status, ExitStatus::Denied);
    }

    fn failed(status: u16) -> TreasureDataError {
        let status = http::StatusCode::from_u16(status).unwrap();
        CallError::status("try", Effect::Repeatable, status, None, None).into()
    }

    #[test]
    fn a_denied_key_is_the_reason_why_sessions_cannot_be_listed() {
        let status =
            |key, sessions| why_unusable(key, failed(sessions)).call().status_code().unwrap().as_u16();
        assert_eq!(status(Err(failed(401)), 503), 401);
        assert_eq!(status(Err(failed(500)), 503), 503);
        assert_eq!(status(Ok(info(None)), 403), 403);
    }

    #[test]
    fn sessions_and_tables_that_no_run_needs_are_a_warning() {
        let database = "loyalty".parse().unwrap();
        let nonce = "1795406400_0000000000000007";
        let session = format!("yotpo_td_v1_0123456789abcdef_s_{nonce}_5_nightly");
        let table = format!("yotpo_td_v1_0123456789abcdef_y_{nonce}_5_6");
        let names = [session.as_str(), "somebody_elses"];
        let tables = [table.as_str(), "customers"];
        for (removable, verdict, words) in [
            (&[][..], Verdict::Passed, "nothing to remove"),
            (&[session.as_str()], Verdict::Warning, "1 can be removed"),
            (&[table.as_str()], Verdict::Warning, "1 can be removed"),
            (&[session.as_str(), table.as_str()], Verdict::Warning, "2 can be removed"),
        ] {
            let finding = of_leftovers(&database, &names, Some(&tables), &|name| removable.contains(&name));
            let expected = format!(
                "2 sessions in the account, 1 of them of yotpo-td; 1 temporary table in loyalty; {words}"
            );
            assert_eq!(finding.seen, expected);
            assert_eq!(finding.verdict, verdict, "{words}");
            assert!(finding.facts.contains(&("removable", removable.len().into())), "{:?}", finding.facts);
        }
        let unlisted = of_leftovers(&database, &names, None, &|_| false);
        assert!(unlisted.seen.contains("; the tables could not be listed; "), "{}", unlisted.seen);
    }

    #[test]
    fn only_a_column_of_another_type_is_a_warning() {
        let column = |name: &str, kind: &str| Column { name: name.to_owned(), kind: kind.to_owned() };
        let verdict = |columns: &[Column]| of_columns(Some(columns)).verdict;
        assert_eq!(verdict(&[]), Verdict::Passed);
        assert_eq!(verdict(&[column("id", "long"), column(COLUMN, "string")]), Verdict::Passed);
        assert_eq!(verdict(&[column(COLUMN, "long")]), Verdict::Warning);
        assert_eq!(of_columns(None).verdict, Verdict::Warning);
    }
}
