//! Calls for jobs.

use serde_json::json;

use super::*;

/// Loads a session and returns the id of its job.
async fn load(client: &Client, session: &str) -> u64 {
    client.prepare(session, &[part(&client.control, 0..10)]).await;
    let performed = client.post(&format!("/v3/bulk_import/perform/{session}")).await.json();
    performed["job_id"].as_u64().unwrap()
}

#[tokio::test]
async fn a_job_that_has_ended_cannot_be_killed() {
    let (_sandbox, client) = start(virtual_settings()).await;
    let job = load(&client, "one").await;
    let killed = client.post(&format!("/v3/job/kill/{job}")).await;
    let former = json!({"former_status": "success", "job_id": job.to_string()});
    assert_eq!((killed.status, killed.json()), (StatusCode::OK, former));
    assert_eq!(client.get(&format!("/v3/job/status/{job}")).await.json()["status"], "success");
    assert_eq!(client.session("one").await["status"], "ready");
    for unknown in ["12x", "1"] {
        let response = client.post(&format!("/v3/job/kill/{unknown}")).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND);
        assert_eq!(response.json()["error"], format!("Job '{unknown}' does not exist"));
    }
}

#[tokio::test]
async fn jobs_are_listed_from_the_latest_within_a_range() {
    let (_sandbox, client) = start(virtual_settings()).await;
    let [first, second, third] =
        [load(&client, "one").await, load(&client, "two").await, load(&client, "three").await];
    for (range, expected) in [
        ("", vec![third, second, first]),
        ("?from=1", vec![second, first]),
        ("?from=1&to=1", vec![second]),
        ("?from=2&to=1", Vec::new()),
        ("?from=3&to=9", Vec::new()),
    ] {
        let list = client.get(&format!("/v3/job/list{range}")).await.json();
        let listed = list["jobs"].as_array().unwrap().iter();
        let listed: Vec<u64> = listed.map(|job| job["job_id"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(listed, expected, "{range}");
        assert_eq!(list["count"], 3, "{range}");
    }
}
