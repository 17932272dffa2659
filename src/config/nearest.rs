//! Which known name a misspelt one may stand for.

/// The candidate that takes the fewest changes to become `text`, if it takes at most `max_changes` and at most half as many as
/// `text` has characters. Swapping two neighbouring characters is one change.
pub(super) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    max_changes: usize,
) -> Option<&'a str> {
    let max_changes = max_changes.min(text.chars().count() / 2);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(candidate, text), candidate))
        .filter(|(changes, _)| *changes <= max_changes)
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_within_the_limit() {
        let words = ["append", "replace"];
        for (text, max_changes, expected) in [
            ("appendd", 2, Some("append")),
            ("paepnd", 2, Some("append")),
            ("paepnd", 1, None),
            ("upsert", 2, None),
            ("upsert", 9, None),
            ("append", 0, Some("append")),
            ("a", 9, None),
        ] {
            assert_eq!(nearest(text, words, max_changes), expected, "{text}");
        }
        assert_eq!(nearest("eu10", ["us01", "eu01"], 1), Some("eu01"), "a swap is one change");
    }
}
