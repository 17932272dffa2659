//! Exit code 6: state directories, state files and lock files that cannot be created or trusted.

use std::fs;

use yotpo_td::sandbox::FaultKind;

use crate::program::binary::{Finished, Surroundings};
use crate::program::closing_words::{assert_words, transcript};

#[test]
fn code_6_the_state_directory_cannot_be_created() {
    let surroundings = Surroundings::with_customers(60);
    fs::write(surroundings.state_directory(), "a file").unwrap();
    let end = surroundings.run(&[]);
    end.assert_code(6);
    assert_eq!(surroundings.control().operations().len(), 0, "nothing was requested");
    assert_words!("code_6_directory", transcript(&end));
}

#[test]
fn code_6_a_symbolic_link_is_never_followed() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    surroundings.run(&["--batch-size", "5"]).assert_code(4);
    surroundings.end_faults();
    let state = surroundings.state_file();
    let elsewhere = surroundings.directory().join("elsewhere");
    fs::rename(&state, &elsewhere).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &state).unwrap();
    let end = surroundings.run(&[]);
    end.assert_code(6);
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert_eq!(surroundings.rows(), 0);
    assert_words!("code_6_symbolic_link", transcript(&end));
}

/// Applies `spoil` to the state or lock file of an interrupted run; the next run refuses it before it sends anything.
fn refuses_a_spoiled_file(extension: &str, spoil: impl Fn(&std::path::Path)) -> Finished {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    surroundings.run(&["--batch-size", "5"]).assert_code(4);
    surroundings.end_faults();
    let before = surroundings.control().operations();
    spoil(&surroundings.state_file().with_extension(extension));
    let end = surroundings.run(&[]);
    end.assert_code(6);
    assert_eq!(surroundings.control().operations(), before, "nothing was requested");
    end
}

fn make_fifo(path: &std::path::Path) {
    fs::remove_file(path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn code_6_a_fifo_in_place_of_the_state_or_the_lock_is_refused() {
    let state = refuses_a_spoiled_file("state", make_fifo);
    assert_words!("code_6_fifo_state", transcript(&state));
    let lock = refuses_a_spoiled_file("lock", make_fifo);
    assert_words!("code_6_fifo_lock", transcript(&lock));
}

#[test]
fn code_6_world_writable_files_are_refused() {
    for extension in ["state", "lock"] {
        let end = refuses_a_spoiled_file(extension, |path| set_mode(path, 0o666));
        let transcript = end.closing();
        assert!(
            transcript.contains("every user can write to ") && transcript.contains(": run `chmod 600 "),
            "{transcript}"
        );
    }
    let end = refuses_a_spoiled_file("state", |path| set_mode(path.parent().unwrap(), 0o777));
    assert_words!("code_6_directory_of_everybody", transcript(&end));
}

#[test]
fn code_6_files_of_another_user_are_refused() {
    if !rustix::process::geteuid().is_root() {
        // The decision is also tested in `checkpoint::permissions`.
        println!("skipped: only root can give files away");
        return;
    }
    let give_away = |path: &std::path::Path| std::os::unix::fs::chown(path, Some(1001), None).unwrap();
    assert_words!("code_6_other_owner", transcript(&refuses_a_spoiled_file("state", give_away)));
    for (extension, up) in [("lock", 0), ("state", 1)] {
        let end = refuses_a_spoiled_file(extension, |path| give_away(path.ancestors().nth(up).unwrap()));
        let transcript = end.closing();
        assert!(
            transcript.contains(" belongs to user 1001, but this process runs as user 0: run `chown 0 "),
            "{transcript}"
        );
    }
}

#[test]
fn group_writable_files_are_restricted_and_the_run_resumes() {
    use std::os::unix::fs::PermissionsExt as _;

    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    surroundings.run(&["--batch-size", "5"]).assert_code(4);
    surroundings.end_faults();
    let lock = surroundings.state_file().with_extension("lock");
    set_mode(&surroundings.state_file(), 0o660);
    set_mode(&lock, 0o664);
    let end = surroundings.run(&[]);
    end.assert_code(0);
    assert!(end.stdout.contains("(resumed)"), "{}", end.stdout);
    let warnings: Vec<_> = end
        .stderr
        .lines()
        .filter(|line| line.contains("permissions were too open and have been restricted"))
        .collect();
    assert!(warnings.iter().all(|line| line.contains("WARN")), "{warnings:?}");
    for (name, before) in [(".state", "0660"), (".lock", "0664")] {
        let named = |line: &&&str| line.contains(name) && line.contains(before);
        assert_eq!(warnings.iter().filter(named).count(), 1, "{name} in {warnings:?}");
    }
    for path in [surroundings.state_file(), lock] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    surroundings.assert_exact_and_clean();
}
