//! The `Date` header.

use super::*;

const START: &str = "Fri, 15 Jan 2027 08:00:00 GMT";

/// Responses of both services to all kinds of requests, from every code path that creates a response.
async fn responses(sandbox: &Sandbox, client: &Client) -> Vec<Response> {
    let unavailable = FaultKind::Status(503, None);
    sandbox.control().set_faults(FaultPlan {
        faults: vec![
            Fault::on(Operation::ShowUser, 1, unavailable.clone()),
            Fault::on(Operation::ShowUser, 2, FaultKind::HtmlOk),
            Fault::on(Operation::ShowUser, 3, FaultKind::SlowBody(Duration::ZERO)),
            Fault::on(Operation::AccessToken, 1, unavailable),
        ],
    });
    let token_url = format!("{}/core/v3/stores/{STORE_ID}/access_tokens", client.yotpo);
    let mut responses = vec![client.send(client.http.post(token_url)).await.unwrap()];
    let token = client.token().await;
    for token in ["wrong", &token, &token, &token, &token] {
        responses.push(client.customers(token, "limit=1").await.unwrap());
    }
    assert_eq!(responses.last().unwrap().status, StatusCode::TOO_MANY_REQUESTS);
    for path in ["v3/user/show", "v3/user/show", "v3/user/show", "v3/nothing", "sandbox/requests"] {
        responses.push(client.get(&format!("/{path}")).await);
    }
    let denied = client.http.get(format!("{}/v3/user/show", client.treasure_data));
    responses.push(client.send(denied).await.unwrap());
    responses.push(client.post("/v3/bulk_import/delete/absent").await);
    responses
}

async fn dates(date_header: DateHeader) -> Vec<Option<String>> {
    let (sandbox, client) = start(SandboxSettings { date_header, ..virtual_settings() }).await;
    let date = |response: Response| {
        assert!(response.headers.get_all("date").iter().count() < 2);
        response.headers.get("date").map(|date| date.to_str().unwrap().to_owned())
    };
    responses(&sandbox, &client).await.into_iter().map(date).collect()
}

#[tokio::test]
async fn every_response_has_the_date_of_the_sandboxs_clock() {
    assert_eq!(dates(DateHeader::Clock).await, vec![Some(START.to_owned()); 13]);
    let settings = virtual_settings();
    let clock = settings.clock.clone();
    let (_sandbox, client) = start(settings).await;
    clock.sleep(Duration::from_secs(3_661)).await;
    let response = client.get("/v3/system/server_status").await;
    assert_eq!(response.headers["date"], "Fri, 15 Jan 2027 09:01:01 GMT");
}

#[tokio::test]
async fn the_date_can_be_wrong_or_absent() {
    let early = Some("Thu, 14 Jan 2027 08:00:00 GMT".to_owned());
    assert_eq!(dates(DateHeader::Skewed(-86_400)).await, vec![early; 13]);
    assert_eq!(dates(DateHeader::Absent).await, vec![None; 13]);
}
