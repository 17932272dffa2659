//! Commands and flags about the program itself: help, version, completions, manual pages, explanations, colors, verbosity.

use std::process::{Command, Stdio};

use yotpo_td::diagnosis::Code;

use crate::program::binary::{Finished, Running, Surroundings, program};
use crate::program::closing_words::assert_words;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = program();
    command.args(arguments).envs(variables.iter().copied());
    Running::start(command).finish()
}

#[test]
fn help_of_a_command_is_the_same_in_both_forms() {
    for words in [&["sync"][..], &["runs"], &["runs", "clean"], &["config", "show"], &["explain"]] {
        let as_command = run(&[&["help"], words].concat(), &[]);
        let as_flag = run(&[words, &["--help"]].concat(), &[]);
        as_command.assert_code(0);
        assert_eq!(as_command.stdout, as_flag.stdout, "{words:?}");
        assert!(run(&[words, &["-h"]].concat(), &[]).stdout.len() < as_flag.stdout.len(), "{words:?}");
    }
}

#[test]
fn every_code_is_explained_and_listed() {
    let list = run(&["explain"], &[]).stdout;
    assert_eq!(list.lines().count(), Code::ALL.len());
    for code in Code::ALL {
        assert!(list.lines().any(|line| line.starts_with(&format!("{} ", code.name()))), "{}", code.name());
        let end = run(&["explain", code.name()], &[]);
        end.assert_code(0);
        assert!(end.stdout.starts_with(&format!("{}: ", code.name())), "{}", end.stdout);
        assert!(end.stdout.lines().all(|line| line.chars().count() <= 100), "{}", end.stdout);
    }
    assert_words!("explain_guard_tripped", run(&["explain", "guard_tripped"], &[]).stdout.as_str());
    let typo = run(&["explain", "guard_triped"], &[]);
    typo.assert_code(2);
    assert!(typo.stderr.contains("a similar value exists: 'guard_tripped'"), "{}", typo.stderr);
}

#[test]
fn a_flag_that_looks_like_a_secret_is_told_where_secrets_come_from() {
    for flag in ["--api-key", "--td-api-key=canary", "--client-secret", "--token"] {
        let end = run(&["sync", flag, "canary"], &[]);
        end.assert_code(2);
        let note = "note: secrets cannot be passed as flags, because other users can see the command line; set them in the environment: \
                    YOTPO_CLIENT_SECRET or YOTPO_CLIENT_SECRET_FILE; TD_API_KEY or TD_API_KEY_FILE\n";
        assert!(end.stderr.ends_with(note), "{}", end.stderr);
        assert!(!end.stderr.contains("canary"), "{}", end.stderr);
    }
    assert!(!run(&["sync", "--databse", "x"], &[]).stderr.contains("note:"));
}

#[test]
fn colors_are_used_when_they_are_wanted() {
    let escape = '\x1b';
    for (arguments, variables, is_colored) in [
        (&["sync", "--help"][..], &[][..], false),
        // The flag counts wherever it is, although help ends the parsing.
        (&["sync", "--help", "--color", "always"], &[], true),
        (&["sync", "--color", "always", "--help"], &[("NO_COLOR", "1")], true),
        (&["sync", "--help"], &[("YOTPO_TD_COLOR", "always")], true),
        (&["sync", "--color=never", "--help"], &[("YOTPO_TD_COLOR", "always")], false),
    ] {
        let end = run(arguments, variables);
        end.assert_code(0);
        assert_eq!(end.stdout.contains(escape), is_colored, "{arguments:?} {variables:?}");
    }
    let surroundings = Surroundings::with_customers(5);
    let colored = surroundings.run(&["--color", "always"]);
    assert!(colored.stderr.contains("\x1b[2m"), "{}", colored.stderr);
    assert!(!surroundings.run(&["--fresh"]).stderr.contains(escape));
}

#[test]
fn verbosity_has_short_flags() {
    let surroundings = Surroundings::with_customers(5);
    let levels = |arguments: &[&str]| {
        let end = surroundings.run(arguments);
        end.assert_code(0);
        ["DEBUG", "INFO"].map(|level| end.stderr.lines().any(|line| line.contains(level)))
    };
    assert_eq!(levels(&[]), [false, true]);
    assert_eq!(levels(&["-v"]), [true, true]);
    assert_eq!(levels(&["-q"]), [false, false]);
    assert_eq!(levels(&["-q", "--log-level", "debug"]), [true, true]);
    surroundings.run(&["-q", "-v"]).assert_code(2);
}

#[test]
fn every_typo_gets_a_suggestion() {
    for (arguments, suggestion) in [
        (&["synk"][..], "a similar subcommand exists: 'sync'"),
        (&["runs", "lst"], "a similar subcommand exists: 'list'"),
        (&["sync", "--databasee", "x"], "a similar argument exists: '--database'"),
        (&["config", "show", "--output", "jsn"], "a similar value exists: 'json'"),
        (&["completions", "bsh"], "a similar value exists: 'bash'"),
        (&["sync", "--mode", "appendx"], "did you mean append?"),
        (&["sync", "--site", "us1"], "did you mean us01?"),
    ] {
        let end = run(arguments, &[]);
        end.assert_code(2);
        assert!(end.stderr.contains(suggestion), "{arguments:?}: {}", end.stderr);
    }
    let variable = run(&["sync"], &[("YOTPO_TD_PAGESIZE", "5")]);
    assert!(variable.stderr.contains("did you mean YOTPO_TD_PAGE_SIZE?"), "{}", variable.stderr);
}

#[test]
fn completions_are_valid_scripts_of_all_shells() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let end = run(&["completions", shell], &[]);
        end.assert_code(0);
        assert!(end.stdout.contains("requests-per-second"), "{shell}");
        assert!(end.stdout.contains("replace"), "{shell}: the words of a choice");
    }
    // The one shell that every machine of this kind has.
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    let script = run(&["completions", "bash"], &[]).stdout;
    std::io::Write::write_all(&mut bash.stdin.take().unwrap(), script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    run(&["man", "--directory", path], &[]).assert_code(0);
    let mut pages: Vec<_> = directory
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert_words!("manual_pages", pages.join("\n"));
    let single = run(&["man", "runs", "clean"], &[]).stdout;
    assert_eq!(std::fs::read_to_string(directory.path().join("yotpo-td-runs-clean.1")).unwrap(), single);
    assert!(single.contains(".TH YOTPO-TD-RUNS-CLEAN 1"), "{single}");
    let unknown = run(&["man", "runs", "cleanx"], &[]);
    unknown.assert_code(2);
    assert!(unknown.stderr.contains("there is no command \"cleanx\""), "{}", unknown.stderr);
    let missing = run(&["man", "--directory", "/dev/null/pages"], &[]);
    missing.assert_code(6);
    assert!(missing.stderr.contains("could not write /dev/null/pages/yotpo-td.1"), "{}", missing.stderr);
}
