//! A flood: what many bad callers do must not be felt by a good one.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use integration::{
    eventually, memory,
    stack::{Stack, update},
    viewer::Viewer,
};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{Instant, interval};

const PATH: &str = "/api/job-status/events/r";

/// Sends so many updates; returns the median time from sending one to each viewer's frame.
async fn deliver(stack: &Stack, viewers: &mut [Viewer], from: u64, events: u64) -> Duration {
    let mut latencies = Vec::new();
    for seq in from..from + events {
        let published = Instant::now();
        let arrived = viewers.iter_mut().map(async |viewer| {
            assert_eq!(viewer.status().await, ("running".to_owned(), seq));
            published.elapsed()
        });
        let send = stack.publish("job", "r", "running");
        let (arrived, ()) = tokio::join!(join_all(arrived), send);
        latencies.extend(arrived);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    latencies.sort();
    latencies[latencies.len() / 2]
}

/// The memory of the function's process, in KB.
async fn resident(stack: &Stack) -> u64 {
    memory::resident(stack.pids("job-status").await[0])
}

/// How many places the subject has that has the most.
async fn most_places(stack: &Stack) -> usize {
    let mut redis = stack.redis().await;
    let mut keys = redis::cmd("KEYS");
    let keys = keys.arg("limit:*:places").query_async(&mut redis).await;
    let keys: Vec<String> = keys.unwrap();
    let mut most = 0;
    for key in keys {
        let mut count = redis::cmd("ZCARD");
        let count = count.arg(key).query_async(&mut redis).await;
        most = most.max(count.unwrap());
    }
    most
}

/// Two thousand connections in ten seconds by one subject; returns how many were let in.
async fn storm(client: reqwest::Client, url: String, token: String) -> usize {
    let mut tick = interval(Duration::from_millis(5));
    let mut tries = Vec::new();
    for _ in 0..2000 {
        tick.tick().await;
        let request = client.get(&url).bearer_auth(&token).send();
        tries.push(tokio::spawn(async move {
            let status = request.await.unwrap().status();
            assert!(
                [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS].contains(&status),
                "{status}"
            );
            status == StatusCode::OK
        }));
    }
    let let_in = join_all(tries).await;
    let_in.iter().filter(|try_| *try_.as_ref().unwrap()).count()
}

/// What has no token, and is no request.
async fn garbage(client: reqwest::Client, url: String) {
    for n in 0..500 {
        let path = ["", "/..", "?runId=%ff", "/%00", "?token=x", "/x/y/z"][n % 6];
        let request = client
            .get(format!("{url}{path}"))
            .header("X-Auth-Token", "z".repeat(n * 16))
            .header("Last-Event-ID", "9".repeat(n));
        let status = request.send().await.unwrap().status();
        assert!(status.is_client_error(), "{path}: {status}");
    }
}

#[tokio::test]
async fn a_flood_is_not_felt_by_others() {
    let variables = [
        ("CONNECTS_PER_MINUTE", "120"),
        ("STREAMS_PER_SUBJECT", "20"),
    ];
    let stack = Arc::new(Stack::with(&["--managed", "1600"], &variables).await);
    let mut viewers = Vec::new();
    for _ in 0..10 {
        let mut viewer = stack.watch(PATH).await;
        viewer.state().await;
        viewers.push(viewer);
    }
    let calm = deliver(&stack, &mut viewers, 1, 50).await;
    let resident_before = resident(&stack).await;

    let client = reqwest::Client::new();
    let url = format!("{}/api/job-status/events", stack.url);
    let mut slow = Vec::new();
    for organization in 0..25 {
        let token = stack
            .token(&["--org", &format!("slow-{organization}")])
            .await;
        let readers = (0..20).map(async |_| {
            let request = client.get(format!("{url}/slow-{organization}"));
            let response = request.bearer_auth(&token).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            response
        });
        slow.extend(join_all(readers).await);
    }
    assert_eq!(slow.len(), 500);
    let token = stack.token(&["--org", "flood"]).await;
    let storm = tokio::spawn(storm(client.clone(), format!("{url}/f"), token));
    let garbage = tokio::spawn(garbage(client, url));
    let busy = stack.clone();
    let shower = tokio::spawn(async move {
        for n in 0..100 {
            let mut update = update("job", &format!("slow-{}", n % 25), "running");
            update["organizationId"] = json!(format!("slow-{}", n % 25));
            update["errorDetails"] = json!("x".repeat(16_000));
            busy.send(json!([update])).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let flooded = deliver(&stack, &mut viewers, 51, 150).await;
    let let_in = storm.await.unwrap();
    garbage.await.unwrap();
    shower.await.unwrap();
    println!("median delivery: calm {calm:?}, flooded {flooded:?}; {let_in} of 2000 let in");
    // So many at once, and two more each second; each of them ended the oldest of its own.
    assert!(let_in <= 150, "{let_in}");
    assert!(most_places(&stack).await <= 20);

    drop(slow);
    eventually("the memory is given back", async || {
        let now = resident(&stack).await;
        (now < resident_before * 2).then_some(())
    })
    .await;
    // Twice as long, but for what a busy machine adds.
    assert!(flooded <= (calm * 2).max(Duration::from_millis(150)));
    stack.publish("job", "r", "passed").await;
    for viewer in &mut viewers {
        assert_eq!(
            viewer.rest().await,
            (vec![201], Some("complete".to_owned()))
        );
    }
}
