//! What tells one run from all others, and the names that follow from it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use crate::checkpoint::Target;
use crate::treasure_data::{NameError, SessionName, TableName};

/// Starts the name of every session that this program makes.
pub(super) const SESSION_PREFIX: &str = "yotpo_td_";
/// Starts the name of every temporary table that this program makes.
pub(super) const TEMPORARY_TABLE_PREFIX: &str = "yotpo_td_tmp_";

/// A run's id: letters, digits, `-` and `_`, at most 64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId(String);

/// Names that follow from run and target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunNames {
    pub(super) session: SessionName,
    pub(super) temporary_table: TableName,
}

impl RunId {
    /// The id of a run that starts at `unix_time`; `random` keeps runs of the same second apart.
    pub fn generate(unix_time: Duration, random: u32) -> Self {
        // Times that a row cannot have are refused elsewhere; here they only need a name.
        let time = UNIX_EPOCH + unix_time.min(Duration::from_secs(253_402_300_799));
        let stamp = humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "");
        Self(format!("{stamp}-{random:08x}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err("1 to 64 letters, digits, - or _")
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl RunNames {
    /// The target is part of the names, so that runs for several stores or tables may share an id.
    pub(super) fn new(id: &RunId, target: &Target) -> Result<Self, NameError> {
        let fingerprint = target.fingerprint();
        // Table names know neither capitals nor dashes, and two ids must not fall together.
        let folded = id.0.to_ascii_lowercase().replace('-', "_");
        let distinct = crc32fast::hash(id.0.as_bytes());
        Ok(Self {
            session: format!("{SESSION_PREFIX}{fingerprint}_{id}").parse()?,
            temporary_table: format!("{TEMPORARY_TABLE_PREFIX}{fingerprint}_{folded:.48}_{distinct:08x}")
                .parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(table: &str) -> Target {
        let text = |text: &str| text.to_owned();
        Target {
            store: text("store"),
            yotpo_endpoint: text("https://api.yotpo.com/"),
            treasure_data_endpoint: text("https://api.treasuredata.com/"),
            database: text("database"),
            table: text(table),
        }
    }

    fn names(id: &str, table: &str) -> RunNames {
        RunNames::new(&id.parse().unwrap(), &target(table)).unwrap()
    }

    #[test]
    fn generated_ids_carry_time_and_chance() {
        let id = RunId::generate(Duration::from_secs(1_795_406_400), 0x9f1c_02ab);
        assert_eq!(id.as_str(), "20261123T040000Z-9f1c02ab");
        let session = RunNames::new(&id, &target("one")).unwrap().session;
        assert!(session.as_str().starts_with(SESSION_PREFIX), "{session}");
    }

    #[test]
    fn names_differ_where_runs_or_targets_differ() {
        assert_ne!(names("a", "one").session, names("a", "two").session);
        assert_ne!(names("A-b", "one").temporary_table, names("a_b", "one").temporary_table);
        let long = "x".repeat(64);
        assert!(names(&long, "one").temporary_table.as_str().len() <= 128);
        assert_ne!(names(&long, "one").temporary_table, names(&long[1..], "one").temporary_table);
    }

    #[test]
    fn ids_that_could_bend_an_address_are_refused() {
        for text in ["", "a/b", "a b", "..", "é", &"x".repeat(65)] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }
}
