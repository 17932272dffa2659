//! Bulk import sessions: the table they belong to, and the calls they accept in each state.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Settings with which every state of a session lasts a minute.
fn slow_settings(treasure_data: TreasureDataBehaviour) -> SandboxSettings {
    SandboxSettings { treasure_data, import_duration: MINUTE, commit_duration: MINUTE, ..virtual_settings() }
}

async fn call(client: &Client, operation: &str, session: &str) -> StatusCode {
    client.post(&format!("/v3/bulk_import/{operation}/{session}")).await.status
}

async fn create(client: &Client, session: &str, table: &str) -> StatusCode {
    client.post(&format!("/v3/bulk_import/create/{session}/{DATABASE}/{table}")).await.status
}

async fn upload(client: &Client, session: &str, name: &str, customers: std::ops::Range<u64>) -> Response {
    let path = format!("/v3/bulk_import/upload_part/{session}/{name}");
    client.td(Method::PUT, &path, part(&client.control, customers)).await.unwrap()
}

async fn delete_part(client: &Client, session: &str, name: &str) -> Response {
    client.post(&format!("/v3/bulk_import/delete_part/{session}/{name}")).await
}

async fn parts(client: &Client, session: &str) -> Value {
    client.get(&format!("/v3/bulk_import/list_parts/{session}")).await.json()["parts"].clone()
}

/// The session as reported by `show`, after checking that `list` reports the same.
async fn shown(client: &Client, session: &str) -> Value {
    let shown = client.session(session).await;
    let list = client.get("/v3/bulk_import/list").await.json();
    let listed = list["bulk_imports"].as_array().unwrap().iter().find(|listed| listed["name"] == session);
    assert_eq!(listed, Some(&shown));
    shown
}

#[tokio::test]
async fn a_session_follows_its_table_through_renames() {
    for (renamed_table, names) in [
        (RenamedTable::OldName, ["made", "made", "made"]),
        (RenamedTable::NewName, ["made", "moved", "customers"]),
    ] {
        let behaviour = TreasureDataBehaviour { renamed_table, ..TreasureDataBehaviour::default() };
        let settings = slow_settings(behaviour);
        let clock = settings.clock.clone();
        let (sandbox, client) = start(settings).await;
        let control = sandbox.control();
        control.create_table(DATABASE, "made");
        control.create_table(DATABASE, "customers");
        control.insert_rows(DATABASE, "customers", &[serde_json::json!({"time": 1})]).unwrap();
        assert_eq!(create(&client, "one", "made").await, StatusCode::OK);
        assert_eq!(upload(&client, "one", "first", 0..100).await.status, StatusCode::OK);
        assert_eq!(shown(&client, "one").await["table"], names[0]);
        assert_eq!(client.rename("made", "moved", false).await, StatusCode::OK);
        assert_eq!(shown(&client, "one").await["table"], names[1]);
        // Another table with the old name does not affect the session.
        control.create_table(DATABASE, "made");
        assert_eq!(upload(&client, "one", "second", 100..250).await.status, StatusCode::OK);
        assert_eq!(call(&client, "freeze", "one").await, StatusCode::OK);
        assert_eq!(call(&client, "perform", "one").await, StatusCode::OK);
        clock.sleep(MINUTE).await;
        assert_eq!(call(&client, "commit", "one").await, StatusCode::OK);
        assert_eq!(client.rename("moved", "customers", true).await, StatusCode::OK);
        clock.sleep(MINUTE).await;
        let session = shown(&client, "one").await;
        assert_eq!((&session["status"], &session["table"]), (&"committed".into(), &names[2].into()));
        assert_eq!(control.row_count(DATABASE, "made"), Some(0));
        let verified = control.verify_table(DATABASE, "customers", 0..=i64::MAX).unwrap();
        assert!(verified.is_exact(), "{verified:?}");
        assert_eq!(control.sessions()[0].table_id, control.table_id(DATABASE, "customers").unwrap());
    }
}

#[tokio::test]
async fn swapped_tables_keep_their_sessions() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    for (session, table, customers) in [("one", "left", 0..1), ("two", "right", 0..2)] {
        control.create_table(DATABASE, table);
        assert_eq!(create(&client, session, table).await, StatusCode::OK);
        assert_eq!(upload(&client, session, "part", customers).await.status, StatusCode::OK);
    }
    let swapped = client.post(&format!("/v3/table/swap/{DATABASE}/left/right")).await;
    assert_eq!(swapped.status, StatusCode::OK);
    for session in ["one", "two"] {
        for operation in ["freeze", "perform", "commit"] {
            assert_eq!(call(&client, operation, session).await, StatusCode::OK, "{operation} {session}");
        }
    }
    let rows = ["left", "right"].map(|table| control.row_count(DATABASE, table));
    assert_eq!(rows, [Some(2), Some(1)]);
}

/// All calls that fail on an invalid session, with their responses.
async fn invalid_calls(client: &Client, session: &str) -> Vec<(String, StatusCode, String)> {
    let mut calls = Vec::new();
    for (method, path) in [
        (Method::PUT, format!("upload_part/{session}/late")),
        (Method::POST, format!("delete_part/{session}/first")),
        (Method::POST, format!("freeze/{session}")),
        (Method::POST, format!("unfreeze/{session}")),
        (Method::POST, format!("perform/{session}")),
        (Method::POST, format!("commit/{session}")),
        (Method::GET, format!("list_parts/{session}")),
        (Method::GET, format!("error_records/{session}")),
    ] {
        let body = if method == Method::PUT { part(&client.control, 0..1) } else { Vec::new() };
        let response = client.td(method, &format!("/v3/bulk_import/{path}"), body).await.unwrap();
        calls.push((path, response.status, String::from_utf8(response.body).unwrap()));
    }
    calls
}

#[tokio::test]
async fn a_session_without_its_table_is_invalid() {
    type Loss = fn(&Control) -> bool;
    let losses: [(&str, Loss); 2] = [
        ("deleted", |control| control.delete_table(DATABASE, "customers")),
        ("emptied", |control| control.recreate_table(DATABASE, "customers")),
    ];
    for (what, lose) in losses {
        for (invalid_session, expected) in [
            (InvalidSession::NotFound, StatusCode::NOT_FOUND),
            (InvalidSession::Unprocessable, StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            for (invalid_status, statuses) in [
                (InvalidStatus::LastStatus, ["uploading", "ready", "committed"]),
                (InvalidStatus::Unknown, ["unknown"; 3]),
            ] {
                let treasure_data = TreasureDataBehaviour {
                    invalid_session,
                    invalid_status,
                    ..TreasureDataBehaviour::default()
                };
                let settings = SandboxSettings { treasure_data, ..virtual_settings() };
                let (sandbox, client) = start(settings).await;
                let control = sandbox.control();
                let sessions = ["open", "ready", "committed"];
                for (session, steps) in sessions.into_iter().zip([
                    &[][..],
                    &["freeze", "perform"],
                    &["freeze", "perform", "commit"],
                ]) {
                    control.create_table(DATABASE, "customers");
                    assert_eq!(create(&client, session, "customers").await, StatusCode::OK);
                    assert_eq!(upload(&client, session, "first", 0..10).await.status, StatusCode::OK);
                    for step in steps {
                        assert_eq!(call(&client, step, session).await, StatusCode::OK);
                    }
                }
                assert_eq!(control.row_count(DATABASE, "customers"), Some(10));
                for (session, status) in sessions.into_iter().zip(["uploading", "ready", "committed"]) {
                    assert_eq!(shown(&client, session).await["status"], status);
                }
                assert!(lose(control), "{what}");
                for (session, status) in sessions.into_iter().zip(statuses) {
                    for (path, status, body) in invalid_calls(&client, session).await {
                        assert_eq!(status, expected, "{what}: {path}");
                        assert!(body.contains("Table 'yotpo.customers' does not exist"), "{path}: {body}");
                    }
                    let shown = shown(&client, session).await;
                    assert_eq!((&shown["status"], &shown["table"]), (&status.into(), &"customers".into()));
                    assert_eq!(call(&client, "delete", session).await, StatusCode::OK);
                    assert_eq!(call(&client, "delete", session).await, StatusCode::NOT_FOUND);
                }
            }
        }
    }
}

#[tokio::test]
async fn overwriting_a_table_or_deleting_its_database_invalidates_its_sessions() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    for table in ["customers", "newer"] {
        control.create_table(DATABASE, table);
        assert_eq!(create(&client, table, table).await, StatusCode::OK);
    }
    let valid = || control.sessions().into_iter().map(|session| session.is_valid).collect::<Vec<_>>();
    assert_eq!(valid(), [true, true]);
    assert_eq!(client.rename("newer", "customers", true).await, StatusCode::OK);
    assert_eq!(valid(), [false, true]);
    assert_eq!(call(&client, "freeze", "customers").await, StatusCode::NOT_FOUND);
    assert_eq!(call(&client, "freeze", "newer").await, StatusCode::OK);
    let deleted = client.post(&format!("/v3/database/delete/{DATABASE}")).await;
    assert_eq!(deleted.status, StatusCode::OK);
    control.create_table(DATABASE, "customers");
    assert_eq!(valid(), [false, false]);
}

#[tokio::test]
async fn a_table_deleted_during_a_job_or_a_commit_gets_no_rows() {
    let settings = slow_settings(TreasureDataBehaviour::default());
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    for session in ["committing", "deleted"] {
        client.prepare(session, &[part(control, 0..10)]).await;
        assert_eq!(call(&client, "perform", session).await, StatusCode::OK);
    }
    clock.sleep(MINUTE).await;
    for session in ["committing", "deleted"] {
        assert_eq!(call(&client, "commit", session).await, StatusCode::OK);
    }
    client.prepare("performing", &[part(control, 0..10)]).await;
    let job = client.post("/v3/bulk_import/perform/performing").await.json()["job_id"].as_u64().unwrap();
    assert_eq!(call(&client, "delete", "committing").await, StatusCode::CONFLICT);
    control.recreate_table(DATABASE, "customers");
    assert_eq!(call(&client, "delete", "deleted").await, StatusCode::OK);
    clock.sleep(MINUTE).await;
    assert_eq!(shown(&client, "committing").await["status"], "ready");
    assert_eq!(shown(&client, "performing").await["status"], "uploading");
    assert_eq!(client.get(&format!("/v3/job/status/{job}")).await.json()["status"], "error");
    assert_eq!(control.row_count(DATABASE, "customers"), Some(0));
}

#[tokio::test]
async fn parts_can_be_changed_only_in_an_open_session() {
    for (closed_session, expected) in [
        (ClosedSession::Conflict, StatusCode::CONFLICT),
        (ClosedSession::Unprocessable, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let behaviour = TreasureDataBehaviour { closed_session, ..TreasureDataBehaviour::default() };
        let settings = slow_settings(behaviour);
        let clock = settings.clock.clone();
        let (sandbox, client) = start(settings).await;
        let control = sandbox.control();
        control.create_table(DATABASE, "customers");
        assert_eq!(create(&client, "one", "customers").await, StatusCode::OK);
        assert_eq!(upload(&client, "one", "kept", 0..10).await.status, StatusCode::OK);
        assert_eq!(upload(&client, "one", "gone", 10..20).await.status, StatusCode::OK);
        assert_eq!(delete_part(&client, "one", "gone").await.status, StatusCode::OK);
        assert_eq!(delete_part(&client, "one", "gone").await.status, StatusCode::NOT_FOUND);
        for (step, wait, status) in [
            ("freeze", Duration::ZERO, "uploading"),
            ("perform", Duration::ZERO, "performing"),
            ("show", MINUTE, "ready"),
            ("commit", Duration::ZERO, "committing"),
            ("show", MINUTE, "committed"),
        ] {
            if step != "show" {
                assert_eq!(call(&client, step, "one").await, StatusCode::OK);
            }
            clock.sleep(wait).await;
            assert_eq!(upload(&client, "one", "late", 10..20).await.status, expected, "{status}");
            assert_eq!(upload(&client, "one", "kept", 10..20).await.status, expected, "{status}");
            assert_eq!(delete_part(&client, "one", "kept").await.status, expected, "{status}");
            assert_eq!(shown(&client, "one").await["status"], status);
            let listed = if status == "committed" { "[]" } else { r#"["kept"]"# };
            assert_eq!(parts(&client, "one").await.to_string(), listed, "{status}");
        }
        let times = control.verify_table(DATABASE, "customers", 0..=i64::MAX).unwrap();
        assert_eq!((times.rows, times.missing), (10, 240), "only the rows from before the freeze");
    }
}

#[tokio::test]
async fn steps_in_the_wrong_state_are_conflicts() {
    let settings = slow_settings(TreasureDataBehaviour::default());
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    control.create_table(DATABASE, "customers");
    assert_eq!(create(&client, "one", "customers").await, StatusCode::OK);
    assert_eq!(upload(&client, "one", "part", 0..10).await.status, StatusCode::OK);
    let assert_conflict = async |operations: &[&str], state: &str| {
        for operation in operations {
            assert_eq!(call(&client, operation, "one").await, StatusCode::CONFLICT, "{operation}, {state}");
        }
    };
    assert_conflict(&["perform", "commit"], "open").await;
    for operation in ["freeze", "unfreeze", "freeze"] {
        assert_eq!(call(&client, operation, "one").await, StatusCode::OK);
    }
    assert_eq!(control.import_jobs(), 0);
    assert_conflict(&["freeze", "commit"], "frozen").await;
    assert_eq!(call(&client, "perform", "one").await, StatusCode::OK);
    assert_conflict(&["freeze", "unfreeze", "perform", "commit"], "performing").await;
    clock.sleep(MINUTE).await;
    assert_conflict(&["freeze", "unfreeze", "perform"], "ready").await;
    assert_eq!(call(&client, "commit", "one").await, StatusCode::OK);
    assert_conflict(&["freeze", "unfreeze", "perform", "commit", "delete"], "committing").await;
    clock.sleep(MINUTE).await;
    assert_conflict(&["freeze", "unfreeze", "perform", "commit"], "committed").await;
    let session = shown(&client, "one").await;
    assert_eq!((&session["status"], &session["upload_frozen"]), (&"committed".into(), &true.into()));
    assert_eq!((control.import_jobs(), control.row_count(DATABASE, "customers")), (1, Some(10)));
}

#[tokio::test]
async fn a_ready_session_can_be_performed_again_if_configured() {
    let repeated_perform = RepeatedPerform::Accepted;
    let settings =
        slow_settings(TreasureDataBehaviour { repeated_perform, ..TreasureDataBehaviour::default() });
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    client.prepare("one", &[part(control, 0..10)]).await;
    for jobs in [1, 2] {
        assert_eq!(call(&client, "perform", "one").await, StatusCode::OK);
        assert_eq!(call(&client, "perform", "one").await, StatusCode::CONFLICT);
        assert_eq!(shown(&client, "one").await["valid_records"], Value::Null);
        clock.sleep(MINUTE).await;
        let session = shown(&client, "one").await;
        assert_eq!((&session["status"], &session["valid_records"]), (&"ready".into(), &10.into()));
        assert_eq!(control.import_jobs(), jobs);
    }
    assert_eq!(call(&client, "commit", "one").await, StatusCode::OK);
    assert_eq!(call(&client, "perform", "one").await, StatusCode::CONFLICT);
    clock.sleep(MINUTE).await;
    assert_eq!(call(&client, "perform", "one").await, StatusCode::CONFLICT);
    assert_eq!(control.row_count(DATABASE, "customers"), Some(10));
}

/// Sends many concurrent requests and returns how many succeed; all others must result in 409.
async fn successes_of_concurrent(client: &Client, path: &str) -> usize {
    let requests = (0..24).map(|_| client.post(path));
    let responses = futures_util::future::join_all(requests).await;
    let statuses: Vec<_> = responses.iter().map(|response| response.status).collect();
    let successes = statuses.iter().filter(|status| **status == StatusCode::OK).count();
    let conflicts = statuses.iter().filter(|status| **status == StatusCode::CONFLICT).count();
    assert_eq!(successes + conflicts, statuses.len(), "{statuses:?}");
    successes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_one_of_many_concurrent_requests_succeeds() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    control.create_table(DATABASE, "customers");
    for round in 1..=5 {
        let create = format!("/v3/bulk_import/create/one/{DATABASE}/customers");
        assert_eq!(successes_of_concurrent(&client, &create).await, 1);
        assert_eq!(upload(&client, "one", "part", 0..10).await.status, StatusCode::OK);
        for step in ["freeze", "perform", "commit"] {
            assert_eq!(
                successes_of_concurrent(&client, &format!("/v3/bulk_import/{step}/one")).await,
                1,
                "{step}"
            );
        }
        assert_eq!(control.row_count(DATABASE, "customers"), Some(10 * round));
        assert_eq!(call(&client, "delete", "one").await, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_parts_are_listed() {
    let (sandbox, client) = start(virtual_settings()).await;
    sandbox.control().create_table(DATABASE, "customers");
    assert_eq!(create(&client, "one", "customers").await, StatusCode::OK);
    let names: Vec<String> = (0..16).map(|number| format!("part-{number:02}")).collect();
    let upload_and_list = |name: &String| {
        let (client, name) = (&client, name.clone());
        async move {
            assert_eq!(upload(client, "one", &name, 0..1).await.status, StatusCode::OK);
            let listed = parts(client, "one").await;
            assert!(listed.as_array().unwrap().contains(&name.as_str().into()), "{name} in {listed}");
        }
    };
    futures_util::future::join_all(names.iter().map(upload_and_list)).await;
    assert_eq!(parts(&client, "one").await, serde_json::json!(names));
    assert_eq!(delete_part(&client, "one", "part-03").await.status, StatusCode::OK);
    assert_eq!(upload(&client, "one", "part-04", 1..2).await.status, StatusCode::OK);
    assert_eq!(call(&client, "freeze", "one").await, StatusCode::OK);
    assert_eq!(shown(&client, "one").await["upload_frozen"], true);
    let listed: Vec<&String> = names.iter().filter(|name| *name != "part-03").collect();
    assert_eq!(parts(&client, "one").await, serde_json::json!(listed));
}

#[tokio::test]
async fn a_session_with_a_killed_job_returns_to_uploading_or_stays_performing() {
    for (killed_job, status) in
        [(KilledJob::FallsBack, "uploading"), (KilledJob::StaysPerforming, "performing")]
    {
        let behaviour = TreasureDataBehaviour { killed_job, ..TreasureDataBehaviour::default() };
        let settings = slow_settings(behaviour);
        let clock = settings.clock.clone();
        let (sandbox, client) = start(settings).await;
        client.prepare("killed", &[part(sandbox.control(), 0..10)]).await;
        let job = client.post("/v3/bulk_import/perform/killed").await.json()["job_id"].as_u64().unwrap();
        clock.sleep(MINUTE / 2).await;
        let killed = client.post(&format!("/v3/job/kill/{job}")).await.json();
        assert_eq!(killed["former_status"], "running");
        for wait in [Duration::ZERO, MINUTE, 60 * MINUTE] {
            clock.sleep(wait).await;
            assert_eq!(shown(&client, "killed").await["status"], status);
            assert_eq!(client.get(&format!("/v3/job/status/{job}")).await.json()["status"], "killed");
        }
        assert_eq!(call(&client, "delete", "killed").await, StatusCode::OK);
    }
}
