//! Streams: frames as the contract has them, from the first to the last.

use std::time::{Duration, Instant};

use integration::{
    PATIENCE, checkout, eventually,
    stack::{NO_POLL, Stack, listeners, update},
    viewer::Viewer,
};
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

#[tokio::test]
async fn a_runs_life_arrives_byte_for_byte() {
    let variables = [("STALLED_AFTER_SECONDS", "0")];
    a_runs_life(Stack::with(&[], &variables).await).await;
    a_runs_life(Stack::served(&[], &variables).await).await;
}

async fn a_runs_life(stack: Stack) {
    let response = stack.get("/api/job-status/events/r1", None).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'"),
    ] {
        assert_eq!(header(name), value);
    }
    assert!(header("strict-transport-security").starts_with("max-age="));
    for name in [
        "content-length",
        "connection",
        "x-amzn-remapped-content-length",
    ] {
        assert!(!response.headers().contains_key(name), "{name}");
    }

    let mut viewer = Viewer::new(response);
    assert_eq!(viewer.status().await, ("waiting".to_owned(), 0));
    let mut running = update("job", "r1", "running");
    running["occurredAt"] = json!("2026-01-31T12:00:00Z");
    stack.send(json!([running])).await;
    viewer.state().await;
    let mut passed = update("job", "r1", "passed");
    passed["occurredAt"] = json!("2026-01-31T13:01:05+01:00");
    stack.send(json!([passed])).await;
    viewer.closed().await;

    let text = viewer.text();
    let (opening, rest) = text.split_once("\n\n").unwrap();
    let opening: Vec<_> = opening.lines().collect();
    assert!(opening[0].starts_with("retry: "), "{opening:?}");
    assert_eq!(opening[1], "event: stream");
    let stream: Value = serde_json::from_str(opening[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(stream["streamId"].as_str().unwrap().len(), 32);
    assert_eq!(stream["heartbeatSeconds"], 15);
    assert_eq!(
        rest,
        "id: 0\n\
         data: {\"kind\":\"job\",\"runId\":\"r1\",\"jobId\":null,\"name\":null,\"url\":null,\
         \"labels\":null,\"rerunOf\":null,\"status\":\"waiting\",\"seq\":0,\"attempt\":1,\
         \"attempts\":[],\"flaky\":false,\"stale\":false,\"deadlineAt\":null,\"progress\":null,\
         \"tests\":null,\"shards\":null,\"duration\":null,\"durationMs\":null,\
         \"startedAt\":null,\"completedAt\":null,\"errorDetails\":null,\"artifactPaths\":null,\
         \"occurredAt\":null}\n\n\
         id: 1\n\
         data: {\"kind\":\"job\",\"runId\":\"r1\",\"jobId\":null,\"name\":null,\"url\":null,\
         \"labels\":null,\"rerunOf\":null,\"status\":\"running\",\"seq\":1,\"attempt\":1,\
         \"attempts\":[],\"flaky\":false,\"stale\":false,\"deadlineAt\":null,\"progress\":null,\
         \"tests\":null,\"shards\":null,\"duration\":null,\"durationMs\":null,\
         \"startedAt\":\"2026-01-31T12:00:00.000Z\",\"completedAt\":null,\"errorDetails\":null,\
         \"artifactPaths\":null,\"occurredAt\":\"2026-01-31T12:00:00.000Z\"}\n\n\
         id: 2\n\
         data: {\"kind\":\"job\",\"runId\":\"r1\",\"jobId\":null,\"name\":null,\"url\":null,\
         \"labels\":null,\"rerunOf\":null,\"status\":\"passed\",\"seq\":2,\"attempt\":1,\
         \"attempts\":[],\"flaky\":false,\"stale\":false,\"deadlineAt\":null,\"progress\":null,\
         \"tests\":null,\"shards\":null,\"duration\":\"1m 5s\",\"durationMs\":65000,\
         \"startedAt\":\"2026-01-31T12:00:00.000Z\",\
         \"completedAt\":\"2026-01-31T12:01:05.000Z\",\"errorDetails\":null,\
         \"artifactPaths\":null,\"occurredAt\":\"2026-01-31T12:01:05.000Z\"}\n\n\
         event: end\n\
         data: {\"reason\":\"complete\"}\n\n"
    );
}

/// A client in Python that reads a stream line by line, as its `str.splitlines` splits them.
const PYTHON_CLIENT: &str = r#"
import json, requests, sys
answer = requests.get(sys.argv[1], headers={"X-Auth-Token": sys.argv[2]}, stream=True, timeout=30)
answer.encoding = "utf-8"
for line in answer.iter_lines(decode_unicode=True):
    if line.startswith("data: "):
        print(json.dumps(json.loads(line[6:])))
"#;

#[tokio::test]
async fn what_ends_a_line_in_python_does_not_cut_an_event() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "imports\u{2028}nightly")]).await;
    let ends = "\n\r\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}";
    let message = format!("Größe{ends}🚀");
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    let mut running = update("job", "r", "running");
    running["progress"] = json!({"completed": 1, "message": message});
    stack.send(json!([running])).await;
    assert_eq!(viewer.state().await["progress"]["message"], message);
    stack.publish("job", "r", "passed").await;
    viewer.closed().await;
    let mut statistics = stack.watch("/api/queue-stats/events").await;
    let queues = statistics.state().await["queues"].clone();
    assert!(queues.get("imports\u{2028}nightly").is_some(), "{queues}");
    for text in [viewer.text(), statistics.text()] {
        let cut = text
            .lines()
            .find(|line| line.contains(|c| ends.contains(c)));
        assert_eq!(cut, None);
    }

    // As versions before 0.2 stored it.
    let postgres = stack.postgres().await;
    for table in ["events", "executions"] {
        let age = format!(
            r"UPDATE {table} SET state = replace(state, '\u2028', U&'\2028')
              WHERE state LIKE '%\\u2028%'"
        );
        assert!(postgres.execute(&age, &[]).await.unwrap() > 0, "{table}");
    }
    for (query, events) in [("?lastEventId=0", 2), ("", 1)] {
        let url = format!("{}/api/job-status/events/r{query}", stack.url);
        let python = Command::new(checkout(".venv-producers/bin/python"))
            .args(["-c", PYTHON_CLIENT, &url, &stack.token])
            .kill_on_drop(true)
            .output();
        let output = timeout(PATIENCE, python).await.expect("it ends");
        let output = output.expect("Python: run `make setup-tests`");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{output:?}");
        let data = said.lines().map(|line| serde_json::from_str(line).unwrap());
        let data: Vec<Value> = data.collect();
        let states = data.iter().filter(|data| data["seq"].is_number());
        let messages: Vec<_> = states.map(|state| &state["progress"]["message"]).collect();
        assert_eq!(messages, vec![&json!(message); events]);
    }
}

#[tokio::test]
async fn an_execution_that_ends_while_a_viewer_connects_ends_its_stream() {
    // Long before the poll would find it.
    let stack = Stack::with(&[], &[NO_POLL]).await;
    let stack = std::sync::Arc::new(stack);
    for round in 0..40 {
        let id = format!("t{round}");
        let publisher = stack.clone();
        let publish = tokio::spawn({
            let id = id.clone();
            async move { publisher.publish("test", &id, "passed").await }
        });
        let mut viewer = stack.watch(&format!("/api/test-status/events/{id}")).await;
        let (seqs, reason) = viewer.rest().await;
        assert!(seqs.ends_with(&[1]), "{seqs:?}");
        assert_eq!(reason.as_deref(), Some("complete"));
        publish.await.unwrap();
    }
}

#[tokio::test]
async fn a_cursor_resumes_and_a_finished_one_is_answered_with_204() {
    let stack = Stack::start().await;
    for status in ["waiting", "running", "failed"] {
        stack.publish("job", "r", status).await;
    }
    let path = "/api/job-status/events/r";
    assert_eq!(stack.resume(path, Some("1")).await.rest().await.0, [2, 3]);
    let by_parameter = format!("{path}?lastEventId=2");
    assert_eq!(stack.watch(&by_parameter).await.rest().await.0, [3]);
    let done = stack.get(path, Some("3")).await;
    assert_eq!(done.status(), 204);
    assert_eq!(done.text().await.unwrap(), "");
    // A fresh viewer gets the state at once, and the end.
    let (seqs, reason) = stack.watch(path).await.rest().await;
    assert_eq!((seqs, reason.as_deref()), (vec![3], Some("complete")));
}

#[tokio::test]
async fn what_a_run_counts_after_its_end_arrives_whole_also_over_several_pages() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    stack.publish("job", "r", "passed").await;
    // More than a page has; a batch would be one event of the run.
    for number in 0..200 {
        let mut test = update("test", &format!("t{number}"), "passed");
        test["runId"] = json!("r");
        assert_eq!(stack.send(json!([test])).await["accepted"], 1);
    }
    for _ in 0..10 {
        let (seqs, reason) = stack
            .resume("/api/job-status/events/r", Some("1"))
            .await
            .rest()
            .await;
        assert_eq!(reason.as_deref(), Some("complete"));
        assert!(seqs.iter().copied().eq(2..=201), "{seqs:?}");
    }
}

#[tokio::test]
async fn a_cursor_of_no_use_starts_over() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "running").await;
    for bad in ["x", "-1", "1,1", "7", "99999999999999999999", "1x"] {
        let mut viewer = stack.resume("/api/job-status/events/r", Some(bad)).await;
        viewer.event().await;
        assert_eq!(viewer.event().await.unwrap().event, "reset", "{bad:?}");
        assert_eq!(viewer.status().await, ("running".to_owned(), 1), "{bad:?}");
    }
}

#[tokio::test]
async fn a_pruned_history_starts_over() {
    let stack = Stack::start().await;
    for status in ["waiting", "running", "running"] {
        stack.publish("job", "r", status).await;
    }
    let postgres = stack.postgres().await;
    let age = "UPDATE events SET recorded_at = now() - interval '40 days' WHERE seq < 3";
    assert_eq!(postgres.execute(age, &[]).await.unwrap(), 2);
    let order = json!({"action": "prune", "olderThanDays": 30});
    assert_eq!(stack.invoke("migrate", &order).await["prunedEvents"], 2);

    let mut viewer = stack.resume("/api/job-status/events/r", Some("1")).await;
    viewer.event().await;
    assert_eq!(viewer.event().await.unwrap().event, "reset");
    assert_eq!(viewer.status().await, ("running".to_owned(), 3));
    // What was not pruned is resumed as ever.
    stack.publish("job", "r", "passed").await;
    let mut viewer = stack.resume("/api/job-status/events/r", Some("2")).await;
    assert_eq!(viewer.rest().await.0, [3, 4]);
}

#[tokio::test]
async fn a_prune_deletes_all_that_is_old_in_parts() {
    let stack = Stack::start().await;
    let old = "INSERT INTO events
               SELECT 'job', 'r', n, n::text, 'demo', 'demo', n, 'running', '{}', now(),
                      now() - interval '40 days'
               FROM generate_series(1, 25000) n";
    let postgres = stack.postgres().await;
    assert_eq!(postgres.execute(old, &[]).await.unwrap(), 25_000);
    let order = json!({"action": "prune", "olderThanDays": 30});
    let pruned = stack.invoke("migrate", &order).await;
    assert_eq!(pruned["prunedEvents"], 25_000, "{pruned}");
}

#[tokio::test]
async fn a_resume_with_nothing_new_sends_more_than_one_chunk() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "running").await;
    let mut viewer = stack.resume("/api/job-status/events/r", Some("1")).await;
    viewer.event().await;
    stack.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await.0, [2]);
    // The cursor alone: an id without data is no event (WHATWG).
    let text = viewer.text();
    let (_, after) = text.split_once("\n\n").unwrap();
    assert!(after.starts_with("id: 1\n\nid: 2\n"), "{text}");
}

#[tokio::test]
async fn a_long_stream_measures_every_event() {
    let stack = Stack::start().await;
    let mut viewer = stack.watch("/api/job-status/events?projectId=demo").await;
    let events = 330;
    for round in 0..events / 30 {
        let updates: Vec<_> = (0..30)
            .map(|n| update("job", &format!("r{round}-{n}"), "passed"))
            .collect();
        stack.send(json!(updates)).await;
        for _ in 0..30 {
            viewer.state().await;
        }
    }
    drop(viewer);
    let said = stack.said();
    assert!(!said.contains("unflushed"), "{said}");
    let measured = said.lines().filter_map(|line| {
        let metrics: Value = serde_json::from_str(line).ok()?;
        Some(metrics["DeliveryLatency"].as_array()?.len())
    });
    // What is left is written when the stream ends.
    let measured = measured.sum::<usize>();
    assert!(measured > events - 100, "{measured}");
}

#[tokio::test]
async fn a_silent_stream_pings() {
    let stack = Stack::with(&[], &[("STREAM_HEARTBEAT_SECONDS", "1")]).await;
    let began = Instant::now();
    let mut viewer = stack.watch("/api/test-status/events/t").await;
    viewer.state().await;
    viewer.pings(2).await;
    // Each after a second without a frame.
    assert!(began.elapsed() >= Duration::from_secs(2));
    stack.publish("test", "t", "running").await;
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
}

#[tokio::test]
async fn a_stream_rotates_and_its_resume_misses_nothing() {
    let stack = Stack::with(&[], &[("STREAM_WINDOW_SECONDS", "1")]).await;
    let path = "/api/job-status/events/r";
    let mut seen = Vec::new();
    let mut reasons = Vec::new();
    let mut cursor = None;
    for round in 0..5 {
        stack.publish("job", "r", "running").await;
        let mut viewer = stack.resume(path, cursor.as_deref()).await;
        let publish = async {
            stack
                .publish("job", "r", if round == 4 { "passed" } else { "running" })
                .await;
        };
        let ((seqs, reason), ()) = tokio::join!(viewer.rest(), publish);
        seen.extend(seqs);
        reasons.extend(reason);
        cursor = viewer.last_event_id.take();
    }
    assert_eq!(
        reasons,
        ["rotate", "rotate", "rotate", "rotate", "complete"]
    );
    // Where the first stream began is a race; from there on, nothing is missing or twice.
    let expected: Vec<_> = (seen[0]..=10).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_close_beacon_ends_a_stream_at_once() {
    let stack = Stack::start().await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    let opening: Value = serde_json::from_str(&viewer.event().await.unwrap().data).unwrap();
    let id = opening["streamId"].as_str().unwrap();
    let close = format!("{}/api/job-status/streams/{id}/close", stack.url);
    let beacon = || reqwest::Client::new().post(&close).send();
    assert_eq!(beacon().await.unwrap().status(), 204);
    assert_eq!(viewer.rest().await.1.as_deref(), Some("closed"));
    // Whether or not it still runs.
    assert_eq!(beacon().await.unwrap().status(), 204);
    eventually("the subscription is gone", async || {
        (stack.subscribers("job", "r").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn several_executions_share_a_stream() {
    let stack = Stack::start().await;
    stack.publish("job", "a", "passed").await;
    let path = "/api/job-status/events?runId=a&runId=b&runId=c&runId=a";
    let mut viewer = stack.watch(path).await;
    let mut states = Vec::new();
    for _ in 0..3 {
        states.push(viewer.status().await);
    }
    assert_eq!(viewer.last_event_id.as_deref(), Some("1,0,0"));
    stack.publish("job", "c", "running").await;
    viewer.state().await;
    assert_eq!(viewer.last_event_id.as_deref(), Some("1,0,1"));
    drop(viewer);
    stack.publish("job", "b", "failed").await;
    stack.publish("job", "c", "passed").await;
    let mut viewer = stack.resume(path, Some("1,0,1")).await;
    let (seqs, reason) = viewer.rest().await;
    assert_eq!((seqs, reason.as_deref()), (vec![1, 2], Some("complete")));
    assert_eq!(viewer.last_event_id.as_deref(), Some("1,1,2"));
    assert_eq!(stack.get(path, Some("1,1,2")).await.status(), 204);
}

#[tokio::test]
async fn a_projects_stream_learns_of_new_executions() {
    let stack = Stack::start().await;
    let path = "/api/test-status/events?projectId=demo";
    let mut viewer = stack.watch(path).await;
    viewer.event().await;
    // Nothing there yet: a frame with an id alone is not dispatched, but its id counts.
    let read = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(event) = viewer.event().await {
            let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
            seen.push(data["testId"].as_str().unwrap_or_default().to_owned());
            if seen.len() == 3 {
                break;
            }
        }
        (seen, viewer)
    });
    // Neither another project's nor another kind's execution shows.
    let mut other = update("test", "elsewhere", "running");
    other["projectId"] = json!("other");
    stack
        .send(json!([other, update("job", "j", "running")]))
        .await;
    eventually("the stream is subscribed", async || {
        let mut redis = stack.redis().await;
        (listeners(&mut redis, "project:demo:demo:test").await == 1).then_some(())
    })
    .await;
    stack.publish("test", "x", "running").await;
    stack.publish("test", "y", "passed").await;
    stack.publish("test", "x", "passed").await;
    let (seen, viewer) = read.await.unwrap();
    assert_eq!(seen, ["x", "y", "x"]);
    assert!(viewer.text().contains("id: 0\n\n"), "{}", viewer.text());
    assert_eq!(viewer.last_event_id.as_deref(), Some("3"));
    let mut resumed = stack.resume(path, Some("1")).await;
    assert_eq!(resumed.status().await, ("passed".to_owned(), 1));
    assert_eq!(resumed.status().await, ("passed".to_owned(), 2));
}

#[tokio::test]
async fn fifty_executions_take_one_environment_one_redis_connection_and_one_query() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::with(&["--state-dir", dir.path().to_str().unwrap()], &[]).await;
    let logged = "ALTER ROLE runcast_reader SET log_statement = 'all'";
    stack.postgres().await.batch_execute(logged).await.unwrap();
    let ids: Vec<_> = (0..50).map(|n| format!("runId=r{n}")).collect();
    let mut viewer = stack
        .watch(&format!("/api/job-status/events?{}", ids.join("&")))
        .await;
    for _ in 0..50 {
        viewer.state().await;
    }
    let log = std::fs::read_to_string(dir.path().join("postgres/postgres.log")).unwrap();
    let queries = log.lines().filter(|line| line.contains("LOG:  execute"));
    // The environment's start opens its connection with a first one.
    let queries: Vec<_> = queries.filter(|line| !line.ends_with("SELECT 1")).collect();
    assert_eq!(queries.len(), 1, "{queries:?}");

    for round in 1..=40 {
        let status = if round == 40 { "passed" } else { "running" };
        let updates: Vec<_> = (0..50)
            .map(|n| update("job", &format!("r{n}"), status))
            .collect();
        assert_eq!(stack.send(json!(updates)).await["accepted"], 50);
    }
    let (seqs, reason) = viewer.rest().await;
    assert_eq!((seqs.len(), reason.as_deref()), (2_000, Some("complete")));
    let cursor = vec!["40"; 50].join(",");
    assert_eq!(viewer.last_event_id, Some(cursor));
    assert_eq!(
        stack.report().await["functions"]["job-status"]["environments"],
        1
    );
    let mut redis = stack.redis().await;
    let clients = redis::cmd("CLIENT").arg("LIST").to_owned();
    let clients: String = clients.query_async(&mut redis).await.unwrap();
    assert_eq!(clients.matches("user=streams").count(), 1, "{clients}");
}

#[tokio::test]
async fn a_project_with_many_finished_executions_shows_the_last_twenty() {
    let stack = Stack::start().await;
    stack.publish("job", "open", "running").await;
    for batch in 0..10 {
        let ended = |n| update("job", &format!("b{batch}-{n}"), "passed");
        let updates: Vec<_> = (0..100).map(ended).collect();
        assert_eq!(stack.send(json!(updates)).await["accepted"], 100);
    }
    let mut viewer = stack.watch("/api/job-status/events?projectId=demo").await;
    let mut shown = Vec::new();
    while viewer.last_event_id.is_none() {
        shown.push(viewer.state().await["runId"].as_str().unwrap().to_owned());
    }
    assert_eq!(shown[0], "open");
    let expected: Vec<_> = (80..100).map(|n| format!("b9-{n}")).collect();
    assert_eq!(shown[1..], expected);
    assert_eq!(viewer.last_event_id.as_deref(), Some("1001"));
    // However many have ended: an index finds the last ones.
    let postgres = stack.postgres().await;
    postgres
        .batch_execute("ANALYZE executions; SET enable_seqscan = off")
        .await
        .unwrap();
    let plan = postgres
        .query(
            "EXPLAIN SELECT id FROM executions
             WHERE organization_id = 'demo' AND project_id = 'demo' AND kind = 'job'
               AND status NOT IN ('waiting', 'running')
             ORDER BY ended_at DESC NULLS LAST LIMIT 20",
            &[],
        )
        .await
        .unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    assert!(
        plan.iter().any(|line| line.contains("executions_finished")),
        "{plan:?}"
    );
    assert!(!plan.iter().any(|line| line.contains("Sort")), "{plan:?}");
}
