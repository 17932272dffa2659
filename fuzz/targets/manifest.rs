//! The manifest of an export: used only if it is intact and does not contradict itself.

use yotpo_td::export::{Manifest, ManifestError};

use super::Verdict;

/// A manifest that is used is written again as it was read, and a text that is sealed is used only for its content.
pub fn manifest(data: &[u8]) -> Verdict {
    let as_given = Manifest::decode(data);
    if let Ok(manifest) = &as_given {
        assert_round_trip(manifest);
    }
    let sealed = std::str::from_utf8(data).ok().and_then(|text| Manifest::seal(text).ok());
    let sealed = sealed.map(|file| Manifest::decode(&file));
    match &sealed {
        Some(Ok(manifest)) => assert_round_trip(manifest),
        Some(Err(error)) => {
            assert!(matches!(error, ManifestError::Content | ManifestError::Parts(_)), "{error}");
        }
        None => {}
    }
    if as_given.is_ok() || sealed.is_some_and(|sealed| sealed.is_ok()) {
        Verdict::Accepted
    } else {
        Verdict::Rejected
    }
}

fn assert_round_trip(manifest: &Manifest) {
    let written = manifest.encode().expect("a manifest can be written");
    assert_eq!(Manifest::decode(&written).as_ref(), Ok(manifest));
    let totals = manifest.totals();
    assert_eq!(totals.parts, manifest.parts.len() as u64);
    assert_eq!(totals.valid, manifest.parts.iter().map(|part| part.rows).sum::<u64>());
}
