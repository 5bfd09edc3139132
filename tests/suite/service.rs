//! Every endpoint in one process, without Lambda: what a container runs.

use std::process::Command;

use futures_util::future::join_all;
use integration::{
    binary, checkout, eventually,
    served::{Served, shared_token},
    stack::{SHARED_JWKS, Stack, listeners, update},
    viewer::Viewer,
};
use reqwest::Response;
use serde_json::{Value, json};

/// Asks a server with a token that may do everything.
async fn get(server: &Served, path: &str) -> Response {
    let request = reqwest::Client::new().get(format!("{}{path}", server.url));
    let request = request.bearer_auth(shared_token("demo"));
    request.send().await.unwrap()
}

async fn post(server: &Served, updates: &Value) -> Value {
    let request = reqwest::Client::new().post(format!("{}/api/updates", server.url));
    let request = request.bearer_auth(shared_token("demo"));
    let answer = request.json(&json!({"updates": updates})).send().await;
    answer.unwrap().json().await.unwrap()
}

/// What a server has counted.
async fn counted(server: &Served, name: &str) -> u64 {
    let metrics = get(server, "/metrics").await.text().await.unwrap();
    let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(of, _)| *of == name);
    found.map_or(0, |(_, value)| value.parse().unwrap())
}

#[tokio::test]
async fn a_server_that_is_asked_to_end_says_so_and_ends_each_stream_with_rotate() {
    let stack = Stack::start().await;
    let variables = [("SHUTDOWN_GRACE_SECONDS", "2")];
    let mut server = Served::start(&stack, &variables).await;
    let mut viewers = Vec::new();
    for id in ["a", "b", "c"] {
        let path = format!("/api/job-status/events/{id}");
        let mut viewer = Viewer::new(get(&server, &path).await);
        viewer.state().await;
        viewers.push(viewer);
    }
    assert_eq!(get(&server, "/ready").await.status(), 200);
    let url = server.url.clone();
    let not_ready = eventually("it says that it ends", async || {
        let answer = reqwest::get(format!("{url}/ready")).await.ok()?;
        (answer.status() == 503).then_some(())
    });
    let (ended, ()) = tokio::join!(server.terminate(), not_ready);
    assert!(ended.success(), "{ended}");
    for viewer in &mut viewers {
        let (_, reason) = viewer.rest().await;
        assert_eq!(reason.as_deref(), Some("rotate"));
    }
    // Another takes over, and nobody has lost anything.
    server.restart().await;
    post(&server, &json!([update("job", "a", "running")])).await;
    let mut viewer = Viewer::new(get(&server, "/api/job-status/events/a?lastEventId=0").await);
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
}

#[tokio::test]
async fn a_viewer_that_leaves_is_noticed_at_once() {
    let stack = Stack::start().await;
    let server = Served::start(&stack, &[]).await;
    let response = get(&server, "/api/job-status/events/r1").await;
    let mut viewer = Viewer::new(response);
    viewer.state().await;
    let mut redis = stack.redis().await;
    assert_eq!(listeners(&mut redis, "job:r1:status").await, 1);
    drop(viewer);
    eventually("its channel is left", async || {
        (listeners(&mut redis.clone(), "job:r1:status").await == 0).then_some(())
    })
    .await;
    let gone = "runcast_streams_ended_total{reason=\"gone\"}";
    eventually("it is counted", async || {
        (counted(&server, gone).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_posted_to_one_server_is_seen_at_another_and_at_the_functions() {
    let stack = Stack::with(&[], &[("AUTH_JWKS", SHARED_JWKS)]).await;
    let (one, other) = tokio::join!(Served::start(&stack, &[]), Served::start(&stack, &[]));
    let mut viewers = vec![stack.watch("/api/test-status/events?runId=r1").await];
    for path in [
        "/api/test-status/events/t1",
        "/api/test-status/events?projectId=demo",
    ] {
        viewers.push(Viewer::new(get(&other, path).await));
    }
    let mut test = update("test", "t1", "running");
    test["runId"] = json!("r1");
    let answer = post(&one, &json!([test])).await;
    assert_eq!(answer["accepted"], 1, "{answer}");
    for viewer in &mut viewers {
        loop {
            let state = viewer.state().await;
            if state["testId"] == "t1" && state["status"] == "running" {
                break;
            }
        }
    }
    let runs: Value = get(&other, "/api/runs?projectId=demo")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(runs["runs"][0]["runId"], "r1", "{runs}");
    assert_eq!(counted(&one, "runcast_accepted_updates_total").await, 1);
    for path in ["/health", "/api/queue-stats/health", "/api/updates/ready"] {
        assert_eq!(get(&one, path).await.status(), 200, "{path}");
    }
    for path in ["/", "/api", "/api/nothing", "/metrics/x"] {
        assert_eq!(get(&one, path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn updates_of_one_project_that_come_at_once_are_committed_together() {
    let stack = Stack::start().await;
    let server = Served::start(&stack, &[("SWEEP_SECONDS", "0")]).await;
    let before = commits(&stack).await;
    let send = async |index: usize| {
        let answer = post(
            &server,
            &json!([update("job", &format!("r{index}"), "running")]),
        )
        .await;
        assert_eq!(answer["accepted"], 1, "{answer}");
    };
    join_all((0..100).map(send)).await;
    let postgres = stack.postgres().await;
    let numbers = "SELECT count(DISTINCT project_seq), max(project_seq) FROM events";
    let row = postgres.query_one(numbers, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (100, 100));
    let taken = commits(&stack).await - before;
    assert!(taken < 60, "{taken} transactions for a hundred requests");
}

/// How many transactions wrote events.
async fn commits(stack: &Stack) -> i64 {
    let postgres = stack.postgres().await;
    let row = postgres.query_one("SELECT count(DISTINCT xmin::text) FROM events", &[]);
    row.await.unwrap().get(0)
}

#[test]
fn there_is_no_lambda_in_it() {
    let tree = Command::new("cargo")
        .args([
            "tree",
            "-p",
            "server",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--offline",
        ])
        .current_dir(checkout(""))
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("hyper "), "{tree}");
    let lambda: Vec<_> = tree
        .lines()
        .filter(|line| line.contains("lambda"))
        .collect();
    assert!(lambda.is_empty(), "{lambda:?}");
}

#[test]
fn bad_configuration_is_said_in_one_line() {
    for (variable, value, said) in [
        (
            "LISTEN",
            "8080",
            "LISTEN has a value it does not take; it takes an address and a port, like 0.0.0.0:8080",
        ),
        (
            "PROXIES",
            "many",
            "PROXIES has a value it does not take; it takes a number from 0 to 10",
        ),
        ("REDIS_URL", "", "REDIS_URL is not set"),
    ] {
        let server = Command::new(binary("runcast-server"))
            .env("LISTEN", "127.0.0.1:0")
            .env("REDIS_URL", "redis://127.0.0.1:1")
            .env("DATABASE_URL", "postgres://u:p@127.0.0.1:1/d")
            .env("AUTH_JWKS", SHARED_JWKS)
            .env("AUTH_ISSUER", "i")
            .env("AUTH_AUDIENCE", "a")
            .env(variable, value)
            .output()
            .unwrap();
        assert!(!server.status.success());
        let stderr = String::from_utf8(server.stderr).unwrap();
        assert!(stderr.starts_with(said), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[tokio::test]
async fn quiet_streams_of_one_server_ask_the_log_in_one_statement() {
    let stack = Stack::start().await;
    let server = Served::start(&stack, &[("FALLBACK_POLL_SECONDS", "1")]).await;
    let opened = (0..30).map(|number| {
        let path = format!("/api/job-status/events/quiet-{number}");
        let server = &server;
        async move { Viewer::new(get(server, &path).await) }
    });
    let mut viewers = join_all(opened).await;
    for viewer in &mut viewers {
        viewer.state().await;
    }
    let postgres = stack.postgres().await;
    let asked = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    let asked = async || -> i64 { postgres.query_one(asked, &[]).await.unwrap().get(0) };
    let before = asked().await;
    // A measurement, not a wait: the time over which it is asked.
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let polls = asked().await - before;
    // Each for itself, they would ask 300 times; a round, and Postgres' own, are some tens.
    assert!((5..150).contains(&polls), "{polls} for 30 streams in 10 s");

    // Nobody is told of these, and each viewer finds its own.
    stack.worker_may_publish(false).await;
    for number in 0..30 {
        stack
            .publish("job", &format!("quiet-{number}"), "running")
            .await;
    }
    for viewer in &mut viewers {
        assert_eq!(viewer.status().await, ("running".to_owned(), 1));
    }
}
