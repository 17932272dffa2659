//! Databases, tables and sessions through real connections.

use super::*;

#[tokio::test]
async fn rows_are_loaded_exactly_once_through_the_entire_state_machine() {
    let mut settings = virtual_settings();
    settings.import_duration = Duration::from_secs(60);
    settings.commit_duration = Duration::from_secs(30);
    settings.row_count_lag = Duration::from_secs(120);
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    client.prepare("first", &[part(control, 100..250), part(control, 0..100)]).await;
    assert_eq!(client.session("first").await["valid_records"], Value::Null);
    let job = client.post("/v3/bulk_import/perform/first").await.json()["job_id"].as_u64().unwrap();
    assert_eq!(client.session("first").await["status"], "performing");
    assert_eq!(client.get(&format!("/v3/job/status/{job}")).await.json()["status"], "queued");
    clock.sleep(Duration::from_secs(60)).await;
    let session = client.session("first").await;
    assert_eq!((&session["status"], &session["valid_records"]), (&"ready".into(), &250.into()));
    assert_eq!(client.get(&format!("/v3/job/show/{job}")).await.json()["status"], "success");
    assert_eq!(control.row_count(DATABASE, "customers"), Some(0));
    assert_eq!(client.post("/v3/bulk_import/commit/first").await.status, StatusCode::OK);
    assert_eq!(client.post("/v3/bulk_import/commit/first").await.status, StatusCode::CONFLICT);
    assert_eq!(client.session("first").await["status"], "committing");
    clock.sleep(Duration::from_secs(30)).await;
    assert_eq!(client.session("first").await["status"], "committed");
    let table = client.get(&format!("/v3/table/show/{DATABASE}/customers")).await.json();
    assert_eq!((&table["count"], control.row_count(DATABASE, "customers")), (&0.into(), Some(250)));
    clock.sleep(Duration::from_secs(120)).await;
    let table = client.get(&format!("/v3/table/show/{DATABASE}/customers")).await.json();
    assert_eq!((&table["count"], &table["schema"]), (&250.into(), &r#"[["json_response","string"]]"#.into()));
    let verified = control.verify_table(DATABASE, "customers", 1_800_000_000..=1_800_000_000).unwrap();
    assert!(verified.is_exact(), "{verified:?}");
    assert_eq!(client.post("/v3/bulk_import/delete/first").await.status, StatusCode::OK);
    assert_eq!(client.post("/v3/bulk_import/delete/first").await.status, StatusCode::NOT_FOUND);
    sandbox.shutdown().await;
}

#[tokio::test]
async fn verification_reports_all_differences() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    client.prepare("wrong", &[part(control, 0..100), part(control, 90..240)]).await;
    client.post("/v3/bulk_import/perform/wrong").await;
    client.post("/v3/bulk_import/commit/wrong").await;
    let foreign = serde_json::json!({"time": 5, "json_response": "{}", "more": 1});
    let changed = control.expected_json_response(7).replacen("null", " null", 1);
    let changed = serde_json::json!({"time": 1_800_000_000, "json_response": changed});
    control.insert_rows(DATABASE, "customers", &[foreign, changed]).unwrap();
    let found = control.verify_table(DATABASE, "customers", 1_800_000_000..=1_800_000_000).unwrap();
    assert_eq!((found.rows, found.missing, found.duplicated), (252, 10, 11));
    assert_eq!((found.differing, found.unknown, found.wrong_time, found.extra_columns), (1, 1, 1, 1));
    let over_http = client.get(&format!("/sandbox/tables/{DATABASE}/customers/verify")).await.json();
    assert_eq!((&over_http["missing"], &over_http["exact"]), (&10.into(), &false.into()));
    let rows =
        client.get(&format!("/sandbox/tables/{DATABASE}/customers/rows?offset=249&limit=2")).await.json();
    assert_eq!(rows["rows"][1], serde_json::json!({"time": 5, "json_response": "{}", "more": 1}));
    assert_eq!(
        client.get(&format!("/sandbox/tables/{DATABASE}/nothing/count")).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn tail_returns_the_last_rows_first() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    control.create_table(DATABASE, "customers");
    for times in [[1, 2], [3, 4], [5, 6]] {
        let rows = times.map(|time| serde_json::json!({"time": time}));
        control.insert_rows(DATABASE, "customers", &rows).unwrap();
    }
    let tail = client.get(&format!("/v3/table/tail/{DATABASE}/customers?count=3&format=msgpack")).await;
    assert_eq!(tail.body, b"\x81\xa4time\x06\x81\xa4time\x05\x81\xa4time\x04");
}

#[tokio::test]
async fn a_session_needs_an_unused_name_of_three_letters_and_a_table() {
    let (sandbox, client) = start(virtual_settings()).await;
    client.prepare("one", &[part(sandbox.control(), 0..10)]).await;
    let again = client.post(&format!("/v3/bulk_import/create/one/{DATABASE}/customers")).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(client.post("/v3/bulk_import/create/ab/x/y").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(client.post("/v3/bulk_import/create/abc/x/y").await.status, StatusCode::NOT_FOUND);
    let absent = client.post(&format!("/v3/bulk_import/create/abc/{DATABASE}/absent")).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn sessions_return_to_the_previous_state_after_failed_imports_and_commits() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    client.prepare("bad", &[b"not a part".to_vec()]).await;
    let job = client.post("/v3/bulk_import/perform/bad").await.json()["job_id"].as_u64().unwrap();
    let session = client.session("bad").await;
    assert_eq!((&session["status"], &session["error_parts"]), (&"uploading".into(), &1.into()));
    assert_eq!(client.get(&format!("/v3/job/status/{job}")).await.json()["status"], "error");
    control.set_faults(FaultPlan {
        faults: vec![
            Fault::on(Operation::CommitSession, 1, FaultKind::FailCommit),
            Fault::on(Operation::PerformSession, 2, FaultKind::FailImport),
        ],
    });
    client.prepare("good", &[part(control, 0..10)]).await;
    client.post("/v3/bulk_import/perform/good").await;
    assert_eq!(client.session("good").await["status"], "uploading");
    client.post("/v3/bulk_import/perform/good").await;
    assert_eq!(client.post("/v3/bulk_import/commit/good").await.status, StatusCode::OK);
    assert_eq!(client.session("good").await["status"], "ready");
    client.post("/v3/bulk_import/commit/good").await;
    assert_eq!(client.session("good").await["status"], "committed");
    assert_eq!((control.row_count(DATABASE, "customers"), control.applied_faults()), (Some(10), 2));
}

#[tokio::test]
async fn rename_over_a_table_replaces_it() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    for (table, time) in [("old", 1), ("new", 2)] {
        control.create_table(DATABASE, table);
        control.insert_rows(DATABASE, table, &[serde_json::json!({"time": time})]).unwrap();
    }
    assert_eq!(client.rename("new", "old", false).await, StatusCode::CONFLICT);
    assert_eq!(client.rename("new", "old", true).await, StatusCode::OK);
    let times: Vec<_> = control.rows(DATABASE, "old").unwrap().map(|row| row.unwrap().time).collect();
    assert_eq!((times, control.row_count(DATABASE, "new")), (vec![2], None));
}

#[tokio::test]
async fn unknown_jobs_are_not_found() {
    let (_sandbox, client) = start(virtual_settings()).await;
    for job in ["12x", "1", "99999999999999999999"] {
        assert_eq!(client.get(&format!("/v3/job/status/{job}")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn schemas_are_extended_but_types_never_changed() {
    let (sandbox, client) = start(virtual_settings()).await;
    sandbox.control().create_table(DATABASE, "customers");
    let append = async |schema: &str| {
        let url = format!("{}/v3/table/append-schema/{DATABASE}/customers", client.treasure_data);
        let request = client.http.post(url).header("content-type", "application/json");
        let body = format!(r#"{{"schema":{schema}}}"#);
        let request = request.header("authorization", &client.authorization).body(body);
        client.send(request).await.unwrap().status.as_u16()
    };
    assert_eq!(append(r#"[["json_response","string"]]"#).await, 200);
    assert_eq!(append(r#"[["json_response","string"],["n","long","m"]]"#).await, 200);
    for invalid in [
        r#"[["json_response","long"]]"#,
        r#"[["time","long"]]"#,
        r#"[["v","string"]]"#,
        r#"[["Upper","string"]]"#,
        r#"[["a"]]"#,
        r#"[["a","text"]]"#,
        "{}",
    ] {
        assert_eq!(append(invalid).await, 422, "{invalid}");
    }
    let table = client.get(&format!("/v3/table/show/{DATABASE}/customers")).await.json();
    assert_eq!(table["schema"], r#"[["json_response","string"],["n","long","m"]]"#);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement that is meaningful only in a release build"]
async fn loading_speed_and_memory() {
    const PARTS: u64 = 10;
    const ROWS: u64 = 50_000;
    let settings = SandboxSettings { customers: PARTS * ROWS, ..SandboxSettings::default() };
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control().clone();
    let clock = Clock::machine();
    control.create_table(DATABASE, "customers");
    client.post(&format!("/v3/bulk_import/create/big/{DATABASE}/customers")).await;
    for number in 0..PARTS {
        let body = part(&control, number * ROWS..(number + 1) * ROWS);
        let path = format!("/v3/bulk_import/upload_part/big/part-{number}");
        client.td(Method::PUT, &path, body).await.unwrap();
    }
    client.post("/v3/bulk_import/freeze/big").await;
    let resident_memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned()
    };
    println!("uploaded: {}", resident_memory());
    let started = clock.now();
    client.post("/v3/bulk_import/perform/big").await;
    while client.session("big").await["status"] == "performing" {
        clock.sleep(Duration::from_millis(20)).await;
    }
    println!("imported in {:?}: {}", clock.now().saturating_sub(started), resident_memory());
    client.post("/v3/bulk_import/commit/big").await;
    client.session("big").await;
    let started = clock.now();
    let verified = control.verify_table(DATABASE, "customers", 0..=i64::MAX).unwrap();
    println!("verified in {:?}: {}", clock.now().saturating_sub(started), resident_memory());
    assert!(verified.is_exact(), "{verified:?}");
}
