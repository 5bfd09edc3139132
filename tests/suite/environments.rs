//! Execution environments: the local Lambda does what Lambda does, and the functions live with it.

use std::time::Duration;

use integration::{
    eventually,
    stack::{Stack, gone, signal},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

#[tokio::test]
async fn fifty_viewers_use_fifty_environments_which_then_freeze_without_a_subscription() {
    let stack = Stack::start().await;
    let open = (0..50).map(|n| stack.watch_owned(format!("/api/job-status/events/r{n}")));
    let mut viewers = futures_util::future::join_all(open).await;
    for viewer in &mut viewers {
        assert_eq!(viewer.status().await.0, "waiting");
    }
    assert_eq!(
        stack.report().await["functions"]["job-status"]["environments"],
        50
    );
    assert_eq!(stack.subscribers("job", "r7").await, 1);
    let updates: Vec<_> = (0..50)
        .map(|n| integration::stack::update("job", &format!("r{n}"), "passed"))
        .collect();
    assert_eq!(stack.send(json!(updates)).await["accepted"], 50);
    for viewer in &mut viewers {
        assert_eq!(viewer.rest().await.1.as_deref(), Some("complete"));
    }
    stack.all_frozen("job-status").await;
    let mut redis = stack.redis().await;
    let mut channels = redis::cmd("PUBSUB");
    let channels: Vec<String> = channels
        .arg("CHANNELS")
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(channels, [""; 0]);

    // A thaw finds every connection dead, and is none the slower for it.
    let kill = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
        .to_owned();
    let killed: u64 = kill.query_async(&mut redis).await.unwrap();
    assert!(killed >= 50, "{killed}");
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE usename = 'runcast_reader'";
    let terminated = stack.number(terminate).await;
    assert!(terminated >= 50, "{terminated}");
    let thawed = Instant::now();
    let mut viewer = stack.watch("/api/job-status/events/again").await;
    assert_eq!(viewer.status().await.0, "waiting");
    println!(
        "first frame {} ms after the thaw",
        thawed.elapsed().as_millis()
    );
    assert_eq!(stack.subscribers("job", "again").await, 1);
    assert_eq!(
        stack.report().await["functions"]["job-status"]["coldStarts"],
        50
    );
}

#[tokio::test]
async fn a_viewer_that_leaves_costs_until_its_window_ends() {
    let stack = Stack::with(&[], &[("STREAM_WINDOW_SECONDS", "2")]).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    drop(viewer);
    stack.all_frozen("job-status").await;
    let ended = stack.ended("job-status").await.pop().unwrap();
    assert_eq!(ended["status"], "ok");
    // 80 to 100 % of the window.
    let billed = ended["billedDurationMs"].as_u64().unwrap();
    assert!((1_600..5_000).contains(&billed), "{ended}");
    assert!(stack.said().contains(&format!(
        "REPORT RequestId: {}",
        ended["requestId"].as_str().unwrap()
    )));
}

#[tokio::test]
async fn a_stream_ends_cleanly_before_the_deadline() {
    let stack = Stack::with(&["--timeout-seconds", "2"], &[]).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.rest().await.1.as_deref(), Some("rotate"));
    stack.all_frozen("job-status").await;
    let ended = stack.ended("job-status").await.pop().unwrap();
    assert_eq!(ended["status"], "ok");
}

#[tokio::test]
async fn at_the_time_limit_the_process_is_killed_and_the_connection_cut() {
    let stack = Stack::with(&["--timeout-seconds", "2"], &[]).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    let pid = stack.pids("job-status").await[0];
    // A function that hangs: it cannot end its stream.
    signal(pid, Signal::SIGSTOP);
    let (_, reason) = viewer.rest().await;
    assert_eq!(reason, None);
    gone(pid).await;
    eventually("the environment is gone", async || {
        stack.pids("job-status").await.is_empty().then_some(())
    })
    .await;
    let ended = stack.ended("job-status").await.pop().unwrap();
    assert_eq!(ended["status"], "timeout");
}

#[tokio::test]
async fn a_crash_is_a_502_and_a_fresh_environment_follows() {
    let stack = Stack::start().await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    let killed = stack.pids("job-status").await[0];
    signal(killed, Signal::SIGKILL);
    assert_eq!(viewer.rest().await.1, None);
    // Before it answers: the function waits for a Redis that does not.
    let valkey = stack.valkey_pid().await;
    signal(valkey, Signal::SIGSTOP);
    let request = tokio::spawn({
        let url = format!("{}/api/job-status/ready", stack.url);
        async move { reqwest::get(url).await.unwrap() }
    });
    let pid = eventually("another environment is at work", async || {
        let pids = stack.pids("job-status").await;
        pids.into_iter().find(|pid| *pid != killed)
    })
    .await;
    signal(pid, Signal::SIGKILL);
    let response = request.await.unwrap();
    assert_eq!(response.status(), 502);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body, json!({"Message": "Internal Server Error"}));
    signal(valkey, Signal::SIGCONT);
    assert_eq!(
        stack
            .watch("/api/job-status/events/r")
            .await
            .status()
            .await
            .0,
        "waiting"
    );
}

#[tokio::test]
async fn no_more_environments_than_allowed() {
    let stack = Stack::with(&["--max-environments", "1"], &[]).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    let throttled = stack.get("/api/job-status/events/r", None).await;
    assert_eq!(throttled.status(), 429);
    let body: Value = throttled.json().await.unwrap();
    assert_eq!(body["Reason"], "ConcurrentInvocationLimitExceeded");
    stack.publish("job", "r", "passed").await;
    viewer.closed().await;
    stack.all_frozen("job-status").await;
    assert_eq!(
        stack
            .get("/api/job-status/events/r", Some("1"))
            .await
            .status(),
        204
    );
}

#[tokio::test]
async fn a_managed_process_serves_many_streams_over_one_redis_connection() {
    let stack = Stack::with(&["--managed", "40"], &[]).await;
    let open = (0..40).map(|n| stack.watch_owned(format!("/api/job-status/events/r{}", n % 4)));
    let mut viewers = futures_util::future::join_all(open).await;
    for viewer in &mut viewers {
        viewer.state().await;
    }
    assert_eq!(
        stack.get("/api/job-status/events/r", None).await.status(),
        429
    );
    assert_eq!(
        stack.report().await["functions"]["job-status"]["environments"],
        1
    );
    assert_eq!(stack.subscribers("job", "r0").await, 1);
    for n in 0..4 {
        stack.publish("job", &format!("r{n}"), "passed").await;
    }
    for viewer in &mut viewers {
        assert_eq!(viewer.rest().await.0, [1]);
    }
    eventually("the channels are unsubscribed", async || {
        (stack.subscribers("job", "r0").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_hundred_quiet_streams_hold_few_database_connections() {
    let stack = Stack::with(&[], &[("DATABASE_IDLE_SECONDS", "1")]).await;
    let mut viewers = Vec::new();
    for tens in 0..20 {
        let open =
            (0..10).map(|n| stack.watch_owned(format!("/api/test-status/events/t{tens}-{n}")));
        viewers.extend(futures_util::future::join_all(open).await);
    }
    for viewer in &mut viewers {
        viewer.state().await;
    }
    let postgres = stack.postgres().await;
    let held = async || -> i64 {
        let held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'runcast_reader'";
        postgres.query_one(held, &[]).await.unwrap().get(0)
    };
    eventually("idle connections are given back", async || {
        (held().await < 10).then_some(())
    })
    .await;
    // Meanwhile each of them polls about once.
    let mut samples = Vec::new();
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        samples.push(held().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    samples.sort_unstable();
    let median = samples[samples.len() / 2];
    println!(
        "connections: median {median}, most {}",
        samples[samples.len() - 1]
    );
    assert!(median < 10, "{samples:?}");
}
