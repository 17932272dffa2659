//! Sessions that are removed because of their age, or by a test.

use super::*;

const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);

/// Four sessions: empty, frozen, performed and committed.
async fn sessions_of_every_kind(client: &Client) {
    let control = &client.control;
    control.create_table(DATABASE, "customers");
    client.post(&format!("/v3/bulk_import/create/empty/{DATABASE}/customers")).await;
    client.prepare("frozen", &[part(control, 0..1)]).await;
    client.prepare("performed", &[part(control, 0..1)]).await;
    client.prepare("committed", &[part(control, 0..1)]).await;
    for path in ["perform/performed", "perform/committed", "commit/committed"] {
        assert_eq!(client.post(&format!("/v3/bulk_import/{path}")).await.status, StatusCode::OK);
    }
}

fn names(control: &Control) -> Vec<String> {
    control.sessions().into_iter().map(|session| session.name).collect()
}

#[tokio::test]
async fn sessions_without_commit_are_removed_after_seven_days() {
    let settings = virtual_settings();
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    sessions_of_every_kind(&client).await;
    clock.sleep((7 * DAY).saturating_sub(SECOND)).await;
    assert_eq!(names(sandbox.control()), ["committed", "empty", "frozen", "performed"]);
    clock.sleep(SECOND).await;
    for session in ["empty", "frozen", "performed"] {
        let gone = client.get(&format!("/v3/bulk_import/show/{session}")).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{session}");
        let again = client.post(&format!("/v3/bulk_import/create/{session}/{DATABASE}/customers")).await;
        assert_eq!(again.status, StatusCode::OK, "the name can be used again");
    }
    clock.sleep(1_000 * DAY).await;
    assert_eq!(names(sandbox.control()), ["committed"]);
    assert_eq!(sandbox.control().row_count(DATABASE, "customers"), Some(1));
}

#[tokio::test]
async fn every_kind_of_session_has_its_own_retention() {
    for (retention, left) in [
        ([Some(DAY), None, None], &["committed", "performed"][..]),
        ([None, Some(DAY), None], &["committed", "empty", "frozen"]),
        ([None, None, Some(DAY)], &["empty", "frozen", "performed"]),
        ([None, None, None], &["committed", "empty", "frozen", "performed"]),
    ] {
        let [never_performed, performed, committed] = retention;
        let retention = Retention { never_performed, performed, committed };
        let treasure_data = TreasureDataBehaviour { retention, ..TreasureDataBehaviour::default() };
        let settings = SandboxSettings { treasure_data, ..virtual_settings() };
        let clock = settings.clock.clone();
        let (sandbox, client) = start(settings).await;
        sessions_of_every_kind(&client).await;
        clock.sleep(DAY).await;
        assert_eq!(names(sandbox.control()), left);
    }
}

#[tokio::test]
async fn age_counts_from_creation_and_does_not_interrupt_a_commit() {
    let settings = SandboxSettings { commit_duration: 2 * DAY, ..virtual_settings() };
    let clock = settings.clock.clone();
    let (sandbox, client) = start(settings).await;
    let control = sandbox.control();
    client.prepare("late", &[part(control, 0..1)]).await;
    client.prepare("committing", &[part(control, 0..1)]).await;
    client.post("/v3/bulk_import/perform/committing").await;
    clock.sleep(6 * DAY).await;
    let job = client.post("/v3/bulk_import/perform/late").await.json()["job_id"].as_u64().unwrap();
    assert_eq!(client.post("/v3/bulk_import/commit/committing").await.status, StatusCode::OK);
    clock.sleep(DAY).await;
    assert_eq!(names(control), ["committing"]);
    assert_eq!(client.get(&format!("/v3/job/status/{job}")).await.json()["status"], "success");
    clock.sleep(DAY).await;
    assert_eq!(control.sessions()[0].status, "committed");
    assert_eq!(control.row_count(DATABASE, "customers"), Some(1));
}

#[tokio::test]
async fn sessions_can_be_removed_in_every_state() {
    let (sandbox, client) = start(virtual_settings()).await;
    let control = sandbox.control();
    sessions_of_every_kind(&client).await;
    for session in ["empty", "frozen", "performed", "committed"] {
        assert_eq!([control.remove_session(session), control.remove_session(session)], [true, false]);
        let gone = client.get(&format!("/v3/bulk_import/show/{session}")).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{session}");
    }
    assert_eq!(control.row_count(DATABASE, "customers"), Some(1));
}
