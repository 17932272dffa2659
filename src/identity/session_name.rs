//! The names of bulk import sessions: the ballots of a run and the session of each attempt.
//!
//! ```text
//! yotpo_td_v1_<fingerprint>_<a|r><generation>_<run id>                             ballot, never performed
//! yotpo_td_v1_<fingerprint>_s_<nonce>_<target id>_<run id>                         session of an attempt, append
//! yotpo_td_v1_<fingerprint>_t_<nonce>_<target id>_<temporary table id>_<run id>    session of an attempt, replace
//! ```

use super::digest::ShortHash;
use super::mode::Mode;
use super::name::SessionName;
use super::nonce::{Nonce, split_nonce};
use super::run_id::RunId;
use super::table_id::TableId;
use super::target::Fingerprint;

/// Version of the protocol with which attempts of a run agree. Attempts with another version do not understand its
/// ballots.
pub const PROTOCOL: u8 = 1;
/// Starts the name of every session and table that this program creates.
pub(super) const PREFIX: &str = "yotpo_td_";
const MAX_LENGTH: usize = 128;
/// Length of a fingerprint as text.
const FINGERPRINT_LENGTH: usize = 16;

/// The session with which the attempts of a run decide whose set is committed: by its creation (`replace`) or its parts
/// (`append`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BallotName {
    /// The target of the run.
    pub fingerprint: Fingerprint,
    /// The mode of the run.
    pub mode: Mode,
    /// From 0. Another one follows when the previous one cannot commit anything.
    pub generation: u8,
    /// The run.
    pub run_id: RunId,
}

/// The session into which one attempt loads the rows that it fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnSessionName {
    /// The target of the run.
    pub fingerprint: Fingerprint,
    /// The attempt.
    pub nonce: Nonce,
    /// The id of the target when the attempt began.
    pub target: TableId,
    /// The temporary table that is loaded, in `replace` mode.
    pub table: Option<TableId>,
    /// The run id or its hash.
    run: String,
}

/// A session of this program, identified by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RunSession {
    /// A ballot.
    Ballot(BallotName),
    /// The session of an attempt.
    Own(OwnSessionName),
    /// A session with a protocol version that this program does not know.
    OtherProtocol {
        /// The version.
        version: u8,
        /// The target of the run.
        fingerprint: Fingerprint,
        /// The rest of the name after the fingerprint.
        rest: String,
    },
    /// A session of a release before the protocol had a version, with one session per run.
    Legacy,
}

impl BallotName {
    /// The name of the session.
    pub fn render(&self) -> SessionName {
        let Self { fingerprint, mode, generation, run_id } = self;
        let letter = mode.letter();
        SessionName::new_unchecked(format!(
            "{PREFIX}v{PROTOCOL}_{fingerprint}_{letter}{generation:02}_{run_id}"
        ))
    }
}

impl OwnSessionName {
    /// The session of an attempt of `run`. `table` is its temporary table, in `replace` mode.
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

    /// The name of the session.
    pub fn render(&self) -> SessionName {
        SessionName::new_unchecked(format!("{}{}", self.without_run(), self.run))
    }

    /// Whether it belongs to this run.
    pub fn belongs_to(&self, run: &RunId) -> bool {
        self.run == self.run_field(run)
    }

    fn without_run(&self) -> String {
        let Self { fingerprint, nonce, target, table, .. } = self;
        match table {
            None => format!("{PREFIX}v{PROTOCOL}_{fingerprint}_s_{nonce}_{target}_"),
            Some(table) => format!("{PREFIX}v{PROTOCOL}_{fingerprint}_t_{nonce}_{target}_{table}_"),
        }
    }

    /// The run id, or 16 digits of its hash if the name would become too long.
    fn run_field(&self, run: &RunId) -> String {
        if self.without_run().len() + run.as_str().len() <= MAX_LENGTH {
            run.as_str().to_owned()
        } else {
            ShortHash::of(run.as_str().as_bytes()).to_string()
        }
    }
}

impl RunSession {
    /// Parses the name of any session of the account; `None` if it does not belong to this program.
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

/// Splits `v1_` off the front.
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
    fn names_have_the_documented_format() {
        let fingerprint = target("one").fingerprint();
        assert_eq!(ballot("nightly").render().as_str(), format!("yotpo_td_v1_{fingerprint}_a03_nightly"));
        let name = format!("yotpo_td_v1_{fingerprint}_t_1795406400_0000000000000007_42_43_nightly");
        assert_eq!(own("nightly", Some("43")).render().as_str(), name);
    }

    #[test]
    fn a_prefix_alone_is_not_a_name_of_this_program() {
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
    fn a_legacy_name_is_eight_hexadecimal_digits_and_a_run_id() {
        for (rest, expected) in [
            ("00c0ffee_nightly", Some(RunSession::Legacy)),
            ("00c0ffee", None),
            ("00c0ffee_", None),
            ("00c0ffee_two words", None),
            ("00c0ffe_nightly", None),
            ("00c0ffee0_nightly", None),
            ("customer_nightly", None),
        ] {
            assert_eq!(RunSession::parse(&format!("yotpo_td_{rest}")), expected, "{rest}");
        }
    }

    #[test]
    fn a_long_run_id_is_replaced_by_its_hash() {
        let long = "x".repeat(64);
        let name = own(&long, Some("43"));
        assert!(name.render().as_str().len() <= MAX_LENGTH);
        assert!(name.belongs_to(&long.parse().unwrap()));
        assert!(!name.belongs_to(&"x".repeat(63).parse().unwrap()));
    }

    proptest! {
        #[test]
        fn rendered_names_can_be_parsed(run in "[A-Za-z0-9_-]{1,64}", id in "[a-z0-9]{1,20}", replace: bool) {
            let mode = if replace { Mode::Replace } else { Mode::Append };
            let own = own(&run, replace.then_some(id.as_str()));
            let text = own.render();
            prop_assert!(text.as_str().len() <= MAX_LENGTH);
            prop_assert!(own.belongs_to(&run.parse().unwrap()));
            prop_assert_eq!(RunSession::parse(text.as_str()), Some(RunSession::Own(own)));
            let ballot = BallotName { mode, ..ballot(&run) };
            let text = ballot.render();
            prop_assert!(text.as_str().len() <= MAX_LENGTH);
            prop_assert_eq!(RunSession::parse(text.as_str()), Some(RunSession::Ballot(ballot)));
        }
    }
}
