//! Each fault alone: what breaks, and what the viewer sees of it. All of them together: `chaos`.
//!
//! Polls are set so far apart that an event which arrives was not found by one, except where the
//! poll is what is shown.

use integration::{
    eventually, memory,
    proxy::{Mode, Proxy},
    server::Server,
    stack::{NO_POLL, Stack, signal, update},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PATH: &str = "/api/job-status/events/r";

/// A stack whose Redis or Postgres is reached through a proxy, and the stack that owns them.
async fn behind(server: &str, variables: &[(&str, &str)]) -> (Stack, Stack, Proxy) {
    let owner = Stack::start().await;
    let url = if server == "redis" {
        &owner.redis_url
    } else {
        &owner.database_url
    };
    let (proxy, through) = Proxy::before(url).await;
    let (redis, database) = match server {
        "redis" => (through.as_str(), owner.database_url.as_str()),
        _ => (owner.redis_url.as_str(), through.as_str()),
    };
    let guest = Stack::beside(redis, database, variables).await;
    (owner, guest, proxy)
}

/// The message with which an event is published on its execution's channel.
fn message(seq: u64, status: &str) -> String {
    json!({
        "kind": "job", "runId": "r", "jobId": null, "status": status, "seq": seq,
        "progress": null, "tests": null, "duration": null, "durationMs": null, "startedAt": null,
        "completedAt": null, "errorDetails": null, "artifactPaths": null, "occurredAt": null,
        "organizationId": "demo", "projectId": "demo", "publishedAt": "2026-01-31T12:00:00.000Z",
    })
    .to_string()
}

async fn tell(stack: &Stack, channel: &str, message: &str) {
    let mut redis = stack.redis().await;
    let mut publish = redis::cmd("PUBLISH");
    publish
        .arg(channel)
        .arg(message)
        .exec_async(&mut redis)
        .await
        .unwrap();
}

#[tokio::test]
async fn with_redis_dead_from_the_start_the_degraded_poll_brings_everything() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    Server::valkey(&stack).await.kill().await;
    let mut viewer = stack.watch(PATH).await;
    assert_eq!(viewer.status().await, ("waiting".to_owned(), 0));
    stack.publish("job", "r", "running").await;
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
    stack.publish("job", "r", "passed").await;
    let (seqs, reason) = viewer.rest().await;
    assert_eq!((seqs, reason.as_deref()), (vec![2], Some("complete")));
}

#[tokio::test]
async fn a_killed_redis_comes_back_and_its_channels_with_it() {
    let stack = Stack::with(&[], &[NO_POLL, ("FALLBACK_POLL_DEGRADED_SECONDS", "600")]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    let mut valkey = Server::valkey(&stack).await;
    valkey.kill().await;
    stack.publish("job", "r", "running").await;
    valkey.start();
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
    eventually("the channel is subscribed again", async || {
        (stack.subscribers("job", "r").await == 1).then_some(())
    })
    .await;
    stack.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await.0, [2]);
}

#[tokio::test]
async fn a_half_open_redis_connection_is_found_by_its_ping_and_the_poll_bridges_it() {
    let (owner, stack, proxy) = behind("redis", &[("FALLBACK_POLL_SECONDS", "3")]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    // No error, no data; what connects from now on works again.
    proxy.swallow();
    owner.publish("job", "r", "running").await;
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
    eventually("the connection is found dead", async || {
        stack
            .said()
            .contains("the connection to Redis is lost")
            .then_some(())
    })
    .await;
    owner.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await.0, [2]);
}

#[tokio::test]
async fn a_cut_redis_connection_is_made_anew() {
    let (owner, stack, proxy) = behind("redis", &[NO_POLL]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    for round in 1..=5 {
        proxy.cut();
        owner.publish("job", "r", "running").await;
        assert_eq!(viewer.status().await, ("running".to_owned(), round));
    }
}

/// Has Redis kill the connections that listen; returns how many there were.
async fn kill_listeners(stack: &Stack) -> u64 {
    let mut kill = redis::cmd("CLIENT");
    let kill = kill.arg(&["KILL", "TYPE", "pubsub"]);
    kill.query_async(&mut stack.redis().await).await.unwrap()
}

#[tokio::test]
async fn a_killed_redis_client_is_made_anew() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    for round in 1..=5 {
        eventually("its connection is killed", async || {
            (kill_listeners(&stack).await == 1).then_some(())
        })
        .await;
        stack.publish("job", "r", "running").await;
        assert_eq!(viewer.status().await, ("running".to_owned(), round));
    }
}

#[tokio::test]
async fn a_lost_publish_is_found_by_the_poll() {
    let stack = Stack::with(&[], &[("FALLBACK_POLL_SECONDS", "1")]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    stack.worker_may_publish(false).await;
    stack.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await.0, [1]);
    assert!(
        stack.said().contains("failed to publish"),
        "{}",
        stack.said()
    );
    assert!(
        stack.said().contains("\"PublishFailures\":1"),
        "{}",
        stack.said()
    );
}

#[tokio::test]
async fn foreign_messages_are_never_forwarded() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    stack.publish("job", "r", "running").await;
    let other = message(2, "passed").replace("\"r\"", "\"other\"");
    let other_kind = message(2, "passed").replace("\"job\"", "\"test\"");
    let anothers = message(2, "running").replace("\"demo\"", "\"other\"");
    let partly = message(2, "running").replace("\"jobId\":null,", "");
    for foreign in [
        "",
        "not JSON",
        "{}",
        "\u{0}",
        "data: x\n\ndata: {}\n\n",
        &message(0, "running"),
        &message(1, "running"),
        &message(3, "running"),
        &message(u64::MAX, "running"),
        &message(2, "flying"),
        // Terminal events have a channel of their own.
        &message(2, "passed"),
        &other,
        &other_kind,
        &anothers,
        &partly,
        &"x".repeat(1 << 20),
    ] {
        tell(&stack, "job:r:status", foreign).await;
    }
    stack.publish("job", "r", "passed").await;
    let (seqs, reason) = viewer.rest().await;
    assert_eq!((seqs, reason.as_deref()), (vec![1, 2], Some("complete")));
}

#[tokio::test]
async fn reordered_and_repeated_messages_arrive_once_and_in_order() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    stack.worker_may_publish(false).await;
    for _ in 0..4 {
        stack.publish("job", "r", "running").await;
    }
    stack.publish("job", "r", "passed").await;
    for seq in [3, 1, 1, 4, 2, 3] {
        tell(&stack, "job:r:status", &message(seq, "running")).await;
    }
    tell(&stack, "job:r:complete", &message(5, "passed")).await;
    assert_eq!(viewer.rest().await.0, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn with_postgres_away_the_next_event_flows_a_gap_waits_and_new_viewers_come_later() {
    let (owner, stack, proxy) = behind("postgres", &[NO_POLL]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    proxy.set(Mode::Refuse);
    proxy.cut();
    // Its own worker cannot commit, and hands its batch back.
    let record = json!({"messageId": "m", "body": update("job", "r", "running").to_string()});
    let answer = stack.invoke("worker", &json!({"Records": [record]})).await;
    assert_eq!(
        answer,
        json!({"batchItemFailures": [{"itemIdentifier": "m"}]})
    );
    // Another's can.
    owner.publish("job", "r", "running").await;
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
    let response = stack.get(PATH, None).await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let problem = response.text().await.unwrap();
    assert!(
        problem.contains("Current state cannot be read now"),
        "{problem}"
    );
    // A gap: what lies in it has to come from the log.
    tell(&owner, "job:r:status", &message(9, "running")).await;
    proxy.set(Mode::Pass);
    owner.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await.0, [2]);
    assert_eq!(stack.get(PATH, Some("2")).await.status(), 204);
}

#[tokio::test]
async fn a_batch_waits_for_a_postgres_that_restarts() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "waiting").await;
    let mut postgres = Server::postgres(&stack).await;
    postgres.kill().await;
    let batch = json!([update("job", "r", "running")]);
    let (answer, ()) = tokio::join!(stack.send(batch), async { postgres.start() });
    assert_eq!(answer["accepted"], 1, "{answer}");
}

#[tokio::test]
async fn a_frozen_postgres_holds_up_nothing_but_itself() {
    let (owner, stack, proxy) = behind("postgres", &[("FALLBACK_POLL_SECONDS", "1")]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    proxy.set(Mode::Swallow);
    // Polls hang; events flow.
    for seq in 1..=3 {
        owner.publish("job", "r", "running").await;
        assert_eq!(viewer.status().await, ("running".to_owned(), seq));
    }
    proxy.set(Mode::Pass);
    owner.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await.0, [4]);
}

#[tokio::test]
async fn a_failover_to_a_standby_and_back_is_survived() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "running").await;
    let postgres = stack.postgres().await;
    // What a writer meets whose name points to what has become a standby.
    let read_only = "ALTER ROLE runcast_writer SET default_transaction_read_only = on";
    postgres.batch_execute(read_only).await.unwrap();
    let drop_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE usename LIKE 'runcast\\_%'";
    postgres.query(drop_all, &[]).await.unwrap();
    let updates = json!({"updates": [update("job", "r", "passed")]});
    let refused = stack.invoke("worker", &updates).await;
    assert!(
        refused["errorMessage"]
            .as_str()
            .unwrap()
            .contains("send the same ones again")
    );
    // Its connections stay: the worker has to find out by itself.
    let writable = "ALTER ROLE runcast_writer RESET default_transaction_read_only";
    postgres.batch_execute(writable).await.unwrap();
    assert_eq!(stack.invoke("worker", &updates).await["accepted"], 1);
}

#[tokio::test]
async fn with_both_away_a_stream_pings_and_everything_comes_when_they_return() {
    let variables = [
        ("STREAM_HEARTBEAT_SECONDS", "1"),
        ("FALLBACK_POLL_SECONDS", "2"),
    ];
    let stack = Stack::with(&[], &variables).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    stack.publish("job", "r", "running").await;
    viewer.state().await;
    let (mut valkey, mut postgres) = (Server::valkey(&stack).await, Server::postgres(&stack).await);
    tokio::join!(valkey.kill(), postgres.kill());
    viewer.pings(3).await;
    valkey.start();
    postgres.start();
    let passed = update("job", "r", "passed");
    eventually("the worker can commit", async || {
        let answer = stack.send(json!([passed])).await;
        (answer["accepted"] == 1 || answer["duplicates"] == 1).then_some(())
    })
    .await;
    let (seqs, reason) = viewer.rest().await;
    assert_eq!((seqs, reason.as_deref()), (vec![2], Some("complete")));
}

#[tokio::test]
async fn a_killed_environment_loses_nothing_since_the_viewer_resumes() {
    let stack = Stack::start().await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    stack.publish("job", "r", "running").await;
    viewer.state().await;
    signal(stack.pids("job-status").await[0], Signal::SIGKILL);
    stack.publish("job", "r", "running").await;
    stack.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await, (vec![], None));
    let cursor = viewer.last_event_id.clone();
    assert_eq!(
        stack.resume(PATH, cursor.as_deref()).await.rest().await.0,
        [2, 3]
    );
}

#[tokio::test]
async fn an_environment_frozen_in_mid_stream_catches_up() {
    let stack = Stack::with(&[], &[NO_POLL, ("DATABASE_IDLE_SECONDS", "1")]).await;
    let idle = "ALTER ROLE runcast_reader SET idle_session_timeout = '500ms'";
    stack.postgres().await.batch_execute(idle).await.unwrap();
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    let pid = stack.pids("job-status").await[0];
    signal(pid, Signal::SIGSTOP);
    stack.publish("job", "r", "running").await;
    kill_listeners(&stack).await;
    eventually("Postgres has closed what is idle", async || {
        let held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'runcast_reader'";
        (stack.number(held).await == 0).then_some(())
    })
    .await;
    stack.publish("job", "r", "passed").await;
    signal(pid, Signal::SIGCONT);
    assert_eq!(viewer.rest().await.0, [1, 2]);
}

#[tokio::test]
async fn a_slow_reader_costs_no_memory_and_misses_nothing() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    // A reader that does not read: its response is held, not polled.
    let response = stack.get(PATH, None).await;
    let details = "x".repeat(8_000);
    let resident = async || memory::resident(stack.pids("job-status").await[0]);
    let before = resident().await;
    assert!(before > 0);
    let events = 8_000;
    for chunk in 0..events / 50 {
        let updates: Vec<Value> = (0..50)
            .map(|n| {
                let last = chunk * 50 + n == events - 1;
                let mut update = update("job", "r", if last { "passed" } else { "running" });
                update["errorDetails"] = json!(details);
                update
            })
            .collect();
        assert_eq!(stack.send(json!(updates)).await["accepted"], 50);
    }
    // 64 MB were published.
    let grown = resident().await.saturating_sub(before);
    assert!(grown < 12_000, "grew by {grown} kB");
    let mut viewer = integration::viewer::Viewer::new(response);
    let (seqs, reason) = viewer.rest().await;
    assert_eq!(seqs, (0..=events).collect::<Vec<_>>());
    assert_eq!(reason.as_deref(), Some("complete"));
}

/// The messages of an execution's events, as the worker would publish them.
async fn messages(stack: &Stack) -> Vec<String> {
    let events = "SELECT state FROM events WHERE id = 'r' ORDER BY seq";
    let rows = stack.postgres().await.query(events, &[]).await.unwrap();
    let message = |row: &tokio_postgres::Row| {
        let state: &str = row.get(0);
        let of = r#""organizationId":"demo","projectId":"demo","publishedAt":"2026-01-31T12:00:00.000Z"}"#;
        format!("{},{of}", state.strip_suffix('}').unwrap())
    };
    rows.iter().map(message).collect()
}

#[tokio::test]
async fn what_comes_early_waits_for_what_comes_first_and_the_log_is_not_read() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    stack.worker_may_publish(false).await;
    for _ in 0..3 {
        stack.publish("job", "r", "running").await;
    }
    let postgres = stack.postgres().await;
    let reads = "SELECT ON executions, events FROM runcast_reader";
    let revoke = format!("REVOKE {reads}");
    postgres.batch_execute(&revoke).await.unwrap();
    let mut redis = stack.redis().await;
    let mut out_of_order = redis::pipe();
    for message in messages(&stack).await.iter().rev() {
        out_of_order.publish("job:r:status", message);
    }
    out_of_order.exec_async(&mut redis).await.unwrap();
    for seq in 1..=3 {
        assert_eq!(viewer.status().await, ("running".to_owned(), seq));
    }
    let said = stack.said();
    assert!(!said.contains("failed to read the log"), "{said}");

    // What never comes is in the log.
    let grant = format!("GRANT {}", reads.replace("FROM", "TO"));
    postgres.batch_execute(&grant).await.unwrap();
    for _ in 0..2 {
        stack.publish("job", "r", "running").await;
    }
    let last = messages(&stack).await.pop().unwrap();
    tell(&stack, "job:r:status", &last).await;
    for seq in 4..=5 {
        assert_eq!(viewer.status().await, ("running".to_owned(), seq));
    }
}

#[tokio::test]
async fn large_states_that_wait_in_the_log_are_read_a_megabyte_at_a_time() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    stack.publish("job", "r", "running").await;
    let paths: Vec<String> = (0..1_200).map(|n| format!("{n:0>100}")).collect();
    // So large are 12 states in a page that had 128.
    for chunk in 0..15 {
        let updates = (0..20).map(|n| {
            let last = chunk == 14 && n == 19;
            let mut update = update("job", "r", if last { "passed" } else { "running" });
            if chunk + n == 0 {
                update["artifactPaths"] = json!(paths);
            }
            update
        });
        let answer = stack.send(json!(updates.collect::<Vec<_>>())).await;
        assert_eq!(answer["accepted"], 20, "{answer}");
    }
    let mut viewer = stack.resume(PATH, Some("1")).await;
    let pid = stack.pids("job-status").await[0];
    let (mut most, mut seqs) = (0, Vec::new());
    while let Some(event) = viewer.event().await {
        most = most.max(memory::resident(pid));
        let data: Value = serde_json::from_str(&event.data).unwrap();
        seqs.extend(data["seq"].as_u64());
    }
    assert_eq!(seqs, (2..=301).collect::<Vec<_>>());
    println!("{most} kB at most");
    assert!(most < 40_000, "{most} kB");
}
