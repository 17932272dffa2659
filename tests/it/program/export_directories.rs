//! Which directories an export is written to and read from, and how they are named in messages.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use yotpo_td::sandbox::{FaultKind, Service};

use crate::program::binary::{Finished, PROGRAM, Running, Surroundings, program};
use crate::program::closing_words::{RESUME, assert_no_command, assert_words, next_command_to, transcript};
use crate::program::exports::{
    CUSTOMERS, export, export_command, export_directory, load, load_command, parts, requests,
};

/// A user who is not root.
const SOMEBODY: u32 = 1001;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// `sync --to` this directory.
fn export_to(surroundings: &Surroundings, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command.arg("sync").arg("--to").arg(directory).args(arguments).envs(surroundings.environment());
    command
}

fn finished(command: Command) -> Finished {
    Running::start(command).finish()
}

/// Whether this test may start programs as another user, for whom the test's directory is opened.
fn can_be_somebody(surroundings: &Surroundings) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return false;
    }
    set_mode(&surroundings.directory(), 0o755);
    true
}

/// Runs a copy of the program: what was built may be where another user may not go.
fn as_somebody(surroundings: &Surroundings, wanted: &Command) -> Finished {
    let copy = surroundings.directory().join("yotpo-td");
    if !copy.exists() {
        // Not by this process: a test that starts a program at this moment would keep the copy open, and it could not be run.
        assert!(Command::new("cp").arg(PROGRAM).arg(&copy).status().unwrap().success());
    }
    let mut command = Command::new(copy);
    command.env_clear().stdin(Stdio::null()).args(wanted.get_args()).uid(SOMEBODY).gid(SOMEBODY);
    command.envs(wanted.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // This user may not write where coverage is measured, and would complain on stderr.
    command.env("LLVM_PROFILE_FILE", "/dev/null");
    finished(command)
}

#[test]
fn a_directory_like_tmp_is_refused_and_a_subdirectory_of_it_is_not() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let directory = export_directory(&surroundings);
    fs::create_dir(&directory).unwrap();
    set_mode(&directory, 0o1777);
    let end = export(&surroundings, &[]);
    end.assert_code(2);
    assert_words!("export_to_tmp", transcript(&end));
    assert_no_command(&end);
    assert_eq!((mode(&directory), fs::read_dir(&directory).unwrap().count()), (0o1777, 0));
    assert_eq!(requests(&surroundings, Service::Yotpo), 0);
    finished(export_to(&surroundings, &directory.join("customers"), &[])).assert_code(0);
    assert_eq!(mode(&directory.join("customers")), 0o700);
}

#[test]
fn a_volume_of_a_group_is_used_through_a_subdirectory() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    if !can_be_somebody(&surroundings) {
        return;
    }
    // As Kubernetes mounts one for a pod with an fsGroup.
    let volume = surroundings.directory().join("volume");
    fs::create_dir(&volume).unwrap();
    chown(&volume, Some(0), Some(SOMEBODY)).unwrap();
    set_mode(&volume, 0o2775);
    let end = as_somebody(&surroundings, &export_to(&surroundings, &volume, &[]));
    end.assert_code(2);
    assert_words!("export_to_volume", transcript(&end));
    let directory = volume.join("customers");
    as_somebody(&surroundings, &export_to(&surroundings, &directory, &[])).assert_code(0);
    assert_eq!((mode(&volume), mode(&directory) & 0o777), (0o2775, 0o700));
    assert_eq!(fs::metadata(&directory).unwrap().uid(), SOMEBODY);
    // The state holds no customer data: it may be in the volume itself.
    let mut command = program();
    command.arg("load").arg(&directory).envs(surroundings.environment());
    command.env("YOTPO_TD_STATE_DIR", &volume);
    as_somebody(&surroundings, &command).assert_code(0);
    surroundings.assert_exact();
    // An emptyDir is for everybody.
    set_mode(&volume, 0o2777);
    let mut command = surroundings.sync(&["--state-dir", volume.to_str().unwrap()]);
    command.env_remove("YOTPO_TD_STATE_DIR");
    let end = as_somebody(&surroundings, &command);
    end.assert_code(6);
    assert!(
        end.closing().contains("choose a subdirectory of it that does not exist yet"),
        "{}",
        end.closing()
    );
}

#[test]
fn an_export_of_root_that_others_can_read_is_loaded_by_them_with_a_warning() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    if !can_be_somebody(&surroundings) {
        return;
    }
    export(&surroundings, &[]).assert_code(0);
    let directory = export_directory(&surroundings);
    set_mode(&directory, 0o755);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    for file in &files {
        set_mode(file, 0o644);
    }
    let state = surroundings.directory().join("state of somebody");
    fs::create_dir(&state).unwrap();
    chown(&state, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let end =
        as_somebody(&surroundings, &load_command(&surroundings, &["--state-dir", state.to_str().unwrap()]));
    end.assert_code(0);
    let warnings = end.stderr.lines().filter(|line| line.contains("other users may read this export"));
    assert_eq!(warnings.count(), 1, "{}", end.stderr);
    assert!(files.iter().all(|file| mode(file) == 0o644), "they are not changed");
    surroundings.assert_exact();
    // What belongs to somebody who is not root is not read.
    for file in &files {
        chown(file, Some(SOMEBODY + 1), None).unwrap();
    }
    let end =
        as_somebody(&surroundings, &load_command(&surroundings, &["--state-dir", state.to_str().unwrap()]));
    end.assert_code(6);
    assert!(end.closing().contains(" belongs to user 1002"), "{}", end.closing());
}

#[test]
fn a_directory_whose_name_looks_like_an_option_can_be_named_again() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    surroundings.fault_from_page(7, &FaultKind::Status(503, None));
    let place = surroundings.directory();
    let mut command = surroundings.sync(&["--to=-y"]);
    command.current_dir(&place);
    let end = finished(command);
    end.assert_code(4);
    surroundings.end_faults();
    let mut command = program();
    command.args(["load", "--fresh", "--", "-y"]).envs(surroundings.environment()).current_dir(&place);
    let incomplete = finished(command);
    incomplete.assert_code(6);
    let hinted = incomplete.closing();
    let hinted = hinted.split_once("finish it first: ").unwrap().1.split_once(", with").unwrap().0;
    assert_eq!(hinted, "yotpo-td sync --to ./-y");
    let there = |command: &str| format!("cd {} && {command}", place.display());
    let resumed = surroundings.type_in(&there(hinted), &[]).finish();
    resumed.assert_code(0);
    assert!(resumed.stdout.contains("(resumed)"), "{}", resumed.stdout);
    surroundings.type_in(&there(&next_command_to(RESUME, &end)), &[]).finish().assert_code(0);
    // The load resumes without --fresh, and its operand stays one.
    let load = "yotpo-td load --run-id a -- -y";
    surroundings.fault_on_every(yotpo_td::sandbox::Operation::UploadPart, FaultKind::Status(503, None));
    let end = surroundings.type_in(&there("yotpo-td load --run-id a --fresh -- -y"), &[]).finish();
    end.assert_code(5);
    surroundings.end_faults();
    let next = end.last_line().rsplit_once("with: ").unwrap().1.to_owned();
    assert!(next == load || next == "yotpo-td load --run-id a --fresh -- -y", "{next}");
    surroundings.type_in(&there(&next), &[]).finish().assert_code(0);
    surroundings.assert_exact();
}

#[test]
fn a_directory_that_cannot_be_typed_is_shown_on_one_line_and_no_command_is_suggested() {
    for name in [&b"a\nb\x1b[2J"[..], b"\xe9t\xe9"] {
        let surroundings = Surroundings::with_customers(CUSTOMERS);
        surroundings.fault_from_page(7, &FaultKind::Status(503, None));
        let directory = surroundings.directory().join(OsStr::from_bytes(name));
        let end = finished(export_to(&surroundings, &directory, &[]));
        end.assert_code(4);
        surroundings.end_faults();
        assert!(end.last_line().starts_with("saved: "), "{}", end.stderr);
        assert_no_command(&end);
        let mut command = program();
        command.arg("load").arg(&directory).envs(surroundings.environment());
        let incomplete = finished(command);
        incomplete.assert_code(6);
        assert!(
            incomplete.closing().contains("finish it first: the same sync --to, with"),
            "{}",
            incomplete.closing()
        );
        let whole = finished(export_to(&surroundings, &directory, &[]));
        whole.assert_code(0);
        fs::write(directory.join("manifest.json"), "{}").unwrap();
        let damaged = finished(export_to(&surroundings, &directory, &[]));
        for text in [&end.stderr, &incomplete.stderr, &whole.stdout, &whole.stderr, &damaged.stderr] {
            assert!(!text.contains('\x1b') && !text.lines().any(|line| line.starts_with('b')), "{text:?}");
        }
    }
}

#[test]
fn no_other_file_is_written_into_an_export() {
    let surroundings = Surroundings::with_customers(CUSTOMERS);
    let directory = export_directory(&surroundings);
    let inside = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    for (flag, path) in [("--summary-file", inside("summary.json")), ("--quarantine-dir", inside("rejected"))]
    {
        for exists in [false, true] {
            if exists {
                fs::create_dir_all(inside("rejected")).unwrap();
            }
            let end = export(&surroundings, &[flag, &path]);
            end.assert_code(2);
            assert_no_command(&end);
            if flag == "--summary-file" {
                assert!(end.closing().contains("--summary-file"), "{}", end.closing());
                assert!(!Path::new(&path).exists());
            }
            if exists {
                fs::remove_dir_all(&directory).unwrap();
            }
            assert!(!directory.exists());
        }
    }
    assert_eq!(requests(&surroundings, Service::Yotpo), 0);
    fs::create_dir(&directory).unwrap();
    let end = export(&surroundings, &["--summary-file", &inside("summary.json")]);
    assert_words!("export_summary_inside", transcript(&end));
    let beside = surroundings.directory().join("summary.json");
    finished(export_command(&surroundings, &["--summary-file", beside.to_str().unwrap()])).assert_code(0);
    assert!(beside.exists());
    assert!(!parts(&surroundings).is_empty());
    load(&surroundings, &[]).assert_code(0);
}
