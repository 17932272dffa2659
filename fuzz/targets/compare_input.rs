//! Rows in files of others: whatever can be read equals itself, and everything else is an error.

use std::fs;
use std::thread;

use yotpo_td::compare::{CompareProgress, Input, compare};

use super::Verdict;

/// A file is compared with itself.
pub fn compare_input(data: &[u8]) -> Verdict {
    let name = format!("yotpo-td-compare-{}-{:?}", std::process::id(), thread::current().id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, data).expect("the temporary directory can be written");
    let input = Input::at(&path).expect("it is a file");
    let found = compare(&[input.clone(), input], &CompareProgress::default());
    fs::remove_file(&path).expect("the file is there");
    let Ok(found) = found else { return Verdict::Rejected };
    assert!(found.is_equal(), "a file differs from itself: {found:?}");
    assert_eq!(found.identical, found.sides[0].rows, "{found:?}");
    assert_eq!(found.sides[0], found.sides[1]);
    Verdict::Accepted
}
