//! The state file: as given, and with a matching checksum.

use yotpo_td::checkpoint::FormatError;
use yotpo_td::checkpoint::fuzzing::{SavedState, seal};

use super::Verdict;

/// Versions that can be read.
const VERSIONS: [u32; 3] = [1, 2, WRITTEN];
/// The version that is written. Older versions are read only as far as needed to migrate away from them.
const WRITTEN: u32 = 3;

/// A state that is used is exactly the one that was sealed, and any damage to it is detected.
pub fn state_file(data: &[u8]) -> Verdict {
    let as_given = SavedState::decode(data);
    let body = body_of(data);
    if let Ok(state) = &as_given {
        let body = body.expect("a state is a text");
        assert!(
            VERSIONS.iter().any(|version| seal(*version, body) == data),
            "the file is not in a format that is written"
        );
        if seal(WRITTEN, body) == data {
            assert_round_trip(state);
        }
    }
    let Some(body) = body else { return Verdict::Rejected };

    for version in [WRITTEN + 1, 7, u32::MAX] {
        let later = SavedState::decode(&seal(version, body));
        assert_eq!(later, Err(FormatError::TooNew { found: version }));
    }
    let sealed = VERSIONS.map(|version| SavedState::decode(&seal(version, body)));
    for (version, state) in VERSIONS.into_iter().zip(&sealed) {
        match state {
            Ok(state) if version == WRITTEN => assert_round_trip(state),
            Ok(_) => {}
            Err(error) => assert_eq!(*error, FormatError::Content { version }),
        }
    }
    let accepted = as_given.is_ok() || sealed.iter().any(Result::is_ok);
    if accepted { Verdict::Accepted } else { Verdict::Rejected }
}

/// The content after the header, if there is one, so that mutations of whole files reach the content that the checksum
/// protects.
fn body_of(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    let Some(("yotpo-td state", _)) = text.split_at_checked(14) else { return Some(text) };
    let (_, body) = text.split_once('\n')?;
    Some(body.strip_suffix('\n').unwrap_or(body))
}

fn assert_round_trip(state: &SavedState) {
    let file = state.encode().expect("a state can be written");
    let read = SavedState::decode(&file).expect("an encoded state can be decoded");
    assert_eq!(read, *state);
    assert_eq!(read.encode().expect("a state can be written"), file, "saving changes the file");
    // A few positions, which depend on the content; the tests of the format check all positions.
    let spread = file.iter().fold(file.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    for step in 0..8_usize {
        let position = spread.wrapping_mul(2 * step + 1) % file.len();
        let mut damaged = file.clone();
        damaged[position] ^= 1 << (step % 8);
        assert!(SavedState::decode(&damaged).is_err(), "a flipped bit in byte {position} is not detected");
        assert!(
            SavedState::decode(&file[..position]).is_err(),
            "a truncation at byte {position} is not detected"
        );
    }
}
