//! Limits: how much one caller, or one address, may do.

use std::time::Duration;

use integration::{
    checkout, eventually,
    stack::{Stack, signal, update},
    viewer::Viewer,
};
use nix::sys::signal::Signal;
use reqwest::{Response, StatusCode, header};
use serde_json::{Value, json};

async fn connect(stack: &Stack, function: &str, token: &str) -> Response {
    let url = format!("{}/api/{function}/events/r", stack.url);
    let url = url.replace("queue-stats/events/r", "queue-stats/events");
    let request = reqwest::Client::new().get(url).bearer_auth(token);
    request.send().await.unwrap()
}

/// Asserts a 429 and returns when to come back.
async fn limited(response: Response) -> u64 {
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds = response.headers()[header::RETRY_AFTER].to_str().unwrap();
    let seconds = seconds.parse().unwrap();
    let problem: Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().starts_with("Too many"));
    seconds
}

#[tokio::test]
async fn a_stream_that_asks_twice_has_one_place() {
    let stack = Stack::start().await;
    let script = include_str!("../../shared/src/access/limits/admit.lua");
    let script = redis::Script::new(script);
    let mut redis = stack.redis().await;
    let mut admit = async |stream: &str| {
        let mut call = script.key("{s}:tries");
        let call = call
            .key("{s}:streams")
            .arg(100)
            .arg(1)
            .arg(stream)
            .arg(60_000);
        let answer: (String, u64) = call.invoke_async(&mut redis).await.unwrap();
        answer.0
    };
    assert_eq!(admit("a").await, "");
    assert_eq!(admit("a").await, "");
    assert_eq!(admit("b").await, "streams");
}

#[tokio::test]
async fn a_subject_holds_so_many_streams_and_no_more() {
    let stack = Stack::with(&[], &[("STREAMS_PER_SUBJECT", "3")]).await;
    let mut viewers = Vec::new();
    for function in ["job-status", "test-status", "queue-stats"] {
        let response = connect(&stack, function, &stack.token).await;
        assert_eq!(response.status(), StatusCode::OK);
        viewers.push(Viewer::new(response));
    }
    let retry_after = limited(connect(&stack, "job-status", &stack.token).await).await;
    assert!((1..=45).contains(&retry_after), "{retry_after}");
    // Who has the same name in another organization is somebody else.
    let other = stack.token(&["--org", "other"]).await;
    assert_eq!(
        connect(&stack, "job-status", &other).await.status(),
        StatusCode::OK
    );

    let opening: Value = serde_json::from_str(&viewers[0].event().await.unwrap().data).unwrap();
    let stream_id = opening["streamId"].as_str().unwrap();
    let close = format!("{}/api/job-status/streams/{stream_id}/close", stack.url);
    reqwest::Client::new().post(close).send().await.unwrap();
    viewers[0].rest().await;
    assert_eq!(
        connect(&stack, "job-status", &stack.token).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_killed_functions_streams_are_given_back_and_living_ones_are_kept() {
    let variables = [
        ("STREAMS_PER_SUBJECT", "2"),
        ("STREAM_HEARTBEAT_SECONDS", "1"),
    ];
    let stack = Stack::with(&[], &variables).await;
    let killed = connect(&stack, "job-status", &stack.token).await;
    let mut living = stack.watch("/api/test-status/events/r").await;
    living.state().await;
    limited(connect(&stack, "job-status", &stack.token).await).await;
    for pid in stack.pids("job-status").await {
        signal(pid, Signal::SIGKILL);
    }
    drop(killed);
    let taken = eventually("the killed stream's place is free", async || {
        let response = connect(&stack, "job-status", &stack.token).await;
        (response.status() == StatusCode::OK).then_some(response)
    });
    let _taken = taken.await;
    // The other has outlived many leases by now, and still counts.
    limited(connect(&stack, "job-status", &stack.token).await).await;
}

#[tokio::test]
async fn an_environment_whose_connection_died_while_it_was_frozen_still_counts() {
    let stack = Stack::with(&[], &[("STREAMS_PER_SUBJECT", "1")]).await;
    let _held = stack.watch("/api/test-status/events/r").await;
    limited(connect(&stack, "job-status", &stack.token).await).await;
    let mut redis = stack.redis().await;
    for _ in 0..5 {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("SKIPME").arg("yes");
        kill.exec_async(&mut redis).await.unwrap();
        limited(connect(&stack, "job-status", &stack.token).await).await;
    }
}

#[tokio::test]
async fn who_connects_too_often_is_told_when_to_come_back() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "30")]).await;
    stack
        .send(json!([
            update("job", "r", "passed"),
            update("test", "r", "passed")
        ]))
        .await;
    let mut let_in = 0;
    let retry_after = loop {
        let function = ["job-status", "test-status"][let_in % 2];
        let response = connect(&stack, function, &stack.token).await;
        if response.status() != StatusCode::OK {
            break limited(response).await;
        }
        let_in += 1;
    };
    // 30 at once, and one more every 2 s.
    assert!((30..40).contains(&let_in), "{let_in}");
    assert!((1..=2).contains(&retry_after), "{retry_after}");
    tokio::time::sleep(Duration::from_secs(retry_after)).await;
    assert_eq!(
        connect(&stack, "job-status", &stack.token).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn who_tries_without_a_token_is_slowed_down_and_keeps_nobody_else_out() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "10")]).await;
    let mut refused = 0;
    loop {
        let response = connect(&stack, "job-status", "garbage").await;
        if response.status() != StatusCode::UNAUTHORIZED {
            limited(response).await;
            break;
        }
        refused += 1;
    }
    assert!((10..20).contains(&refused), "{refused}");
    assert_eq!(
        connect(&stack, "job-status", &stack.token).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn every_key_of_a_limit_ends_by_itself() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "120")]).await;
    connect(&stack, "job-status", "garbage").await;
    let _stream = stack.watch("/api/job-status/events/r").await;
    let mut redis = stack.redis().await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut redis)
        .await
        .unwrap();
    // Tries of the address; tries and streams of the subject.
    assert_eq!(keys.len(), 3, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("limit:{"), "{key}");
        let ttl: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .unwrap();
        assert!((0..=60_000).contains(&ttl), "{key}: {ttl}");
    }
}

#[tokio::test]
async fn without_redis_everyone_is_let_in_and_that_is_counted() {
    let variables = [("STREAMS_PER_SUBJECT", "1"), ("CONNECTS_PER_MINUTE", "1")];
    let stack = Stack::with(&[], &variables).await;
    stack.publish("job", "r", "passed").await;
    signal(stack.valkey_pid().await, Signal::SIGKILL);
    for _ in 0..3 {
        let response = connect(&stack, "job-status", &stack.token).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap();
    }
    eventually("it is counted", async || {
        stack.said().contains("\"LimitsSkipped\":").then_some(())
    })
    .await;
}

#[tokio::test]
async fn behind_cloudfront_the_viewers_address_counts_and_nobody_elses_word_for_it() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "3")]).await;
    let sample = std::fs::read_to_string(checkout("infra/events/job-status.json")).unwrap();
    let sample: Value = serde_json::from_str(&sample.replace("TOKEN", "garbage")).unwrap();
    let tries = async |viewer: &str, is_signed: bool| {
        let mut event = sample.clone();
        event["headers"]["x-viewer-address"] = json!(viewer);
        if is_signed {
            event["requestContext"]["authorizer"] = json!({"iam": {"accountId": "1"}});
        }
        for tried in 0..10 {
            let answer = stack.invoke_raw("job-status", event.to_string()).await;
            let answer = answer.text().await.unwrap();
            if answer.contains("\"statusCode\":429") {
                return tried;
            }
            assert!(answer.contains("\"statusCode\":401"), "{answer}");
        }
        10
    };
    assert_eq!(tries("192.0.2.1", true).await, 3);
    assert_eq!(tries("192.0.2.2", true).await, 3);
    // Made up by whoever calls the URL itself: all are one address.
    assert_eq!(tries("192.0.2.3", false).await, 3);
    assert_eq!(tries("192.0.2.4", false).await, 0);
}
