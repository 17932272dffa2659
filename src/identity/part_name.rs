//! The names of parts, which prove that a session is complete, and of proposals.
//!
//! ```text
//! part_<position>_<hash of its body>                                                          part
//! part_<position>_<hash of its body>_last_<parts>_<valid rows>_<rejected>_<digest>            last part
//! propose_<nonce>_<target id>_<parts>_<valid rows>_<rejected>                                 proposal, in a ballot
//! abandon_<nonce>                                                                             proposal to load nothing
//! ```

use serde::{Deserialize, Serialize};

use super::digest::{PartsDigest, ShortHash};
use super::name::PartName;
use super::nonce::{Nonce, split_nonce};
use super::table_id::TableId;

/// The totals of a complete set, which are part of the name of its last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartTotals {
    /// Number of parts, including the last one.
    pub parts: u64,
    /// Number of rows in them.
    pub valid: u64,
    /// Number of customers that could not become a row.
    pub rejected: u64,
}

/// A part of the session of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnPart {
    position: u64,
    body: ShortHash,
    last: Option<(PartTotals, PartsDigest)>,
}

/// The entry of an attempt in a ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proposal {
    /// The set of the attempt, which is complete and loaded. The smallest nonce wins.
    Set {
        /// The attempt.
        nonce: Nonce,
        /// The id of the target when the attempt began.
        target: TableId,
        /// Number of parts in the set.
        parts: u64,
        /// Number of rows.
        valid: u64,
        /// Number of rejected customers.
        rejected: u64,
    },
    /// Nothing is to be loaded. Any set wins over it.
    Abandon {
        /// The attempt that proposed it.
        nonce: Nonce,
    },
}

/// Why a list of parts does not prove a complete set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A name was not created by this program.
    #[error("a part was not created by yotpo-td")]
    Foreign,
    /// A position is missing or used twice.
    #[error("part {position} is missing or duplicated")]
    Gap {
        /// The position, from 0.
        position: u64,
    },
    /// The part with the totals is missing or not the last one.
    #[error("the last part is missing")]
    NoLast,
    /// The names do not match the digest in the name of the last part.
    #[error("the parts belong to different attempts")]
    Mixed,
}

impl OwnPart {
    /// The part with this body at `position` (from 0).
    pub fn new(position: u64, body: &[u8]) -> Self {
        Self { position, body: ShortHash::of(body), last: None }
    }

    /// The same part as the last one of a set. `before` is the digest over the names of the previous parts.
    #[must_use]
    pub fn last(self, before: PartsDigest, valid: u64, rejected: u64) -> Self {
        let totals = PartTotals { parts: self.position + 1, valid, rejected };
        Self { last: Some((totals, before.with(&self.stem()))), ..self }
    }

    /// Its position, from 0.
    pub const fn position(&self) -> u64 {
        self.position
    }

    fn stem(&self) -> String {
        format!("part_{:08}_{}", self.position, self.body)
    }

    /// The name of the part.
    pub fn render(&self) -> PartName {
        let stem = self.stem();
        PartName::new_unchecked(match self.last {
            None => stem,
            Some((PartTotals { parts, valid, rejected }, digest)) => {
                format!("{stem}_last_{parts}_{valid}_{rejected}_{digest}")
            }
        })
    }

    /// Parses the name of a part; `None` if this program did not create it.
    pub fn parse(name: &str) -> Option<Self> {
        let mut fields = name.strip_prefix("part_")?.split('_');
        let position = fields.next()?.parse().ok()?;
        let body = fields.next()?.parse().ok()?;
        let last = match fields.next() {
            None => None,
            Some("last") => {
                let [parts, valid, rejected] = [(); 3].map(|()| fields.next()?.parse().ok());
                let totals = PartTotals { parts: parts?, valid: valid?, rejected: rejected? };
                Some((totals, fields.next()?.parse().ok()?))
            }
            Some(_) => return None,
        };
        let part = Self { position, body, last };
        // A different spelling of a number would be another name.
        let is_canonical = fields.next().is_none() && part.render().as_str() == name;
        is_canonical.then_some(part)
    }
}

/// Proves that `names` are the parts of one complete set and returns its totals.
///
/// # Errors
/// What is missing or unexpected.
pub fn prove_complete<'a>(names: impl Iterator<Item = &'a str>) -> Result<PartTotals, ProofError> {
    let mut parts = names.map(OwnPart::parse).collect::<Option<Vec<_>>>().ok_or(ProofError::Foreign)?;
    parts.sort_by_key(OwnPart::position);
    let mut digest = PartsDigest::default();
    let mut proven = None;
    for (part, position) in parts.iter().zip(0..) {
        if part.position != position {
            return Err(ProofError::Gap { position });
        }
        match part.last {
            None => digest = digest.with(part.render().as_str()),
            Some(_) if proven.is_some() => return Err(ProofError::Mixed),
            Some((totals, written)) if written == digest.with(&part.stem()) => proven = Some(totals),
            Some(_) => return Err(ProofError::Mixed),
        }
    }
    match proven {
        Some(totals) if u64::try_from(parts.len()) == Ok(totals.parts) => Ok(totals),
        Some(_) => Err(ProofError::Mixed),
        None => Err(ProofError::NoLast),
    }
}

impl Proposal {
    /// The attempt that made the proposal.
    pub const fn nonce(self) -> Nonce {
        match self {
            Self::Set { nonce, .. } | Self::Abandon { nonce } => nonce,
        }
    }

    /// The name of the part that represents it.
    pub fn render(self) -> PartName {
        PartName::new_unchecked(match self {
            Self::Set { nonce, target, parts, valid, rejected } => {
                format!("propose_{nonce}_{target}_{parts}_{valid}_{rejected}")
            }
            Self::Abandon { nonce } => format!("abandon_{nonce}"),
        })
    }

    /// Parses the name of a part of a ballot; `None` if it is not a proposal.
    pub fn parse(name: &str) -> Option<Self> {
        let proposal = match name.strip_prefix("propose_") {
            Some(rest) => {
                let (nonce, rest) = split_nonce(rest)?;
                let mut fields = rest.strip_prefix('_')?.split('_');
                let target = TableId::parse(fields.next()?)?;
                let [parts, valid, rejected] = [(); 3].map(|()| fields.next()?.parse().ok());
                Self::Set { nonce, target, parts: parts?, valid: valid?, rejected: rejected? }
            }
            None => Self::Abandon { nonce: name.strip_prefix("abandon_")?.parse().ok()? },
        };
        (proposal.render().as_str() == name).then_some(proposal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(count: u64, salt: u8) -> Vec<String> {
        let mut digest = PartsDigest::default();
        (0..count)
            .map(|position| {
                let part = OwnPart::new(position, &[salt, u8::try_from(position).unwrap()]);
                if position + 1 == count {
                    return part.last(digest, 10 * count, 1).render().to_string();
                }
                let name = part.render().to_string();
                digest = digest.with(&name);
                name
            })
            .collect()
    }

    fn prove(names: &[String]) -> Result<PartTotals, ProofError> {
        prove_complete(names.iter().map(String::as_str))
    }

    #[test]
    fn names_have_the_documented_format() {
        let names = set(2, 0);
        assert_eq!(names[0], "part_00000000_96a296d224f285c6");
        assert!(names[1].starts_with("part_00000001_b413f47d13ee2fe6_last_2_20_1_"), "{}", names[1]);
        let nonce = Nonce::new(1_795_406_400, 7).unwrap();
        let target = TableId::from_api("42");
        let proposal = Proposal::Set { nonce, target, parts: 2, valid: 20, rejected: 1 };
        assert_eq!(proposal.render().as_str(), "propose_1795406400_0000000000000007_42_2_20_1");
        assert_eq!(Proposal::Abandon { nonce }.render().as_str(), "abandon_1795406400_0000000000000007");
        for foreign in [
            "",
            "part_1",
            "part_00000000_96a296d224f285c6_",
            "part_0_96a296d224f285c6",
            "propose_",
            "abandon_x",
        ] {
            assert_eq!((OwnPart::parse(foreign), Proposal::parse(foreign)), (None, None), "{foreign}");
        }
    }

    #[test]
    fn any_set_wins_over_an_abandon_and_the_oldest_set_wins() {
        let nonce = |time| Nonce::new(time, 0).unwrap();
        let set = |time| Proposal::Set {
            nonce: nonce(time),
            target: TableId::unknown(),
            parts: 1,
            valid: 1,
            rejected: 0,
        };
        let winner = [Proposal::Abandon { nonce: nonce(1) }, set(3), set(2)].into_iter().min().unwrap();
        assert_eq!(winner, set(2));
    }

    #[test]
    fn only_a_complete_set_is_proven() {
        let complete = set(3, 0);
        assert_eq!(prove(&complete), Ok(PartTotals { parts: 3, valid: 30, rejected: 1 }));
        assert_eq!(prove(&complete[..2]), Err(ProofError::NoLast));
        assert_eq!(prove(&[]), Err(ProofError::NoLast));
        assert_eq!(prove(&[complete[0].clone(), complete[2].clone()]), Err(ProofError::Gap { position: 1 }));
        let other = set(3, 1);
        assert_eq!(
            prove(&[complete[0].clone(), other[1].clone(), complete[2].clone()]),
            Err(ProofError::Mixed)
        );
        assert_eq!(
            prove(&[complete.clone(), vec![other[1].clone()]].concat()),
            Err(ProofError::Gap { position: 2 })
        );
        assert_eq!(prove(&[complete.clone(), vec!["part_x".to_owned()]].concat()), Err(ProofError::Foreign));
        // A shorter set's last part in the middle.
        let shorter = set(2, 0);
        assert_eq!(
            prove(&[complete[0].clone(), shorter[1].clone(), complete[2].clone()]),
            Err(ProofError::Mixed)
        );
    }

    #[test]
    fn nothing_may_follow_the_last_part() {
        let complete = set(2, 0);
        let before = PartsDigest::default().with(&complete[0]);
        let third = OwnPart::new(2, b"third");
        // Its digest and its number of parts fit, but there is another last part before it.
        for (following, part) in [("a part", third), ("another last part", third.last(before, 30, 1))] {
            let names = [complete.clone(), vec![part.render().to_string()]].concat();
            assert_eq!(prove(&names), Err(ProofError::Mixed), "{following}");
        }
    }

    proptest! {
        #[test]
        fn a_complete_set_is_proven_in_any_order_and_nothing_less(count in 1..20_u64, missing in 0..20_usize) {
            let mut names = set(count, 3);
            names.reverse();
            prop_assert_eq!(prove(&names), Ok(PartTotals { parts: count, valid: 10 * count, rejected: 1 }));
            names.remove(missing % names.len());
            let unproven = matches!(prove(&names), Err(ProofError::Gap { .. } | ProofError::NoLast));
            prop_assert!(unproven);
        }
    }
}
