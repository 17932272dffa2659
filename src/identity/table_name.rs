//! The names of the tables that `replace` creates.
//!
//! ```text
//! yotpo_td_v1_<fingerprint>_x_<nonce>                                         scratch table, renamed immediately
//! yotpo_td_v1_<fingerprint>_y_<nonce>_<target id>_<own id>[_empty|_abandon]   temporary table
//! ```
//! The name of a temporary table contains its own id, so that a delayed request can never create it again.

use serde::{Deserialize, Serialize};

use super::name::TableName;
use super::nonce::{Nonce, split_nonce};
use super::session_name::{PREFIX, PROTOCOL, split_head};
use super::table_id::TableId;
use super::target::Fingerprint;

/// A table of this program, identified by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnTable {
    /// An empty table under a name that nobody else uses, until its id is known.
    Scratch {
        /// The target of the run.
        fingerprint: Fingerprint,
        /// The attempt.
        nonce: Nonce,
    },
    /// The table into which an attempt loads, next to the target.
    Temporary {
        /// The target of the run.
        fingerprint: Fingerprint,
        /// The attempt.
        nonce: Nonce,
        /// The id of the target when the attempt began.
        target: TableId,
        /// Its own id.
        table: TableId,
        /// Its purpose.
        suffix: TableSuffix,
    },
}

/// The purpose of a temporary table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableSuffix {
    /// It contains the rows of an attempt.
    Rows,
    /// The store has no customers, so the target becomes empty.
    Empty,
    /// It represents the decision that nothing is loaded.
    Abandon,
}

impl OwnTable {
    /// The name of the table.
    pub fn render(&self) -> TableName {
        TableName::new_unchecked(match self {
            Self::Scratch { fingerprint, nonce } => format!("{PREFIX}v{PROTOCOL}_{fingerprint}_x_{nonce}"),
            Self::Temporary { fingerprint, nonce, target, table, suffix } => {
                let suffix = suffix.as_str();
                format!("{PREFIX}v{PROTOCOL}_{fingerprint}_y_{nonce}_{target}_{table}{suffix}")
            }
        })
    }

    /// Parses the name of any table; `None` if it does not belong to this program.
    pub fn parse(name: &str) -> Option<Self> {
        let (fingerprint, rest) = split_head(name)?;
        if let Some(nonce) = rest.strip_prefix("x_") {
            return Some(Self::Scratch { fingerprint, nonce: nonce.parse().ok()? });
        }
        let (nonce, rest) = split_nonce(rest.strip_prefix("y_")?)?;
        let (target, rest) = rest.strip_prefix('_')?.split_once('_')?;
        let suffix = [TableSuffix::Empty, TableSuffix::Abandon]
            .into_iter()
            .find(|suffix| rest.ends_with(suffix.as_str()))
            .unwrap_or(TableSuffix::Rows);
        let table = TableId::parse(rest.strip_suffix(suffix.as_str())?)?;
        Some(Self::Temporary { fingerprint, nonce, target: TableId::parse(target)?, table, suffix })
    }

    /// Whether it is the name of a table of a release before the protocol had a version.
    pub fn is_legacy(name: &str) -> bool {
        name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix("tmp_")).is_some_and(|rest| {
            rest.len() > 9
                && rest.bytes().take(8).all(|byte| byte.is_ascii_hexdigit())
                && rest.as_bytes().get(8) == Some(&b'_')
        })
    }

    /// The target of the run.
    pub const fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Scratch { fingerprint, .. } | Self::Temporary { fingerprint, .. } => *fingerprint,
        }
    }

    /// The attempt.
    pub const fn nonce(&self) -> Nonce {
        match self {
            Self::Scratch { nonce, .. } | Self::Temporary { nonce, .. } => *nonce,
        }
    }
}

impl TableSuffix {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "",
            Self::Empty => "_empty",
            Self::Abandon => "_abandon",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::target::tests::target;
    use super::*;

    #[test]
    fn names_have_the_documented_format() {
        let fingerprint = target("one").fingerprint();
        let nonce = Nonce::new(1_795_406_400, 7).unwrap();
        let (target, table) = (TableId::from_api("42"), TableId::from_api("43"));
        let name =
            |suffix| OwnTable::Temporary { fingerprint, nonce, target, table, suffix }.render().to_string();
        let expected = format!("yotpo_td_v1_{fingerprint}_y_1795406400_0000000000000007_42_43");
        assert_eq!(name(TableSuffix::Rows), expected);
        assert_eq!(name(TableSuffix::Empty), format!("{expected}_empty"));
        let without_own_id = &expected[..expected.len() - 2];
        for foreign in [
            "yotpo_td_tmp_mine",
            "yotpo_td_v1_y",
            "yotpo_customers",
            without_own_id,
            &format!("{without_own_id}_empty"),
            &format!("{without_own_id}__empty"),
        ] {
            assert_eq!(OwnTable::parse(foreign), None, "{foreign}");
        }
        assert!(OwnTable::is_legacy("yotpo_td_tmp_00c0ffee_20261123t040000z_9f1c02ab_12345678"));
        // Somebody's tables: too short, nothing after the fingerprint, no fingerprint, or no separator after it.
        for foreign in [
            "yotpo_td_tmp_reports",
            "yotpo_td_tmp_00c0ffee_",
            "yotpo_td_tmp_reports1_backup",
            "yotpo_td_tmp_00c0ffee1_backup",
        ] {
            assert!(!OwnTable::is_legacy(foreign), "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn rendered_names_can_be_parsed(target_id in "[a-z0-9]{1,20}", id in "[a-z0-9]{1,20}", kind in 0..4, time in 0..9_999_999_999_u64) {
            let fingerprint = target("one").fingerprint();
            let nonce = Nonce::new(time, u64::MAX).unwrap();
            let (target, table) = (TableId::from_api(&target_id), TableId::from_api(&id));
            let temporary = |suffix| OwnTable::Temporary { fingerprint, nonce, target, table, suffix };
            let name = match kind {
                0 => OwnTable::Scratch { fingerprint, nonce },
                1 => temporary(TableSuffix::Rows),
                2 => temporary(TableSuffix::Empty),
                _ => temporary(TableSuffix::Abandon),
            };
            let text = name.render();
            prop_assert!(text.as_str().len() <= 128);
            prop_assert_eq!(OwnTable::parse(text.as_str()), Some(name));
        }
    }
}
