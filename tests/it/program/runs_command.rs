//! `yotpo-td runs`, through the real program: showing interrupted runs, abandoning them, removing what old ones left.

use serde_json::Value;
use yotpo_td::clock::Clock;
use yotpo_td::identity::{Nonce, OwnSessionName, OwnTable, TableId, TableSuffix};
use yotpo_td::sandbox::{DateHeader, FaultKind, Operation, SandboxSettings};
use yotpo_td::yotpo::Position;

use crate::program::binary::{DATABASE, Finished, Running, Surroundings, TABLE, program, wait_until};
use crate::program::closing_words::{assert_no_command, assert_words};

/// `yotpo-td runs` with these arguments.
fn runs(surroundings: &Surroundings, arguments: &[&str]) -> Finished {
    let mut command = program();
    command.arg("runs").args(arguments).envs(surroundings.environment());
    Running::start(command).finish()
}

/// A run that failed after page 7 because of Yotpo; returns its id.
fn interrupted(surroundings: &Surroundings, arguments: &[&str]) -> String {
    surroundings.fault_from_page(8, &FaultKind::Status(500, None));
    surroundings.run(arguments).assert_code(4);
    surroundings.end_faults();
    surroundings.saved_run().unwrap().run_id.to_string()
}

/// Creates a session like another program would.
fn make_foreign_session(surroundings: &Surroundings, name: &str) {
    surroundings.call_treasure_data(
        "POST",
        &format!("/v3/bulk_import/create/{name}/{DATABASE}/{TABLE}"),
        b"",
    );
}

fn session_names(surroundings: &Surroundings) -> Vec<String> {
    surroundings.control().sessions().into_iter().map(|session| session.name).collect()
}

/// The session and the temporary table of a run from nine days ago with the same target as the saved run.
fn old_names(surroundings: &Surroundings) -> [String; 2] {
    let fingerprint = surroundings.saved_run().unwrap().target.fingerprint();
    let time = Clock::machine().unix_time().as_secs() - 9 * 86_400;
    let (nonce, target, table) =
        (Nonce::new(time, 7).unwrap(), TableId::from_api("5"), TableId::from_api("6"));
    let run_id = "nine-days-ago".parse().unwrap();
    let session = OwnSessionName::new(fingerprint, &run_id, nonce, target, Some(table)).render();
    let suffix = TableSuffix::Rows;
    let temporary = OwnTable::Temporary { fingerprint, nonce, target, table, suffix }.render();
    [session.to_string(), temporary.to_string()]
}

#[test]
fn list_and_show_report_unfinished_and_finished_runs() {
    let surroundings = Surroundings::with_customers(60);
    let nothing = runs(&surroundings, &["list"]);
    nothing.assert_code(0);
    assert_eq!(nothing.stdout, "");

    let id = interrupted(&surroundings, &[]);
    let list = runs(&surroundings, &["list"]);
    list.assert_code(0);
    assert_words!("runs_list_interrupted", without_ages(&list.stdout));

    let show = runs(&surroundings, &["show", &id]);
    show.assert_code(0);
    assert_eq!(runs(&surroundings, &["show"]).stdout, show.stdout, "the latest is shown by default");
    let shown: Value = serde_json::from_str(&show.stdout).unwrap();
    assert_eq!(
        (&shown["pages"], &shown["phase"], &shown["rows"]),
        (&7.into(), &"uploading".into(), &35.into())
    );
    assert_eq!(shown["session"], *session_names(&surroundings).first().unwrap());
    let Position::After { cursor, .. } = surroundings.saved_run().unwrap().position else { panic!() };
    assert!(!show.stdout.contains(cursor.as_str()), "it may say something of a customer");

    surroundings.run(&[]).assert_code(0);
    let list = runs(&surroundings, &["list"]);
    assert_words!("runs_list_finished", without_ages(&list.stdout));
    let json: Value =
        serde_json::from_str(&runs(&surroundings, &["list", "--output", "json"]).stdout).unwrap();
    let [run] = json.as_array().unwrap().as_slice() else { panic!("{json}") };
    for (key, value) in [
        ("status", Value::from("finished")),
        ("run_id", id.as_str().into()),
        ("store_id", surroundings.environment()["YOTPO_STORE_ID"].as_str().into()),
        ("target", format!("{DATABASE}.{TABLE}").into()),
        ("mode", "append".into()),
        ("pid", Value::Null),
        ("rows", 60.into()),
        ("detail", "committed".into()),
    ] {
        assert_eq!(run[key], value, "{key}");
    }
    let shown: Value = serde_json::from_str(&runs(&surroundings, &["show", "latest"]).stdout).unwrap();
    assert_eq!(
        (&shown["status"], &shown["run_id"], &shown["rows"]),
        (&"finished".into(), &id.into(), &60.into())
    );
    let unknown = runs(&surroundings, &["show", "nightly"]);
    unknown.assert_code(2);
    assert!(unknown.stderr.contains("no run has the id nightly"), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("hint: yotpo-td runs list shows what there is\n"), "{}", unknown.stderr);
    let elsewhere = surroundings.directory().join("else where");
    for command in ["show", "abandon"] {
        let unknown = runs(&surroundings, &[command, "nightly", "--state-dir", elsewhere.to_str().unwrap()]);
        unknown.assert_code(2);
        let hint =
            format!("hint: yotpo-td runs list --state-dir '{}' shows what there is\n", elsewhere.display());
        assert!(unknown.stderr.contains(&hint), "{}", unknown.stderr);
    }
}

/// The table without its last column, and with one space between the others: widths depend on the names.
fn without_ages(table: &str) -> String {
    let cells = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_age = |word: &&&str| {
            word.ends_with(['s', 'm', 'h']) && word.starts_with(|first: char| first.is_ascii_digit())
        };
        let ages = words.iter().rev().take_while(is_age).count();
        words[..words.len() - ages].join(" ")
    };
    table.lines().map(cells).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_run_that_is_active_is_listed_with_its_process() {
    let surroundings = Surroundings::with_customers(60);
    surroundings.fault_on(Operation::FreezeSession, 1, FaultKind::Hang);
    let active = Running::start(surroundings.sync(&[]));
    wait_until("the session was to be frozen", || {
        surroundings.control().operation_requests(Operation::FreezeSession) > 0
    });
    let json: Value =
        serde_json::from_str(&runs(&surroundings, &["list", "--output", "json"]).stdout).unwrap();
    assert_eq!((&json[0]["status"], &json[0]["pid"]), (&"running".into(), &active.pid().into()));
    let table = runs(&surroundings, &["list"]).stdout;
    assert!(table.contains("running (loading)"), "{table}");
    let age = table.split_whitespace().last().and_then(|age| age.strip_suffix('s')).map(str::parse::<u32>);
    assert!(matches!(age, Some(Ok(0..60))), "{table}");
    let shown: Value = serde_json::from_str(&runs(&surroundings, &["show"]).stdout).unwrap();
    assert_eq!((&shown["status"], &shown["pid"]), (&"running".into(), &active.pid().into()));
    active.kill();
    let json: Value =
        serde_json::from_str(&runs(&surroundings, &["list", "--output", "json"]).stdout).unwrap();
    assert_eq!((&json[0]["status"], &json[0]["pid"]), (&"interrupted".into(), &Value::Null));
}

#[test]
fn the_list_says_how_each_run_ended_and_which_state_cannot_be_read() {
    let surroundings = Surroundings::with_customers(0);
    let sync = |arguments: &[&str]| surroundings.run(arguments).assert_code(0);
    sync(&["--run-id", "nobody"]);
    sync(&["--run-id", "emptied", "--mode", "replace", "--allow-empty"]);
    surroundings.control().set_customers(60);
    let elsewhere = surroundings.directory().join("elsewhere");
    sync(&["--run-id", "repeated", "--state-dir", elsewhere.to_str().unwrap()]);
    sync(&["--run-id", "repeated"]);
    sync(&["--run-id", "own"]);
    sync(&["--run-id", "own"]);
    let damaged = surroundings.state_directory().join("shop.customers.state");
    std::fs::write(&damaged, "no state").unwrap();
    let end = runs(&surroundings, &["list"]);
    end.assert_code(0);
    let ended: Vec<_> = end
        .stdout
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        ended,
        [
            "finished (committed) own",
            "finished (joined) repeated",
            "finished (emptied) emptied",
            "finished (nothing_to_load) nobody"
        ]
    );
    let warning = end.stderr.lines().find(|line| line.starts_with("warning: ")).unwrap_or_default();
    assert!(warning.contains("shop.customers.state"), "{}", end.stderr);
}

/// The ballot of the default mode would be decided, and a run in the other mode would load.
#[test]
fn a_run_that_is_abandoned_by_its_settings_needs_its_mode() {
    let surroundings = Surroundings::with_customers(60);
    let refused = runs(&surroundings, &["abandon", "--yes", "--run-id", "nightly"]);
    refused.assert_code(2);
    assert!(
        refused.closing().contains("--mode (YOTPO_TD_MODE): missing; expected append or replace\n"),
        "{}",
        refused.closing()
    );
    assert_eq!(session_names(&surroundings), [""; 0]);
    let abandoned = surroundings
        .type_in("yotpo-td runs abandon --yes --run-id nightly", &[("YOTPO_TD_MODE", "replace")])
        .finish();
    abandoned.assert_code(0);
    assert!(
        abandoned.stdout.contains(", --mode replace: no attempt in this mode that has begun"),
        "{}",
        abandoned.stdout
    );
}

#[test]
fn abandoning_a_run_by_its_settings_does_not_replace_the_state_of_another_run() {
    let surroundings = Surroundings::with_customers(60);
    let id = interrupted(&surroundings, &["--mode", "replace"]);
    let session = session_names(&surroundings);
    let another = ["abandon", "--yes", "--run-id", "another", "--mode", "replace"];
    let refused = runs(&surroundings, &another);
    refused.assert_code(2);
    assert!(refused.closing().contains(&format!("the unfinished run {id} of ")), "{}", refused.closing());
    assert!(
        refused.closing().contains("hint: name an empty directory with --state-dir;"),
        "{}",
        refused.closing()
    );
    let elsewhere = surroundings.state_directory().with_file_name("elsewhere");
    let followed =
        runs(&surroundings, &[&another[..], &["--state-dir", elsewhere.to_str().unwrap()]].concat());
    followed.assert_code(0);
    assert_eq!(surroundings.saved_run().unwrap().run_id.as_str(), id);
    assert!(session_names(&surroundings).contains(&session[0]));
    let resumed = surroundings.run(&["--mode", "replace"]);
    resumed.assert_code(0);
    assert!(resumed.stdout.contains("(resumed)"), "{}", resumed.stdout);
}

#[test]
fn abandon_removes_session_table_and_state_only_after_confirmation() {
    let surroundings = Surroundings::with_customers(60);
    let id = interrupted(&surroundings, &["--mode", "replace"]);
    let unasked = runs(&surroundings, &["abandon", &id]);
    unasked.assert_code(2);
    assert_no_command(&unasked);
    assert!(unasked.closing().contains("--yes"), "{}", unasked.closing());
    assert_eq!(session_names(&surroundings).len(), 1);

    runs(&surroundings, &["abandon", "--yes", &id]).assert_code(0);
    assert_eq!(session_names(&surroundings), [""; 0]);
    assert_eq!(surroundings.control().tables(), [(DATABASE.to_owned(), TABLE.to_owned())]);
    assert!(surroundings.saved_run().is_none());
    runs(&surroundings, &["abandon", "--yes", &id]).assert_code(2);
    surroundings.run(&["--mode", "replace"]).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn abandon_leaves_an_active_run_and_another_account_alone() {
    let surroundings = Surroundings::with_customers(60);
    let id = interrupted(&surroundings, &[]);
    let other = runs(&surroundings, &["abandon", "--yes", &id, "--td-endpoint", "https://api.example.com"]);
    other.assert_code(2);
    assert_eq!(surroundings.saved_run().unwrap().run_id.as_str(), id);

    surroundings.fault_on(Operation::FreezeSession, 1, FaultKind::Hang);
    let active = Running::start(surroundings.sync(&[]));
    // Earlier faults count as well: only this request shows that the run has started.
    wait_until("the session was to be frozen", || {
        surroundings.control().operation_requests(Operation::FreezeSession) > 0
    });
    runs(&surroundings, &["abandon", "--yes", &id]).assert_code(8);
    active.kill();
    surroundings.end_faults();
    surroundings.run(&[]).assert_code(0);
    surroundings.assert_exact_and_clean();
}

#[test]
fn clean_removes_only_orphans() {
    let surroundings = Surroundings::with_customers(60);
    interrupted(&surroundings, &["--mode", "replace"]);
    make_foreign_session(&surroundings, "somebody_elses");
    let nonce = surroundings.saved_run().unwrap().set.unwrap().nonce.to_string();
    let sessions = surroundings.control().sessions();
    let session = sessions.into_iter().find(|session| session.name.contains(&nonce)).unwrap().name;

    let unfinished = runs(&surroundings, &["clean", "--older-than", "0s", "--yes"]);
    unfinished.assert_code(0);
    assert_eq!(unfinished.stdout.matches("of an unfinished run").count(), 2, "{}", unfinished.stdout);
    // As on a machine without state of the run, in addition to what a run from nine days ago left.
    let [old_session, old_table] = old_names(&surroundings);
    std::fs::remove_file(surroundings.state_file()).unwrap();
    make_foreign_session(&surroundings, &old_session);
    assert!(surroundings.control().create_table(DATABASE, &old_table));
    let tables = surroundings.control().tables();
    let before = session_names(&surroundings);
    assert!(before.contains(&session) && before.contains(&old_session), "{before:?}");
    for arguments in [&["clean", "--dry-run"][..], &["clean", "--older-than", "0s", "--dry-run"]] {
        let dry = runs(&surroundings, arguments);
        assert_eq!(dry.stdout.matches("too young").count(), 2, "{}", dry.stdout);
        assert_eq!(dry.stdout.matches(") can be removed").count(), 2, "{}", dry.stdout);
        assert!(dry.stdout.ends_with("2 objects can be removed\n"), "{}", dry.stdout);
        assert_eq!(dry.stdout.matches(", 216h 00m old) can be removed").count(), 2, "{}", dry.stdout);
    }
    let later = runs(&surroundings, &["clean", "--older-than", "10d"]);
    assert_eq!(later.stdout.matches("too young").count(), 4, "{}", later.stdout);
    assert_eq!(
        (session_names(&surroundings), surroundings.control().tables()),
        (before.clone(), tables.clone())
    );

    // Nothing is removed without confirmation, but it is listed.
    let refused = runs(&surroundings, &["clean"]);
    refused.assert_code(2);
    assert_eq!(refused.stdout.matches(") can be removed").count(), 2, "{}", refused.stdout);
    assert!(refused.stderr.contains("use --yes, or enter y on a terminal"), "{}", refused.stderr);
    assert!(refused.closing().contains("saved: everything; nothing was removed"), "{}", refused.closing());
    assert_eq!(
        (session_names(&surroundings), surroundings.control().tables()),
        (before.clone(), tables.clone())
    );

    // What an attempt may still need stays, whatever is asked for, and however short the runs of this machine live.
    let short_lived =
        runs(&surroundings, &["clean", "--older-than", "0s", "--run-lifetime", "1h", "--dry-run"]);
    assert_eq!(short_lived.stdout.matches("too young").count(), 2, "{}", short_lived.stdout);
    let cleaned = runs(&surroundings, &["clean", "--older-than", "0s", "--yes"]);
    cleaned.assert_code(0);
    let removed = |left: &str| cleaned.stdout.lines().any(|line| line == format!("removed {left}"));
    assert!(removed(&format!("session {old_session}")), "{}", cleaned.stdout);
    assert!(removed(&format!("temporary table {old_table}")), "{}", cleaned.stdout);
    assert_eq!(cleaned.stdout.matches("\nremoved ").count(), 2, "{}", cleaned.stdout);
    let without = |name: &str| before.iter().filter(|left| *left != name).cloned().collect::<Vec<_>>();
    assert_eq!(session_names(&surroundings), without(&old_session));
    let left: Vec<_> = tables.into_iter().filter(|(_, table)| *table != old_table).collect();
    assert_eq!(surroundings.control().tables(), left);
    runs(&surroundings, &["clean", "--older-than", "soon"]).assert_code(2);
}

/// What a run needs would be old by a clock that is ahead, and removing it would let the run load once more.
#[test]
fn clean_goes_by_the_clock_of_treasure_data() {
    let surroundings = Surroundings::new(SandboxSettings {
        customers: 60,
        date_header: DateHeader::Skewed(-30 * 86_400),
        ..SandboxSettings::default()
    });
    surroundings.run(&["--run-id", "nightly"]).assert_code(0);
    let before = session_names(&surroundings);
    let cleaned = runs(&surroundings, &["clean", "--older-than", "0s", "--yes"]);
    cleaned.assert_code(0);
    assert_eq!(cleaned.stdout.matches(" old) is kept: too young\n").count(), 2, "{}", cleaned.stdout);
    assert_eq!(session_names(&surroundings), before);
    surroundings.run(&["--run-id", "nightly"]).assert_code(0);
    assert_eq!(surroundings.rows(), 60);
}

#[test]
fn clean_without_a_date_goes_by_the_clock_of_the_machine_and_says_so() {
    let surroundings = Surroundings::new(SandboxSettings {
        customers: 60,
        date_header: DateHeader::Absent,
        ..SandboxSettings::default()
    });
    surroundings.run(&["--run-id", "nightly"]).assert_code(0);
    let listed = runs(&surroundings, &["clean", "--dry-run"]);
    listed.assert_code(0);
    assert!(listed.stderr.contains("no Date header, so this machine's clock is used"), "{}", listed.stderr);
    assert_eq!(listed.stdout.matches(" old) is kept: too young\n").count(), 2, "{}", listed.stdout);
}
