//! The names of the tables that `replace` creates.
//!
//! ```text
//! yotpo_td_v1_<fingerprint>_x_<nonce>                                       scratch: renamed at once
//! yotpo_td_v1_<fingerprint>_y_<nonce>_<target id>_<own id>[_empty|_abandon]   temporary table
//! ```
//! A temporary table's own id stands in its name, so that no late creation can ever make it again.

use serde::{Deserialize, Serialize};

use super::name::TableName;
use super::nonce::{Nonce, split_nonce};
use super::session_name::{PREFIX, PROTOCOL, split_head};
use super::table_id::TableId;
use super::target::Fingerprint;

/// A table of this program, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnTable {
    /// Created under a name that nobody uses, until its id is known.
    Scratch {
        /// The run's target.
        fingerprint: Fingerprint,
        /// The attempt.
        nonce: Nonce,
    },
    /// Loaded beside the target.
    Temporary {
        /// The run's target.
        fingerprint: Fingerprint,
        /// The attempt.
        nonce: Nonce,
        /// The target's id when the attempt began.
        target: TableId,
        /// Its own id.
        table: TableId,
        /// What it is for.
        suffix: TableSuffix,
    },
}

/// What a temporary table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableSuffix {
    /// An attempt's rows.
    Rows,
    /// The store has no customers: the target is to become empty.
    Empty,
    /// It stands for the decision that nothing is loaded.
    Abandon,
}

impl OwnTable {
    /// The table's name.
    pub fn render(&self) -> TableName {
        TableName::new_unchecked(match self {
            Self::Scratch { fingerprint, nonce } => format!("{PREFIX}v{PROTOCOL}_{fingerprint}_x_{nonce}"),
            Self::Temporary { fingerprint, nonce, target, table, suffix } => {
                let suffix = suffix.as_str();
                format!("{PREFIX}v{PROTOCOL}_{fingerprint}_y_{nonce}_{target}_{table}{suffix}")
            }
        })
    }

    /// Reads the name of any table; `None` when it is not one of this program's.
    pub fn parse(name: &str) -> Option<Self> {
        let (fingerprint, rest) = split_head(name)?;
        if let Some(nonce) = rest.strip_prefix("x_") {
            return Some(Self::Scratch { fingerprint, nonce: nonce.parse().ok()? });
        }
        let (nonce, rest) = split_nonce(rest.strip_prefix("y_")?)?;
        let (target, rest) = rest.strip_prefix('_')?.split_once('_')?;
        let suffix =
            |suffix: &TableSuffix| rest.len() > suffix.as_str().len() && rest.ends_with(suffix.as_str());
        let suffix =
            [TableSuffix::Empty, TableSuffix::Abandon].into_iter().find(suffix).unwrap_or(TableSuffix::Rows);
        let table = TableId::parse(rest.strip_suffix(suffix.as_str())?)?;
        Some(Self::Temporary { fingerprint, nonce, target: TableId::parse(target)?, table, suffix })
    }

    /// Whether it was a table of a release before the protocol had a version.
    pub fn is_legacy(name: &str) -> bool {
        name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix("tmp_")).is_some_and(|rest| {
            rest.len() > 9
                && rest.bytes().take(8).all(|byte| byte.is_ascii_hexdigit())
                && rest.as_bytes().get(8) == Some(&b'_')
        })
    }

    /// The run's target.
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
    fn names_look_as_documented() {
        let fingerprint = target("one").fingerprint();
        let nonce = Nonce::new(1_795_406_400, 7).unwrap();
        let (target, table) = (TableId::from_api("42"), TableId::from_api("43"));
        let name =
            |suffix| OwnTable::Temporary { fingerprint, nonce, target, table, suffix }.render().to_string();
        let expected = format!("yotpo_td_v1_{fingerprint}_y_1795406400_0000000000000007_42_43");
        assert_eq!(name(TableSuffix::Rows), expected);
        assert_eq!(name(TableSuffix::Empty), format!("{expected}_empty"));
        for foreign in
            ["yotpo_td_tmp_mine", "yotpo_td_v1_y", "yotpo_customers", &expected[..expected.len() - 2]]
        {
            assert_eq!(OwnTable::parse(foreign), None, "{foreign}");
        }
        assert!(OwnTable::is_legacy("yotpo_td_tmp_00c0ffee_20261123t040000z_9f1c02ab_12345678"));
        assert!(!OwnTable::is_legacy("yotpo_td_tmp_reports"));
    }

    proptest! {
        #[test]
        fn what_was_rendered_reads_back(target_id in "[a-z0-9]{1,20}", id in "[a-z0-9]{1,20}", kind in 0..4, time in 0..9_999_999_999_u64) {
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
