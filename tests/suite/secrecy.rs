//! What no answer may say, whatever goes wrong.

use integration::{
    eventually,
    secrets::assert_discreet,
    stack::{Stack, signal, update},
};
use nix::sys::signal::Signal;
use reqwest::{Client, Method};
use serde_json::json;

/// Asks in every way that is wrong, and looks at what comes back.
async fn provoke(stack: &Stack) {
    let client = Client::new();
    let long = "x".repeat(20_000);
    let wrong = [
        "",
        "/",
        "/..%2f..%2fetc%2fpasswd",
        "/%00",
        "/%ff",
        "/a%0d%0aSet-Cookie:x=1",
        "/a'--",
        "/r",
        "?runId=",
        "?runId=%ff",
        "?runId=a&runId=a%20b",
        "?projectId=a&runId=b",
        "?projectId=",
        "?token=eyJhbGciOiJub25lIn0.e30.",
        "?x=%",
        "?lastEventId=99999999999999999999",
    ];
    for function in ["test-status", "job-status", "queue-stats"] {
        let base = format!("{}/api/{function}", stack.url);
        for path in wrong {
            for token in [stack.token.as_str(), "garbage", long.as_str()] {
                for (method, path) in [
                    (Method::GET, format!("/events{path}")),
                    (Method::POST, format!("/events{path}")),
                    (Method::POST, format!("/streams{path}/close")),
                    (Method::GET, format!("/ready{path}")),
                    (Method::GET, format!("/{path}")),
                ] {
                    let request = client.request(method, format!("{base}{path}"));
                    let response = request.header("X-Auth-Token", token).send().await.unwrap();
                    let is_stream = response
                        .headers()
                        .get("content-type")
                        .is_some_and(|kind| kind == "text/event-stream");
                    let headers = format!("{:?}", response.headers());
                    assert_discreet(&headers);
                    if !is_stream {
                        assert_discreet(&response.text().await.unwrap());
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn no_answer_and_no_line_of_the_log_tells_an_internal() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "passed").await;
    let mut secret = update("job", "r2", "running");
    secret["errorDetails"] = json!("payload-7d1f");
    secret["status"] = json!("payload-7d1f");
    let answer = stack.send(json!([secret])).await;
    assert_eq!(answer["rejected"][0]["index"], 0);
    provoke(&stack).await;
    let redis = stack.valkey_pid().await;
    signal(redis, Signal::SIGKILL);
    let mut postgres = integration::server::Server::postgres(&stack).await;
    postgres.kill().await;
    eventually("Postgres is away", async || {
        let url = format!("{}/api/job-status/ready", stack.url);
        let ready = reqwest::get(url).await.unwrap().text().await.unwrap();
        ready.contains("Redis and Postgres").then_some(())
    })
    .await;
    let client = Client::new();
    for path in [
        "job-status/events/r",
        "test-status/events?projectId=demo",
        "queue-stats/events",
    ] {
        let url = format!("{}/api/{path}", stack.url);
        let response = client
            .get(url)
            .bearer_auth(&stack.token)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 503, "{path}");
        assert!(response.headers().contains_key("retry-after"));
        assert_discreet(&response.text().await.unwrap());
    }
    let answer = stack.send(json!([update("job", "r3", "running")])).await;
    assert_discreet(&answer.to_string());
    // The stack's log is looked at when it is dropped, as with every test.
    assert!(!stack.said().contains("payload-7d1f"));
}
