//! What a test left in a bucket: a URL that is good for minutes.

use integration::stack::{Stack, update};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use shared::execution::Timestamp;

const S3: [(&str, &str); 6] = [
    ("ARTIFACTS_BUCKET", "ci-artifacts/{org}"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_ENDPOINT_URL", ""),
    ("AWS_ENDPOINT_URL_S3", ""),
];

async fn ask(stack: &Stack, id: &str, token: &str) -> Response {
    let url = format!("{}/api/test-status/artifacts/{id}", stack.url);
    let request = Client::new().get(url).bearer_auth(token);
    request.send().await.unwrap()
}

async fn leave(stack: &Stack, id: &str, s3_url: Value) {
    let mut test = update("test", id, "running");
    test["s3Url"] = s3_url;
    assert_eq!(stack.send(json!([test])).await["accepted"], 1);
}

async fn assert_none(answer: Response, says: &str) {
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let problem: Value = answer.json().await.unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains(says) && !detail.contains("ci-"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_tests_own_artifact_is_signed_and_nothing_else() {
    let stack = Stack::with(&[], &S3).await;
    let token = stack.token.clone();
    leave(&stack, "t", json!("s3://ci-artifacts/demo/a b/trace.zip")).await;
    let answer = ask(&stack, "t", &token).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let artifact: Value = answer.json().await.unwrap();
    let url = artifact["url"].as_str().unwrap();
    let object = "https://ci-artifacts.s3.eu-central-1.amazonaws.com/demo/a%20b/trace.zip?";
    assert!(
        url.starts_with(object) && url.contains("&X-Amz-Signature="),
        "{artifact}"
    );
    assert!(url.contains("X-Amz-Expires=300&"), "{artifact}");
    let (_, at) = url.split_once("X-Amz-Date=").unwrap();
    let (date, time) = (&at[..8], &at[9..15]);
    let at = [
        &date[..4],
        "-",
        &date[4..6],
        "-",
        &date[6..],
        "T",
        &time[..2],
        ":",
        &time[2..4],
        ":",
        &time[4..],
        "Z",
    ];
    let signed_at: Timestamp = serde_json::from_value(json!(at.concat())).unwrap();
    let expires_at: Timestamp = serde_json::from_value(artifact["expiresAt"].clone()).unwrap();
    assert_eq!((expires_at.0 - signed_at.0).num_seconds(), 300);

    leave(&stack, "none", Value::Null).await;
    assert_none(ask(&stack, "none", &token).await, "no s3Url").await;
    for elsewhere in [
        "s3://ci-artifacts/other/trace.zip",
        "s3://ci-artifacts/demo",
        "s3://ci-secrets/demo/key",
        "https://ci.example.com/trace.zip",
    ] {
        leave(&stack, "elsewhere", json!(elsewhere)).await;
        assert_none(ask(&stack, "elsewhere", &token).await, "no object").await;
    }
    assert_none(ask(&stack, "unknown", &token).await, "no such thing").await;
    for theirs in [
        &["--org", "other"][..],
        &["--org", "demo", "--projects", "p"],
    ] {
        let theirs = stack.token(theirs).await;
        assert_none(ask(&stack, "t", &theirs).await, "no such thing").await;
    }
    let refused = ask(&stack, "t", "none").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_a_bucket_nothing_is_signed() {
    let stack = Stack::with(&[], &[("ARTIFACTS_BUCKET", "")]).await;
    leave(&stack, "t", json!("s3://ci-artifacts/demo/trace.zip")).await;
    let answer = ask(&stack, "t", &stack.token).await;
    assert_none(answer, "No bucket").await;
}
