//! The worker: what becomes of updates.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use integration::{
    eventually,
    stack::{NO_POLL, Stack, signal, update},
};
use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Value, json};

fn sqs(updates: &[Value]) -> Value {
    let record = |(index, update): (usize, &Value)| {
        json!({"messageId": format!("m{index}"), "body": update.to_string(),
               "eventSource": "aws:sqs"})
    };
    let records: Vec<_> = updates.iter().enumerate().map(record).collect();
    json!({"Records": records})
}

#[tokio::test]
async fn an_answer_says_what_became_of_each_update() {
    let stack = Stack::start().await;
    let running = update("job", "r", "ACTIVE");
    let mut theirs = update("job", "r", "running");
    theirs["projectId"] = json!("other");
    let updates = json!([
        running,
        running,
        update("job", "r", "flying"),
        theirs,
        update("job", "r", "done"),
        update("job", "r", "running"),
        {"status": "no more"},
    ]);
    let answer = stack.send(updates).await;
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"]),
        (&json!(2), &json!(1))
    );
    let rejected = answer["rejected"].as_array().unwrap();
    let indexes: Vec<_> = rejected
        .iter()
        .map(|one| one["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indexes, [2, 3, 5, 6]);
    assert!(
        rejected[0]["reason"]
            .as_str()
            .unwrap()
            .contains("is not a status")
    );
    assert_eq!(rejected[3]["eventId"], Value::Null);
    let kept = "SELECT count(*) FROM rejected_updates WHERE reason <> '' AND body <> ''";
    assert_eq!(stack.number(kept).await, 4);
}

#[tokio::test]
async fn a_poison_message_is_recorded_and_acknowledged() {
    let stack = Stack::start().await;
    let poison = json!({"status": "\u{0}"});
    let answer = stack
        .invoke("worker", &sqs(&[poison, update("job", "r", "passed")]))
        .await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.rest().await.0, [1]);
}

#[tokio::test]
async fn what_cannot_be_committed_now_goes_back_to_the_queue() {
    let stack = Stack::start().await;
    stack.worker_may_commit(false).await;
    let updates = [update("job", "a", "running"), update("job", "b", "running")];
    let answer = stack.invoke("worker", &sqs(&updates)).await;
    let failures = json!([{"itemIdentifier": "m0"}, {"itemIdentifier": "m1"}]);
    assert_eq!(answer, json!({"batchItemFailures": failures}));
    // A direct invocation fails, and says what to do.
    let response = stack
        .invoke_raw("worker", json!({"updates": updates}).to_string())
        .await;
    assert_eq!(response.headers()["x-amz-function-error"], "Unhandled");
    let failure: Value = response.json().await.unwrap();
    assert_eq!(failure["errorType"], "Failure");
    let message = failure["errorMessage"].as_str().unwrap();
    assert!(message.contains("send the same ones again"), "{message}");
    stack.worker_may_commit(true).await;
    let answer = stack.invoke("worker", &sqs(&updates)).await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_batch_holds_up_its_group_alone() {
    let stack = Stack::start().await;
    let postgres = stack.postgres().await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                      AS $$ BEGIN RAISE 'no'; END $$;
                  CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW
                      WHEN (NEW.id = 'bad') EXECUTE FUNCTION refuse()";
    postgres.batch_execute(refuse).await.unwrap();
    let updates = [
        update("job", "good", "running"),
        update("job", "bad", "running"),
        json!({"status": "no more"}),
        update("job", "bad", "passed"),
        update("job", "good", "passed"),
    ];
    let answer = stack.invoke("worker", &sqs(&updates)).await;
    let failures = json!([{"itemIdentifier": "m1"}, {"itemIdentifier": "m3"}]);
    assert_eq!(answer, json!({"batchItemFailures": failures}));
    let rejected = "SELECT count(*) FROM rejected_updates";
    assert_eq!(stack.number(rejected).await, 1);
    let mut viewer = stack.resume("/api/job-status/events/good", Some("0")).await;
    assert_eq!(viewer.rest().await.0, [1, 2]);

    let mend = "DROP TRIGGER refuse ON events";
    postgres.batch_execute(mend).await.unwrap();
    let answer = stack.invoke("worker", &sqs(&updates)).await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let mut viewer = stack.resume("/api/job-status/events/bad", Some("0")).await;
    assert_eq!(viewer.rest().await.0, [1, 2]);
}

#[tokio::test]
async fn a_locked_execution_holds_up_its_group_alone() {
    let stack = Stack::start().await;
    stack.publish("job", "locked", "running").await;
    let postgres = stack.postgres().await;
    let lock = "BEGIN; SELECT FROM executions WHERE id = 'locked' FOR UPDATE";
    postgres.batch_execute(lock).await.unwrap();
    let updates = [
        update("job", "locked", "passed"),
        update("job", "free", "running"),
    ];
    let answer = stack.invoke("worker", &sqs(&updates)).await;
    let failures = json!([{"itemIdentifier": "m0"}]);
    assert_eq!(answer, json!({"batchItemFailures": failures}));
    postgres.batch_execute("ROLLBACK").await.unwrap();
    let answer = stack.invoke("worker", &sqs(&updates)).await;
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let mut viewer = stack.watch("/api/job-status/events/locked").await;
    assert_eq!(viewer.rest().await.0, [2]);
}

#[tokio::test]
async fn workers_at_once_give_every_number_once_and_leave_no_hole() {
    let stack = Stack::start().await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    // Each update is sent twice, in batches that cross each other.
    let mut updates: Vec<Value> = (0..300)
        .map(|_| {
            let number = random.random_range(0..8);
            let id = format!("x{number}");
            let kind = if random.random() { "test" } else { "job" };
            let mut update = update(kind, &id, ["waiting", "running"][random.random_range(0..2)]);
            if kind == "test" {
                update["runId"] = json!(format!("x{}", 7 - number));
            }
            update["projectId"] = json!("demo");
            update
        })
        .flat_map(|update| [update.clone(), update])
        .collect();
    updates.shuffle(&mut random);
    let batches = updates.chunks(20).map(|batch| stack.send(json!(batch)));
    let answers = futures_util::future::join_all(batches).await;
    let count = |name: &str| {
        answers
            .iter()
            .filter_map(|answer| answer[name].as_u64())
            .sum::<u64>()
    };
    assert_eq!(
        (count("accepted"), count("duplicates")),
        (300, 300),
        "{answers:?}"
    );

    let postgres = stack.postgres().await;
    for sequence in [
        "SELECT kind || id, array_agg(seq ORDER BY seq) FROM events GROUP BY 1",
        "SELECT kind, array_agg(project_seq ORDER BY project_seq) FROM events GROUP BY 1",
    ] {
        for row in postgres.query(sequence, &[]).await.unwrap() {
            let numbers: Vec<i64> = row.get(1);
            let expected: Vec<_> = (1..).take(numbers.len()).collect();
            assert_eq!(numbers, expected);
        }
    }
    // Each run's counts are those of the tests that name it.
    let runs = postgres
        .query(
            "SELECT (j.state::json->'tests'->>'total')::bigint,
                    (SELECT count(*) FROM executions t WHERE t.kind = 'test' AND t.run_id = j.id)
             FROM executions j WHERE j.kind = 'job' AND j.state::json->>'tests' IS NOT NULL",
            &[],
        )
        .await
        .unwrap();
    assert!(!runs.is_empty());
    for run in runs {
        assert_eq!(run.get::<_, i64>(0), run.get::<_, i64>(1));
    }
}

#[tokio::test]
async fn a_redelivery_publishes_again_what_a_killed_worker_did_not() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    // Committed, but never published: as if the worker was killed in between.
    let passed = update("job", "r", "passed");
    stack.worker_may_publish(false).await;
    assert_eq!(stack.send(json!([passed])).await["accepted"], 1);
    stack.worker_may_publish(true).await;
    assert_eq!(stack.send(json!([passed])).await["duplicates"], 1);
    assert_eq!(viewer.rest().await.0, [1]);
}

#[tokio::test]
async fn a_redelivered_test_publishes_its_runs_event_again() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    let mut test = update("test", "t", "running");
    test["runId"] = json!("r");
    assert_eq!(stack.send(json!([test])).await["accepted"], 1);
    let mut redis = redis::Client::open(stack.redis_url.as_str())
        .unwrap()
        .get_async_pubsub()
        .await
        .unwrap();
    redis.subscribe("job:r:status").await.unwrap();
    assert_eq!(stack.send(json!([test])).await["duplicates"], 1);
    let message = tokio::time::timeout(integration::PATIENCE, redis.on_message().next()).await;
    let payload: String = message.unwrap().unwrap().get_payload().unwrap();
    let message: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(
        (&message["runId"], &message["seq"]),
        (&json!("r"), &json!(1))
    );
}

#[tokio::test]
async fn a_batch_takes_the_same_statements_whatever_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::with(&["--state-dir", dir.path().to_str().unwrap()], &[]).await;
    let logged = "ALTER ROLE runcast_writer SET log_statement = 'all'";
    stack.postgres().await.batch_execute(logged).await.unwrap();
    let statements = || {
        let log = std::fs::read_to_string(dir.path().join("postgres/postgres.log")).unwrap();
        let all = log.matches("LOG:  execute ").count() + log.matches("LOG:  statement: ").count();
        // The stack's own sweep, every second.
        all - log.matches("look_at <= $1").count()
    };
    stack.publish("job", "connects", "running").await;
    let mut counts = BTreeSet::new();
    for size in [1, 10, 200] {
        let before = statements();
        let updates: Vec<_> = (0..size)
            .map(|n| update("test", &format!("s{size}-{n}"), "running"))
            .collect();
        assert_eq!(stack.send(json!(updates)).await["accepted"], size);
        counts.insert(statements() - before);
    }
    assert_eq!(counts, BTreeSet::from([8]));
}

#[tokio::test]
async fn ten_thousand_updates_in_one_invocation_are_taken() {
    let stack = Stack::start().await;
    let updates: Vec<_> = (0..10_000)
        .map(|n| update("job", &format!("r-{}", n % 100), "running"))
        .collect();
    let answer = stack.send(json!(updates)).await;
    assert_eq!(answer["accepted"], 10_000, "{answer}");
}

#[tokio::test]
async fn a_worker_that_was_cut_off_in_its_transaction_holds_up_nobody_for_long() {
    let stack = std::sync::Arc::new(Stack::start().await);
    stack.publish("job", "r", "running").await;
    let mut postgres = stack.postgres().await;
    let gate = postgres.transaction().await.unwrap();
    gate.batch_execute("LOCK TABLE projects IN EXCLUSIVE MODE")
        .await
        .unwrap();
    let sender = stack.clone();
    let cut_off = tokio::spawn(async move {
        let update = json!({"updates": [update("job", "r", "running")]});
        sender.invoke_raw("worker", update.to_string()).await;
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE usename = 'runcast_writer' AND wait_event_type = 'Lock'";
    eventually("it has locked its run", async || {
        (stack.number(waiting).await == 1).then_some(())
    })
    .await;
    let pid = stack.pids("worker").await[0];
    signal(pid, Signal::SIGSTOP);
    gate.commit().await.unwrap();
    // Its transaction is open, with the run locked, and it says nothing any more.
    let answer = stack.send(json!([update("job", "r", "passed")])).await;
    assert_eq!(answer["accepted"], 1, "{answer}");
    signal(pid, Signal::SIGKILL);
    cut_off.await.unwrap();
}

#[tokio::test]
async fn updates_that_are_rejected_by_the_thousand_are_not_all_kept() {
    let stack = Stack::start().await;
    let fill = "INSERT INTO rejected_updates (reason, body)
                SELECT 'r', 'b' FROM generate_series(1, 9999)";
    stack.postgres().await.batch_execute(fill).await.unwrap();
    let bad = json!({"status": "bad"});
    for kept in [10_000, 10_000] {
        let answer = stack.send(json!([bad])).await;
        assert_eq!(answer["rejected"].as_array().unwrap().len(), 1, "{answer}");
        let count = "SELECT count(*) FROM rejected_updates";
        assert_eq!(stack.number(count).await, kept);
    }
}
