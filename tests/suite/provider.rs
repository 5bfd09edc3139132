//! Keys that a real `OpenID` provider serves, and changes.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use integration::{
    eventually,
    provider::Provider,
    stack::{Stack, gone, signal},
};
use nix::sys::signal::Signal;
use reqwest::{Client, Response, StatusCode};
use tokio::time::{sleep, timeout};

async fn stack(options: &[&str], provider: &Provider) -> Stack {
    let keys = ("AUTH_JWKS", provider.discovery());
    let issuer = ("AUTH_ISSUER", provider.issuer.clone());
    let variables = [&keys, &issuer].map(|(name, value)| (*name, value.as_str()));
    let stack = Stack::with(options, &variables).await;
    stack.publish("job", "r", "running").await;
    stack
}

async fn ask(stack: &Stack, token: &str) -> Response {
    let url = format!("{}/api/runs/r", stack.url);
    let request = Client::new().get(url).bearer_auth(token);
    request.send().await.unwrap()
}

/// A hundred tokens at once, each of a key that there is not.
async fn flood(stack: &Stack, token: &str) {
    let (_, rest) = token.split_once('.').unwrap();
    let floods = (0..100).map(async |number| {
        let header = format!(r#"{{"alg":"RS256","typ":"at+jwt","kid":"{number}"}}"#);
        let forged = format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header));
        ask(stack, &forged).await.status()
    });
    let statuses = join_all(floods).await;
    assert!(
        statuses
            .iter()
            .all(|status| *status == StatusCode::UNAUTHORIZED),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn keys_rotate_within_a_minute_and_a_flood_of_names_asks_for_none() {
    let mut provider = Provider::start().await;
    // One process, which keeps what it knows.
    let stack = stack(&["--managed", "200"], &provider).await;
    let first = provider.token().await;
    assert_eq!(ask(&stack, &first).await.status(), StatusCode::OK);
    // Each function has, at its start.
    let asked = provider.asked().await;
    flood(&stack, &first).await;
    provider.rotate("second").await;
    let second = provider.token().await;
    assert_eq!(provider.asked().await, asked);

    // What it knows is good while nobody serves anything else.
    let taken = async {
        while ask(&stack, &second).await.status() != StatusCode::OK {
            sleep(Duration::from_millis(500)).await;
        }
    };
    timeout(Duration::from_secs(90), taken)
        .await
        .expect("the second key is taken");
    assert_eq!(
        ask(&stack, &first).await.status(),
        StatusCode::UNAUTHORIZED,
        "its key is gone"
    );
    flood(&stack, &second).await;
    assert_eq!(ask(&stack, &second).await.status(), StatusCode::OK);
    assert_eq!(provider.asked().await, asked + 1);
}

#[tokio::test]
async fn a_start_without_keys_says_so_until_there_are_some() {
    let mut provider = Provider::start().await;
    let stack = stack(&[], &provider).await;
    let token = provider.token().await;
    for fault in ["away", "broken", "garbage", "large", "silent", "elsewhere"] {
        provider.fault(Some(fault)).await;
        for pid in stack.pids("job-status").await {
            signal(pid, Signal::SIGKILL);
            gone(pid).await;
        }
        let refused = ask(&stack, &token).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{fault}");
        assert!(refused.headers().contains_key("retry-after"), "{fault}");
        let said = refused.text().await.unwrap();
        assert!(
            said.contains("cannot be checked") && !said.contains("127.0.0.1"),
            "{said}"
        );
        provider.fault(None).await;
        eventually("the keys are fetched", async || {
            let status = ask(&stack, &token).await.status();
            (status == StatusCode::OK).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn of_several_issuers_each_has_its_own_keys() {
    let (mut first, mut second) = tokio::join!(Provider::start(), Provider::start());
    let mut stranger = Provider::start().await;
    let keys = format!("{} {}", first.discovery(), second.discovery());
    let issuers = format!("{} {}", first.issuer, second.issuer);
    let variables = [("AUTH_JWKS", keys.as_str()), ("AUTH_ISSUER", &issuers)];
    let stack = Stack::with(&[], &variables).await;
    stack.publish("job", "r", "running").await;
    for provider in [&mut first, &mut second] {
        let status = ask(&stack, &provider.token().await).await.status();
        assert_eq!(status, StatusCode::OK);
    }
    let refused = ask(&stack, &stranger.token().await).await.status();
    assert_eq!(refused, StatusCode::UNAUTHORIZED);

    // One that is away is in nobody else's way.
    first.fault(Some("away")).await;
    for pid in stack.pids("job-status").await {
        signal(pid, Signal::SIGKILL);
        gone(pid).await;
    }
    let waiting = ask(&stack, &first.token().await).await.status();
    assert_eq!(waiting, StatusCode::SERVICE_UNAVAILABLE);
    let status = ask(&stack, &second.token().await).await.status();
    assert_eq!(status, StatusCode::OK);
}
