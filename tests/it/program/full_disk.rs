//! Disks without room: noticed before anything is started, and where they fill up on the way, nothing that was said to be
//! saved is lost.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use yotpo_td::sandbox::{FaultKind, Glitch, GlitchKind, SandboxSettings, YotpoBehaviour};

use crate::program::binary::{Finished, Running, Surroundings, files_below, program};
use crate::program::closing_words::{
    CORRECT_AND_RESUME, CORRECT_AND_RETRY, assert_no_command, assert_words, next_command, next_command_to,
    told,
};

/// Runs with these arguments; the disk is full from the n-th write at `place` on.
fn run_until_full(surroundings: &Surroundings, arguments: &[&str], place: &str, nth: u32) -> Finished {
    let mut command = surroundings.sync(arguments);
    command.env("YOTPO_TD_FAILPOINT", format!("{place}:{nth}:full"));
    Running::start(command).finish()
}

#[track_caller]
fn assert_full(end: &Finished) {
    end.assert_code(6);
    let words = end.closing();
    assert!(words.contains("hint: free space on that disk"), "{words}");
    assert!(words.contains("code: disk_full (exit code 6)"), "{words}");
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn whichever_save_finds_the_disk_full_the_named_command_loads_once() {
    for mode in ["append", "replace"] {
        let mut words_seen = std::collections::BTreeSet::new();
        for nth in 1.. {
            let surroundings = Surroundings::with_customers(60);
            let arguments = ["--mode", mode, "--upload-workers", "1"];
            let end = run_until_full(&surroundings, &arguments, "write state", nth);
            if end.code() == 0 {
                surroundings.assert_exact_and_clean();
                assert!(nth > 10, "there are more saves than {nth}");
                break;
            }
            assert_full(&end);
            let halves: Vec<_> = files_below(&surroundings.state_folder())
                .into_iter()
                .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "new"))
                .collect();
            assert_eq!(halves, [], "save {nth}");
            if end.last_line().contains(" rows in ") {
                let saved = surroundings.saved_run().unwrap();
                let parts = if saved.parts == 1 { "part" } else { "parts" };
                let said = format!("saved: {} rows in {} {parts} of session ", saved.rows, saved.parts);
                assert!(end.last_line().starts_with(&said), "save {nth}: {}", end.last_line());
                next_command_to(CORRECT_AND_RESUME, &end);
            }
            words_seen.extend(
                ["was deleted", " rows in ", "may be in"]
                    .into_iter()
                    .filter(|words| end.last_line().contains(words)),
            );
            surroundings.type_in(&next_command(&end), &[]).finish().assert_code(0);
            surroundings.assert_exact_and_clean();
        }
        assert_eq!(
            words_seen.into_iter().collect::<Vec<_>>(),
            [" rows in ", "may be in", "was deleted"],
            "{mode}"
        );
    }
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_disk_that_fills_up_while_parts_are_stored_is_said_and_resumed() {
    let surroundings = Surroundings::with_customers(60);
    let end = run_until_full(&surroundings, &["--upload-workers", "1"], "write state", 4);
    assert_full(&end);
    assert_words!("state", told(&end));
    let next = surroundings.type_in(&next_command_to(CORRECT_AND_RESUME, &end), &[]).finish();
    next.assert_code(0);
    assert!(next.stdout.contains("(resumed)"), "{}", next.stdout);
    surroundings.assert_exact_and_clean();
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_quarantine_without_room_keeps_what_is_stored_and_no_half_line() {
    let glitch =
        Glitch { page: 6.try_into().unwrap(), times: u32::MAX, kind: GlitchKind::NumberAmongCustomers };
    let yotpo = YotpoBehaviour { glitch: Some(glitch), ..YotpoBehaviour::default() };
    let surroundings =
        Surroundings::new(SandboxSettings { customers: 60, yotpo, ..SandboxSettings::default() });
    let quarantine = surroundings.folder().join("quarantine");
    fs::create_dir(&quarantine).unwrap();
    let folder = quarantine.to_str().unwrap();
    let arguments = ["--batch-size", "5", "--max-error-records", "1", "--quarantine-dir", folder];
    surroundings.fault_from_page(6, &FaultKind::Status(503, None));
    surroundings.run(&arguments).assert_code(4);
    surroundings.end_faults();
    let end = run_until_full(&surroundings, &arguments, "write quarantine", 1);
    assert_full(&end);
    let next = surroundings.type_in(&next_command_to(CORRECT_AND_RESUME, &end), &[]).finish();
    next.assert_code(0);
    assert!(next.stdout.contains("(resumed)"), "{}", next.stdout);
    let files = files_below(&quarantine);
    let [(path, content)] = &files[..] else { panic!("{files:?}") };
    let lines = String::from_utf8(content.clone()).unwrap();
    assert_eq!(lines.lines().count(), 1, "{}: {lines}", path.display());
    surroundings.assert_exact_and_clean();
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn an_embedded_sandbox_whose_disk_fills_up_ends_the_run_at_once() {
    let mut command = program();
    command.args(["sync", "--sandbox", "--sandbox-customers", "500"]);
    command.env("YOTPO_TD_FAILPOINT", "write spool:1:full");
    let end = Running::start(command).finish();
    assert_full(&end);
    // One may be announced before the end is noticed; none is waited for.
    assert!(end.stderr.matches("request failed, retrying").count() <= 1, "{}", end.stderr);
    assert!(
        end.closing().contains("error: the disk of the sandbox's temporary directory is full"),
        "{}",
        end.stderr
    );
    assert_no_command(&end);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_served_sandbox_whose_disk_fills_up_says_so_to_both_sides() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (yotpo, treasure_data) = (free(), free());
    let mut command = program();
    command.args(["sandbox", "--customers", "60", "--yotpo-listen", &yotpo, "--td-listen", &treasure_data]);
    command.env("YOTPO_TD_FAILPOINT", "write spool:1:full");
    let server = Running::start(command);
    server.wait_for_stderr("serving until stopped");
    let surroundings = Surroundings::with_customers(0);
    let mut command = surroundings.sync(&[]);
    command.env("YOTPO_TD_YOTPO_ENDPOINT", format!("http://{yotpo}"));
    command.env("TD_API_SERVER", format!("http://{treasure_data}"));
    let end = Running::start(command).finish();
    end.assert_code(5);
    assert!(end.closing().contains("no space left on the sandbox's disk"), "{}", end.closing());
    server.wait_for_stderr("the sandbox's disk is full");
    server.kill();
}

/// Runs a shell command with a file system of its own, with these options, at `folder`. None where this machine lets
/// nobody make one.
#[cfg(target_os = "linux")]
fn on_own_file_system(
    surroundings: &Surroundings,
    folder: &Path,
    options: &str,
    command: &str,
) -> Option<Finished> {
    let mount = format!("mount -t tmpfs -o {options} none '{}'", folder.display());
    let unshare = ["/usr/bin/unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c"];
    let can = std::process::Command::new(unshare[0]).args(&unshare[1..]).arg(&mount).output();
    if !can.is_ok_and(|output| output.status.success()) {
        // The decision is tested in `free_space` for everybody.
        println!("skipped: no file system can be mounted here");
        return None;
    }
    let path = Path::new(crate::program::binary::PROGRAM).parent().unwrap().to_str().unwrap();
    let mut shell = std::process::Command::new(unshare[0]);
    shell.args(&unshare[1..]).arg(format!("{mount} && PATH={path} && {command}"));
    shell.env_clear().envs(surroundings.environment()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Some(Running::start(shell).finish())
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_without_room_is_named_before_anything_is_started() {
    let surroundings = Surroundings::with_customers(60);
    let folder = surroundings.folder().join("small");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let small = folder.display();
    for (name, options, command) in [
        ("before_state", "size=32k,mode=0700", format!("exec yotpo-td sync --state-dir '{small}'")),
        (
            "before_files",
            "size=1m,nr_inodes=2,mode=0700",
            format!("exec yotpo-td sync --state-dir '{small}'"),
        ),
        (
            "before_quarantine",
            "size=512k,mode=0700",
            format!("exec yotpo-td sync --quarantine-dir '{small}'"),
        ),
        ("before_sandbox", "size=1m,mode=0700", format!("TMPDIR='{small}' exec yotpo-td sync --sandbox")),
    ] {
        let Some(end) = on_own_file_system(&surroundings, &folder, options, &command) else { return };
        assert_full(&end);
        assert_eq!(surroundings.control().operations().len(), 0, "nothing was asked for");
        next_command_to(CORRECT_AND_RETRY, &end);
        assert_words!(name, told(&end));
    }
    let enough = format!("exec yotpo-td sync --state-dir '{small}'");
    if let Some(end) = on_own_file_system(&surroundings, &folder, "size=128k,mode=0700", &enough) {
        end.assert_code(0);
        surroundings.assert_exact_and_clean();
    }
}
