//! The names of bulk import sessions: the ballots of a run and the own session of each attempt.
//!
//! ```text
//! yotpo_td_v1_<fingerprint>_<a|r><generation>_<run id>                          ballot, never performed
//! yotpo_td_v1_<fingerprint>_s_<nonce>_<target id>_<run id>                      own session, append
//! yotpo_td_v1_<fingerprint>_t_<nonce>_<target id>_<own table's id>_<run id>     own session, replace
//! ```

use super::digest::ShortHash;
use super::mode::Mode;
use super::name::SessionName;
use super::nonce::{Nonce, split_nonce};
use super::run_id::RunId;
use super::table_id::TableId;
use super::target::Fingerprint;

/// Version of the protocol by which attempts of a run agree. Attempts of another version do not understand its ballots.
pub const PROTOCOL: u8 = 1;
/// Starts the name of every session and table that this program creates.
pub(super) const PREFIX: &str = "yotpo_td_";
const MAX_LENGTH: usize = 128;
/// Length of a fingerprint as text.
const FINGERPRINT_LENGTH: usize = 16;

/// The session by whose creation (`replace`) or parts (`append`) the attempts of a run decide which of them commits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BallotName {
    /// The run's target.
    pub fingerprint: Fingerprint,
    /// The run's mode.
    pub mode: Mode,
    /// The first is 0; another one follows when nothing can be committed by the one before.
    pub generation: u8,
    /// The run.
    pub run_id: RunId,
}

/// The session that holds what one attempt fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnSessionName {
    /// The run's target.
    pub fingerprint: Fingerprint,
    /// The attempt.
    pub nonce: Nonce,
    /// The target's id when the attempt began.
    pub target: TableId,
    /// The temporary table that is loaded, in `replace` mode.
    pub table: Option<TableId>,
    /// The run, or what stands for it.
    run: String,
}

/// A session of this program, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RunSession {
    /// A ballot.
    Ballot(BallotName),
    /// What an attempt fetched.
    Own(OwnSessionName),
    /// Of a version of the protocol that this program does not know.
    OtherProtocol {
        /// The version.
        version: u8,
        /// The run's target.
        fingerprint: Fingerprint,
        /// What follows the fingerprint.
        rest: String,
    },
    /// Of a release before the protocol had a version: one session a run.
    Legacy,
}

impl BallotName {
    /// The session's name.
    pub fn render(&self) -> SessionName {
        let Self { fingerprint, mode, generation, run_id } = self;
        let letter = mode.letter();
        SessionName::new_unchecked(format!(
            "{PREFIX}v{PROTOCOL}_{fingerprint}_{letter}{generation:02}_{run_id}"
        ))
    }
}

impl OwnSessionName {
    /// The own session of an attempt of `run`. `table` is its temporary table, in `replace` mode.
    pub fn new(
        fingerprint: Fingerprint,
        run: &RunId,
        nonce: Nonce,
        target: TableId,
        table: Option<TableId>,
    ) -> Self {
        let mut name = Self { fingerprint, nonce, target, table, run: String::new() };
        name.run = name.run_field(run);
        name
    }

    /// The session's name.
    pub fn render(&self) -> SessionName {
        SessionName::new_unchecked(format!("{}{}", self.without_run(), self.run))
    }

    /// Whether it is a session of this run.
    pub fn is_of(&self, run: &RunId) -> bool {
        self.run == self.run_field(run)
    }

    fn without_run(&self) -> String {
        let Self { fingerprint, nonce, target, table, .. } = self;
        match table {
            None => format!("{PREFIX}v{PROTOCOL}_{fingerprint}_s_{nonce}_{target}_"),
            Some(table) => format!("{PREFIX}v{PROTOCOL}_{fingerprint}_t_{nonce}_{target}_{table}_"),
        }
    }

    /// The run id, or 16 digits of its hash where the name would become too long.
    fn run_field(&self, run: &RunId) -> String {
        if self.without_run().len() + run.as_str().len() <= MAX_LENGTH {
            run.as_str().to_owned()
        } else {
            ShortHash::of(run.as_str().as_bytes()).to_string()
        }
    }
}

impl RunSession {
    /// Reads the name of any session of the account; `None` when it is not one of this program's.
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let Some((version, rest)) = split_version(rest) else {
            return is_legacy(rest).then_some(Self::Legacy);
        };
        let (fingerprint, rest) = split_fingerprint(rest)?;
        if version != PROTOCOL {
            return Some(Self::OtherProtocol { version, fingerprint, rest: rest.to_owned() });
        }
        match rest.split_at_checked(2)? {
            ("s_", rest) => parse_own(fingerprint, rest, Mode::Append).map(Self::Own),
            ("t_", rest) => parse_own(fingerprint, rest, Mode::Replace).map(Self::Own),
            _ => parse_ballot(fingerprint, rest).map(Self::Ballot),
        }
    }
}

/// `v1_` from the front.
fn split_version(text: &str) -> Option<(u8, &str)> {
    let (version, rest) = text.strip_prefix('v')?.split_once('_')?;
    let number: u8 = version.parse().ok()?;
    (number.to_string() == version).then_some((number, rest))
}

pub(super) fn split_fingerprint(text: &str) -> Option<(Fingerprint, &str)> {
    let (fingerprint, rest) = text.split_at_checked(FINGERPRINT_LENGTH)?;
    Some((Fingerprint::parse(fingerprint)?, rest.strip_prefix('_')?))
}

/// Strips `v1_` and the fingerprint of a name of this protocol.
pub(super) fn split_head(name: &str) -> Option<(Fingerprint, &str)> {
    let (version, rest) = split_version(name.strip_prefix(PREFIX)?)?;
    if version == PROTOCOL { split_fingerprint(rest) } else { None }
}

fn parse_ballot(fingerprint: Fingerprint, text: &str) -> Option<BallotName> {
    let (head, run_id) = text.split_once('_')?;
    let mode = [Mode::Append, Mode::Replace].into_iter().find(|mode| head.starts_with(mode.letter()))?;
    let digits =
        head.get(1..).filter(|digits| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()))?;
    Some(BallotName { fingerprint, mode, generation: digits.parse().ok()?, run_id: run_id.parse().ok()? })
}

fn parse_own(fingerprint: Fingerprint, text: &str, mode: Mode) -> Option<OwnSessionName> {
    let (nonce, rest) = split_nonce(text)?;
    let (target, rest) = rest.strip_prefix('_')?.split_once('_')?;
    let target = TableId::parse(target)?;
    let (table, run) = match mode {
        Mode::Append => (None, rest),
        Mode::Replace => {
            let (table, run) = rest.split_once('_')?;
            (Some(TableId::parse(table)?), run)
        }
    };
    let run: RunId = run.parse().ok()?;
    Some(OwnSessionName { fingerprint, nonce, target, table, run: run.as_str().to_owned() })
}

/// `<8 hexadecimal digits>_<run id>`.
fn is_legacy(text: &str) -> bool {
    text.split_once('_').is_some_and(|(fingerprint, run)| {
        fingerprint.len() == 8
            && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit())
            && run.parse::<RunId>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::target::tests::target;
    use super::*;

    fn own(run: &str, table: Option<&str>) -> OwnSessionName {
        let nonce = Nonce::new(1_795_406_400, 7).unwrap();
        let fingerprint = target("one").fingerprint();
        OwnSessionName::new(
            fingerprint,
            &run.parse().unwrap(),
            nonce,
            TableId::from_api("42"),
            table.map(TableId::from_api),
        )
    }

    fn ballot(run: &str) -> BallotName {
        let fingerprint = target("one").fingerprint();
        BallotName { fingerprint, mode: Mode::Append, generation: 3, run_id: run.parse().unwrap() }
    }

    #[test]
    fn names_look_as_documented() {
        let fingerprint = target("one").fingerprint();
        assert_eq!(ballot("nightly").render().as_str(), format!("yotpo_td_v1_{fingerprint}_a03_nightly"));
        let name = format!("yotpo_td_v1_{fingerprint}_t_1795406400_0000000000000007_42_43_nightly");
        assert_eq!(own("nightly", Some("43")).render().as_str(), name);
    }

    #[test]
    fn a_prefix_alone_is_not_ours() {
        let fingerprint = target("one").fingerprint();
        for name in [
            "yotpo_td_".to_owned(),
            "yotpo_td_reports".to_owned(),
            "yotpo_td_v1_reports".to_owned(),
            format!("yotpo_td_v1_{fingerprint}_"),
            format!("yotpo_td_v1_{fingerprint}_a3_run"),
            format!("yotpo_td_v1_{fingerprint}_a+3_run"),
            format!("yotpo_td_v1_{fingerprint}_x00_run"),
            format!("yotpo_td_v1_{fingerprint}_a00_"),
            format!("yotpo_td_v1_{fingerprint}_s_1795406400_0000000000000007_42"),
            format!("yotpo_td_v01_{fingerprint}_a00_run"),
        ] {
            assert_eq!(RunSession::parse(&name), None, "{name}");
        }
        assert_eq!(RunSession::parse("yotpo_td_00c0ffee_nightly"), Some(RunSession::Legacy));
        let other = RunSession::parse(&format!("yotpo_td_v2_{fingerprint}_a00_run"));
        let rest = "a00_run".to_owned();
        assert_eq!(other, Some(RunSession::OtherProtocol { version: 2, fingerprint, rest }));
    }

    #[test]
    fn a_run_id_that_is_too_long_enters_as_its_hash() {
        let long = "x".repeat(64);
        let name = own(&long, Some("43"));
        assert!(name.render().as_str().len() <= MAX_LENGTH);
        assert!(name.is_of(&long.parse().unwrap()));
        assert!(!name.is_of(&"x".repeat(63).parse().unwrap()));
    }

    proptest! {
        #[test]
        fn what_was_rendered_reads_back(run in "[A-Za-z0-9_-]{1,64}", id in "[a-z0-9]{1,20}", replace: bool) {
            let mode = if replace { Mode::Replace } else { Mode::Append };
            let own = own(&run, replace.then_some(id.as_str()));
            let text = own.render();
            prop_assert!(text.as_str().len() <= MAX_LENGTH);
            prop_assert!(own.is_of(&run.parse().unwrap()));
            prop_assert_eq!(RunSession::parse(text.as_str()), Some(RunSession::Own(own)));
            let ballot = BallotName { mode, ..ballot(&run) };
            let text = ballot.render();
            prop_assert!(text.as_str().len() <= MAX_LENGTH);
            prop_assert_eq!(RunSession::parse(text.as_str()), Some(RunSession::Ballot(ballot)));
        }
    }
}
