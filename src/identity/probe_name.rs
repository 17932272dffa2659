//! The names of the throw-away sessions and tables with which `yotpo-td check` tests the service.
//!
//! ```text
//! yotpo_td_v1_<fingerprint>_p_<nonce>_<number>    session or table of a probe
//! ```
//!
//! A name is valid for a session and for a table. No run uses such a session or table, so it may be removed at any time.

use super::name::{SessionName, TableName};
use super::nonce::{Nonce, split_nonce};
use super::session_name::{PREFIX, PROTOCOL, split_head};
use super::target::Fingerprint;

/// A session or table of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeName {
    /// The target that was checked.
    pub fingerprint: Fingerprint,
    /// The probe: its start and random bits.
    pub nonce: Nonce,
    /// Distinguishes the objects of one probe.
    pub number: u16,
}

impl ProbeName {
    /// The name of a session.
    pub fn session(&self) -> SessionName {
        SessionName::new_unchecked(self.text())
    }

    /// The name of a table.
    pub fn table(&self) -> TableName {
        TableName::new_unchecked(self.text())
    }

    fn text(&self) -> String {
        let Self { fingerprint, nonce, number } = self;
        format!("{PREFIX}v{PROTOCOL}_{fingerprint}_p_{nonce}_{number}")
    }

    /// Parses the name of any session or table; `None` if it does not belong to a probe of this program.
    pub fn parse(name: &str) -> Option<Self> {
        let (fingerprint, rest) = split_head(name)?;
        let (nonce, rest) = split_nonce(rest.strip_prefix("p_")?)?;
        let probe = Self { fingerprint, nonce, number: rest.strip_prefix('_')?.parse().ok()? };
        // A different spelling of the number would be another name.
        (probe.text() == name).then_some(probe)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::target::tests::target;
    use super::super::{OwnTable, RunSession};
    use super::*;

    #[test]
    fn names_have_the_documented_format_and_are_nothing_else() {
        let fingerprint = target("one").fingerprint();
        let probe = ProbeName { fingerprint, nonce: Nonce::new(1_795_406_400, 7).unwrap(), number: 12 };
        let name = format!("yotpo_td_v1_{fingerprint}_p_1795406400_0000000000000007_12");
        assert_eq!((probe.session().as_str(), probe.table().as_str()), (name.as_str(), name.as_str()));
        assert_eq!(RunSession::parse(&name), None, "no attempt takes it for a session of a run");
        assert_eq!(OwnTable::parse(&name), None, "no attempt takes it for a table of a run");
        for foreign in [
            name.replace("_p_", "_s_"),
            name.replace("_12", "_012"),
            name.replace("_12", "_+12"),
            name.replace("_12", ""),
            name.replace("_v1_", "_v2_"),
            format!("{name}_"),
        ] {
            assert_eq!(ProbeName::parse(&foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn rendered_names_can_be_parsed(time in 0..9_999_999_999_u64, random: u64, number: u16) {
            let (fingerprint, nonce) = (target("one").fingerprint(), Nonce::new(time, random).unwrap());
            let probe = ProbeName { fingerprint, nonce, number };
            prop_assert!(probe.table().as_str().len() <= 128);
            prop_assert_eq!(ProbeName::parse(probe.session().as_str()), Some(probe));
        }
    }
}
