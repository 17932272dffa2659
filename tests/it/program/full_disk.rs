//! Full disks: detected before anything is started. If they fill up during a run, nothing that was reported as saved is
//! lost.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use yotpo_td::sandbox::{FaultKind, Glitch, GlitchKind, SandboxSettings, YotpoBehaviour};

use crate::program::binary::{Finished, Running, Surroundings, files_below, program};
use crate::program::closing_words::{
    CORRECT_AND_RESUME, CORRECT_AND_RETRY, assert_no_command, assert_words, next_command, next_command_to,
    transcript,
};

/// Runs with these arguments; the disk is full from the n-th write at `place`.
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

/// Runs with a limit on the size of files, in blocks of the shell: 512 or 1,024 bytes.
fn run_with_limited_files(surroundings: &Surroundings, blocks: u32, arguments: &[&str]) -> Finished {
    let sync = surroundings.sync(arguments);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("ulimit -f {blocks} && exec \"$0\" \"$@\"")]);
    command.arg(sync.get_program()).args(sync.get_args());
    command.env_clear();
    command.envs(sync.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Running::start(command).finish()
}

/// Its signal (SIGXFSZ) would kill the program without a word, also after the commit.
#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk() {
    let surroundings = Surroundings::with_customers(60);
    let end = run_with_limited_files(&surroundings, 0, &[]);
    assert_full(&end);
    assert_eq!(surroundings.rows(), 0);
    surroundings.run(&[]).assert_code(0);
    surroundings.assert_exact_and_clean();

    // The state has room; what is recorded of the run has not.
    let surroundings = Surroundings::with_customers(60);
    let report = surroundings.directory().join("run.html");
    let end = run_with_limited_files(&surroundings, 8, &["--report", report.to_str().unwrap()]);
    end.assert_code(0);
    assert!(end.stderr.contains("File too large (os error 27)"), "{}", end.stderr);
    surroundings.assert_exact_and_clean();
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
            let halves: Vec<_> = files_below(&surroundings.state_directory())
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
fn a_disk_that_fills_up_while_parts_are_stored_is_reported_and_the_run_resumes() {
    let surroundings = Surroundings::with_customers(60);
    let end = run_until_full(&surroundings, &["--upload-workers", "1"], "write state", 4);
    assert_full(&end);
    assert_words!("state", transcript(&end));
    let next = surroundings.type_in(&next_command_to(CORRECT_AND_RESUME, &end), &[]).finish();
    next.assert_code(0);
    assert!(next.stdout.contains("(resumed)"), "{}", next.stdout);
    surroundings.assert_exact_and_clean();
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn a_full_quarantine_keeps_stored_parts_and_no_incomplete_line() {
    let glitch =
        Glitch { page: 6.try_into().unwrap(), times: u32::MAX, kind: GlitchKind::NumberAmongCustomers };
    let yotpo = YotpoBehaviour { glitch: Some(glitch), ..YotpoBehaviour::default() };
    let surroundings =
        Surroundings::new(SandboxSettings { customers: 60, yotpo, ..SandboxSettings::default() });
    let quarantine = surroundings.directory().join("quarantine");
    fs::create_dir(&quarantine).unwrap();
    let directory = quarantine.to_str().unwrap();
    let arguments = ["--batch-size", "5", "--max-error-records", "1", "--quarantine-dir", directory];
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
fn an_embedded_sandbox_whose_disk_fills_up_ends_the_run_immediately() {
    let mut command = program();
    command.args(["sync", "--sandbox", "--sandbox-customers", "500"]);
    command.env("YOTPO_TD_FAILPOINT", "write spool:1:full");
    let end = Running::start(command).finish();
    assert_full(&end);
    // One retry may be announced before the end is noticed, but no wait completes.
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

/// Runs a shell command with a new file system with these options at `directory`. `None` if this machine does not allow
/// that.
#[cfg(target_os = "linux")]
fn on_own_file_system(
    surroundings: &Surroundings,
    directory: &Path,
    options: &str,
    command: &str,
) -> Option<Finished> {
    let mount = format!("mount -t tmpfs -o {options} none '{}'", directory.display());
    let unshare = ["/usr/bin/unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c"];
    let can = Command::new(unshare[0]).args(&unshare[1..]).arg(&mount).output();
    if !can.is_ok_and(|output| output.status.success()) {
        // The decision is also tested in `free_space`.
        println!("skipped: no file system can be mounted here");
        return None;
    }
    let path = Path::new(crate::program::binary::PROGRAM).parent().unwrap().to_str().unwrap();
    let mut shell = Command::new(unshare[0]);
    shell.args(&unshare[1..]).arg(format!("{mount} && PATH={path} && {command}"));
    shell.env_clear().envs(surroundings.environment()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Some(Running::start(shell).finish())
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_directory_is_named_before_anything_is_started() {
    let surroundings = Surroundings::with_customers(60);
    let directory = surroundings.directory().join("small");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let small = directory.display();
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
        ("before_export", "size=4m,mode=0700", format!("exec yotpo-td sync --to '{small}'")),
        ("before_sandbox", "size=1m,mode=0700", format!("TMPDIR='{small}' exec yotpo-td sync --sandbox")),
    ] {
        let Some(end) = on_own_file_system(&surroundings, &directory, options, &command) else { return };
        assert_full(&end);
        assert_eq!(surroundings.control().operations().len(), 0, "nothing was requested");
        next_command_to(CORRECT_AND_RETRY, &end);
        assert_words!(name, transcript(&end));
    }
    let enough = format!("exec yotpo-td sync --state-dir '{small}'");
    if let Some(end) = on_own_file_system(&surroundings, &directory, "size=128k,mode=0700", &enough) {
        end.assert_code(0);
        surroundings.assert_exact_and_clean();
    }
}

/// An export in a file system with these options, and then this command, which names it `small`.
#[cfg(target_os = "linux")]
fn on_copy_of_export(options: &str, command: &str) -> Option<(Surroundings, Finished)> {
    let surroundings = Surroundings::with_customers(60);
    crate::program::exports::export(&surroundings, &[]).assert_code(0);
    let export = crate::program::exports::export_directory(&surroundings);
    let directory = surroundings.directory().join("small");
    fs::create_dir(&directory).unwrap();
    let small = directory.display();
    let copy = format!("/bin/cp '{}'/* '{small}' && /bin/chmod 600 '{small}'/*", export.display());
    let command = format!("small='{small}' && {copy} && {command}");
    let end = on_own_file_system(&surroundings, &directory, options, &command)?;
    Some((surroundings, end))
}

#[cfg(target_os = "linux")]
#[test]
fn an_export_that_is_complete_needs_no_space() {
    let Some((surroundings, end)) =
        on_copy_of_export("size=256k,mode=0700", "exec yotpo-td sync --to \"$small\"")
    else {
        return;
    };
    end.assert_code(0);
    assert!(end.stdout.contains("already holds a complete export of 60 rows"), "{}", end.stdout);
    let Some((_, end)) =
        on_copy_of_export("size=256k,mode=0700", "exec yotpo-td sync --to \"$small\" --fresh")
    else {
        return;
    };
    assert_full(&end);
    drop(surroundings);
}

#[cfg(target_os = "linux")]
#[test]
fn an_export_on_a_read_only_file_system_is_loaded_whatever_its_permissions() {
    let open = "/bin/chmod 664 \"$small\"/* && /bin/chmod 775 \"$small\" && /bin/mount -o remount,bind,ro \"$small\"";
    let command = format!("{open} && exec yotpo-td load \"$small\"");
    let Some((surroundings, end)) = on_copy_of_export("size=1m,mode=0700", &command) else { return };
    end.assert_code(0);
    assert!(!end.stderr.contains("permissions were too open"), "{}", end.stderr);
    surroundings.assert_exact();
}
