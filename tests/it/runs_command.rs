//! `yotpo-td runs`, through the real program: looking at interrupted runs, giving them up, cleaning up behind dead ones.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;
use yotpo_td::sandbox::{FaultKind, Operation};

use crate::binary::{DATABASE, Finished, Running, Surroundings, TABLE, program, wait_until};

/// `yotpo-td runs` with these arguments.
fn runs(surroundings: &Surroundings, arguments: &[&str]) -> Finished {
    let mut command = program();
    command.arg("runs").args(arguments).envs(surroundings.environment());
    Running::start(command).finish()
}

/// A run that Yotpo failed behind page 7; gives its id.
fn interrupted(surroundings: &Surroundings, arguments: &[&str]) -> String {
    surroundings.fault_from_page(8, &FaultKind::Status(500, None));
    surroundings.run(arguments).assert_code(4);
    surroundings.end_faults();
    surroundings.saved_run().unwrap().run_id.to_string()
}

/// Makes a session as another program would.
fn make_foreign_session(surroundings: &Surroundings, name: &str) {
    let environment = surroundings.environment();
    let address = environment["TD_API_SERVER"].trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut connection = TcpStream::connect(&address).unwrap();
    write!(
        connection,
        "POST /v3/bulk_import/create/{name}/{DATABASE}/{TABLE} HTTP/1.1\r\nHost: {address}\r\nAuthorization: TD1 {}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        environment["TD_API_KEY"]
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn session_names(surroundings: &Surroundings) -> Vec<String> {
    surroundings.control().sessions().into_iter().map(|session| session.name).collect()
}

#[test]
fn list_and_show_tell_of_unfinished_and_finished_runs() {
    let surroundings = Surroundings::with_customers(60);
    let nothing = runs(&surroundings, &["list"]);
    nothing.assert_code(0);
    assert_eq!(nothing.stdout, "");

    let id = interrupted(&surroundings, &[]);
    let list = runs(&surroundings, &["list"]);
    let expected = format!("unfinished  {DATABASE}.{TABLE}  {id}  uploading, 7 pages, 35 rows stored");
    assert!(list.stdout.starts_with(&expected), "{}", list.stdout);

    let show = runs(&surroundings, &["show", &id]);
    show.assert_code(0);
    let shown: Value = serde_json::from_str(&show.stdout).unwrap();
    assert_eq!(
        (&shown["pages"], &shown["phase"], &shown["has_cursor"]),
        (&7.into(), &"uploading".into(), &true.into())
    );
    assert!(shown.get("cursor").is_none(), "a cursor is the service's and may say something of a customer");

    surroundings.run(&[]).assert_code(0);
    let list = runs(&surroundings, &["list"]);
    let expected = format!("finished    {DATABASE}.{TABLE}  {id}  12 pages, 60 rows loaded");
    assert!(list.stdout.starts_with(&expected), "{}", list.stdout);
    runs(&surroundings, &["show", &id]).assert_code(2);
}

#[test]
fn abandon_removes_session_table_and_state_but_only_when_told_twice() {
    let surroundings = Surroundings::with_customers(60);
    let id = interrupted(&surroundings, &["--mode", "replace"]);
    let unasked = runs(&surroundings, &["abandon", &id]);
    unasked.assert_code(2);
    assert!(!unasked.stderr.contains("to go on"), "it would fail again: {}", unasked.stderr);
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
    // Its faults before count as well: only this request tells that the run is under way.
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
fn clean_removes_what_dead_runs_left_and_never_anything_else() {
    let surroundings = Surroundings::with_customers(60);
    interrupted(&surroundings, &["--mode", "replace"]);
    make_foreign_session(&surroundings, "somebody_elses");
    let nonce = surroundings.saved_run().unwrap().set.unwrap().nonce.to_string();
    let sessions = surroundings.control().sessions();
    let session = sessions.into_iter().find(|session| session.name.contains(&nonce)).unwrap().name;

    let unfinished = runs(&surroundings, &["clean", "--older-than", "0s"]);
    unfinished.assert_code(0);
    assert_eq!(unfinished.stdout.matches("of an unfinished run").count(), 2, "{}", unfinished.stdout);
    // As on a machine that knows nothing of the run.
    std::fs::remove_file(surroundings.state_file()).unwrap();
    let young = runs(&surroundings, &["clean"]);
    assert_eq!(young.stdout.matches("too young").count(), 2, "{}", young.stdout);
    let dry = runs(&surroundings, &["clean", "--older-than", "0s", "--dry-run"]);
    assert_eq!(dry.stdout.matches("would be removed").count(), 2, "{}", dry.stdout);
    assert_eq!(session_names(&surroundings), ["somebody_elses".to_owned(), session]);

    let cleaned = runs(&surroundings, &["clean", "--older-than", "0s"]);
    cleaned.assert_code(0);
    assert_eq!(cleaned.stdout.matches(": removed").count(), 2, "{}", cleaned.stdout);
    assert_eq!(session_names(&surroundings), ["somebody_elses"]);
    assert_eq!(surroundings.control().tables(), [(DATABASE.to_owned(), TABLE.to_owned())]);
    runs(&surroundings, &["clean", "--older-than", "soon"]).assert_code(2);
}
