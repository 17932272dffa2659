use super::*;
use crate::checkpoint::format::tests::{example, finished};
use crate::yotpo::{PageCursor, Position};

fn store() -> (tempfile::TempDir, StateStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = StateStore::open(&directory.path().join("state"), &example().target).unwrap();
    (directory, store)
}

#[test]
fn a_saved_run_is_read_back_and_the_history_is_kept() {
    let (_directory, store) = store();
    assert_eq!(store.run().unwrap(), None);
    store.save_finished(finished("earlier")).unwrap();
    store.save_run(&example()).unwrap();
    assert_eq!(store.run().unwrap(), Some(example()));
    assert_eq!(store.history().unwrap(), [finished("earlier")]);
    store.forget_run().unwrap();
    assert_eq!(store.run().unwrap(), None);
    assert_eq!(store.history().unwrap(), [finished("earlier")]);
    assert_eq!(StateStore::all(store.path.parent().unwrap()).unwrap().len(), 1);
}

#[test]
fn the_history_holds_the_last_ten_runs_newest_first() {
    let (_directory, store) = store();
    for number in 0..12 {
        store.save_finished(finished(&format!("run{number}"))).unwrap();
    }
    let ids: Vec<_> = store.history().unwrap().into_iter().map(|run| run.run_id.to_string()).collect();
    assert_eq!((ids.len(), ids[0].as_str(), ids[9].as_str()), (10, "run11", "run2"));
}

#[test]
fn a_repetition_of_a_run_does_not_replace_it_in_the_history() {
    let (_directory, store) = store();
    let joined = |run_id| FinishedRun { joined: true, rows: None, ..finished(run_id) };
    for run in [finished("nightly"), joined("nightly"), joined("other"), joined("other")] {
        store.save_finished(run).unwrap();
    }
    assert_eq!(store.history().unwrap(), [joined("other"), finished("nightly")]);
    store.save_finished(finished("other")).unwrap();
    assert_eq!(store.history().unwrap(), [finished("other"), finished("nightly")]);
}

#[test]
fn a_temporary_file_left_by_a_killed_run_is_replaced() {
    let (_directory, store) = store();
    std::fs::write(store.path.with_extension("state.new"), "half").unwrap();
    store.save_run(&example()).unwrap();
    assert_eq!(store.run().unwrap(), Some(example()));
}

#[test]
fn a_damaged_state_is_reported_and_can_be_set_aside() {
    let (_directory, store) = store();
    std::fs::write(&store.path, "yotpo-td state 3 00000000\n{}\n").unwrap();
    assert!(matches!(store.run(), Err(StateError::Format { source: FormatError::Checksum, .. })));
    assert!(store.save_run(&example()).is_err(), "a damaged state is not silently overwritten");
    assert!(store.set_aside().unwrap().exists());
    store.save_run(&example()).unwrap();
}

#[test]
fn a_state_that_is_too_large_to_read_back_is_not_written() {
    let (_directory, store) = store();
    store.save_run(&example()).unwrap();
    let before = std::fs::read(&store.path).unwrap();
    let of_cursor = |length| {
        let cursor = PageCursor::from_plain(&"x".repeat(length));
        RunState { position: Position::After { page: 1, cursor, query: None }, ..example() }
    };
    let error = store.save_run(&of_cursor(1_200_000)).unwrap_err();
    let StateError::TooLarge { size } = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), format!("the state has {size} bytes, more than the maximum of 1048576"));
    assert_eq!(std::fs::read(&store.path).unwrap(), before);
    // The limit is the same on both sides.
    let largest = 1_200_000 - (size - 1_048_576);
    assert!(matches!(store.save_run(&of_cursor(largest + 1)), Err(StateError::TooLarge { size: 1_048_577 })));
    store.save_run(&of_cursor(largest)).unwrap();
    assert_eq!(store.run().unwrap(), Some(of_cursor(largest)));
}

#[test]
fn a_state_that_cannot_be_read_is_not_taken_for_a_missing_one() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let target = example().target;
    for store in [StateStore::existing(&file, &target), StateStore::unchanged(&file, &target)] {
        let error = store.run().unwrap_err();
        let StateError::Io { action, path, source } = error else { panic!("{error:?}") };
        assert_eq!((action, path.as_path()), ("read the state", store.path()));
        assert_eq!(source.kind(), io::ErrorKind::NotADirectory);
    }
}

#[test]
fn the_directory_must_have_room_for_another_state_of_the_same_size() {
    let (_directory, store) = store();
    store.check_space().unwrap();
    // Sparse: it takes no space, but a copy of it would.
    let size = 1 << 43;
    File::create(&store.path).unwrap().set_len(size).unwrap();
    let error = store.check_space().unwrap_err().to_string();
    let start = format!("the state directory {} has too little free space: ", store.directory.display());
    assert!(error.starts_with(&start) && error.ends_with(" free, 16.0 TiB needed"), "{error}");
}

#[test]
fn a_world_writable_directory_is_not_used() {
    let (_directory, store) = store();
    store.save_run(&example()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&store.directory, mode).unwrap();
    assert!(matches!(StateStore::open(&store.directory, &example().target), Err(StateError::Untrusted(_))));
    assert!(matches!(StateStore::all(&store.directory), Err(StateError::Untrusted(_))));
}

#[test]
fn files_are_private_and_links_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, store) = store();
    store.save_run(&example()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store.path), 0o600);
    assert_eq!(mode(store.path.parent().unwrap()), 0o700);
    let elsewhere = directory.path().join("elsewhere");
    std::fs::rename(&store.path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &store.path).unwrap();
    assert!(matches!(store.run(), Err(StateError::Untrusted(_))));
    assert!(matches!(store.save_run(&example()), Err(StateError::Untrusted(_))));
    assert!(matches!(store.save_finished(finished("earlier")), Err(StateError::Untrusted(_))));
}
