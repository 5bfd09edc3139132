//! The life of an execution: attempts, late facts, silence, shards, and a run with its tests.

use std::time::Duration;

use integration::{
    eventually,
    stack::{self, Stack, update, with},
    viewer::Viewer,
};
use serde_json::{Value, json};

/// An update of a test of the run `r`.
fn of_run(id: &str, status: &str) -> Value {
    stack::of_run("r", id, status)
}

async fn accept(stack: &Stack, updates: Value) {
    let answer = stack.send(updates.clone()).await;
    let sent = updates.as_array().unwrap().len();
    assert_eq!(answer["accepted"], sent, "{answer}");
}

/// Why the one update is rejected.
async fn refusal(stack: &Stack, update: Value) -> String {
    let answer = stack.send(json!([update])).await;
    let reason = answer["rejected"][0]["reason"].as_str();
    reason.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Reads states until one is so.
async fn until_state(viewer: &mut Viewer, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let state = viewer.state().await;
        if is_so(&state) {
            return state;
        }
    }
}

#[tokio::test]
async fn an_execution_is_opened_again_by_a_higher_attempt() {
    let stack = Stack::start().await;
    let mut project = stack.watch("/api/job-status/events?projectId=demo").await;
    project.event().await;
    let failed = json!({"errorDetails": "boom\nat line 3", "artifactPaths": ["a.zip"]});
    accept(&stack, json!([with(update("job", "r", "failed"), failed)])).await;
    let mut first = stack.watch("/api/job-status/events/r").await;
    assert_eq!(first.status().await, ("failed".to_owned(), 1));
    assert_eq!(first.rest().await.1.as_deref(), Some("complete"));

    let second = json!({"attempt": 2});
    accept(
        &stack,
        json!([with(update("job", "r", "running"), second.clone())]),
    )
    .await;
    let mut again = stack.watch("/api/job-status/events/r").await;
    let state = again.state().await;
    assert_eq!(
        (&state["status"], &state["attempt"]),
        (&json!("running"), &json!(2))
    );
    assert!(
        state["errorDetails"].is_null() && state["artifactPaths"].is_null(),
        "{state}"
    );
    assert_eq!(state["attempts"][0]["status"], "failed");
    assert_eq!(state["attempts"][0]["error"], "boom");
    let late = with(update("job", "r", "passed"), json!({"attempt": 1}));
    assert!(refusal(&stack, late).await.contains("attempt 1 is over"));
    accept(&stack, json!([with(update("job", "r", "passed"), second)])).await;
    assert_eq!(again.state().await["flaky"], true);
    assert_eq!(again.rest().await.1.as_deref(), Some("complete"));
    // Who comes back with the cursor of the first end, hears of the second life.
    let mut resumed = stack.resume("/api/job-status/events/r", Some("1")).await;
    assert_eq!(
        resumed.rest().await,
        (vec![2, 3], Some("complete".to_owned()))
    );
    for seq in 1..=3 {
        assert_eq!(project.status().await.1, seq);
    }
}

#[tokio::test]
async fn an_attempt_that_will_be_retried_does_not_end_the_stream() {
    let stack = Stack::start().await;
    accept(&stack, json!([of_run("a", "running")])).await;
    let mut test = stack.watch("/api/test-status/events/a").await;
    test.state().await;
    let failed = json!({"willRetry": true, "error": "no"});
    accept(&stack, json!([with(of_run("a", "failed"), failed)])).await;
    let state = test.state().await;
    assert_eq!(
        (&state["status"], &state["attempt"]),
        (&json!("waiting"), &json!(2))
    );
    accept(
        &stack,
        json!([of_run("a", "running"), of_run("a", "passed")]),
    )
    .await;
    let passed = until_state(&mut test, |state| state["status"] == "passed").await;
    assert_eq!(
        (&passed["flaky"], &passed["runId"]),
        (&json!(true), &json!("r"))
    );
    let mut run = stack.watch("/api/job-status/events/r").await;
    let tests = run.state().await["tests"].clone();
    assert_eq!(
        (&tests["passed"], &tests["flaky"], &tests["failed"]),
        (&json!(1), &json!(1), &json!(0))
    );
}

#[tokio::test]
async fn what_comes_after_the_end_is_an_event_with_the_same_status() {
    let stack = Stack::start().await;
    accept(
        &stack,
        json!([of_run("a", "running"), update("job", "r", "failed")]),
    )
    .await;
    let mut project = stack.watch("/api/job-status/events?projectId=demo").await;
    project.state().await;
    let late = json!({"artifactPaths": ["report.zip"], "url": "https://ci.example.com/1"});
    accept(&stack, json!([with(update("job", "r", "failed"), late)])).await;
    let state = project.state().await;
    assert_eq!(
        (&state["seq"], &state["status"]),
        (&json!(3), &json!("failed"))
    );
    assert_eq!(state["artifactPaths"], json!(["report.zip"]));
    accept(&stack, json!([of_run("a", "skipped")])).await;
    let state = project.state().await;
    assert_eq!(
        (&state["seq"], &state["tests"]["skipped"]),
        (&json!(4), &json!(1))
    );
    let again = refusal(&stack, update("job", "r", "failed")).await;
    assert!(again.contains("adds nothing"), "{again}");
}

#[tokio::test]
async fn a_stream_of_a_run_waits_for_the_ends_of_its_tests() {
    let stack = Stack::with(&[], &[("SETTLE_SECONDS", "2")]).await;
    accept(
        &stack,
        json!([of_run("a", "running"), of_run("b", "running")]),
    )
    .await;
    let mut settles = stack.watch("/api/job-status/events/r").await;
    settles.state().await;
    accept(
        &stack,
        json!([update("job", "r", "failed"), of_run("a", "failed")]),
    )
    .await;
    accept(&stack, json!([of_run("b", "passed")])).await;
    let last = until_state(&mut settles, |state| state["seq"] == 4).await;
    assert_eq!(
        (&last["tests"]["running"], &last["status"]),
        (&json!(0), &json!("failed"))
    );
    assert_eq!(settles.rest().await, (vec![], Some("complete".to_owned())));

    // At most for so long: a test that never ends holds nobody.
    let of_other = with(update("test", "c", "running"), json!({"runId": "q"}));
    accept(&stack, json!([of_other, update("job", "q", "failed")])).await;
    let mut waits = stack.watch("/api/job-status/events/q").await;
    waits.state().await;
    assert_eq!(waits.rest().await, (vec![], Some("complete".to_owned())));
    // Whoever comes later waits for what is left of it: nothing.
    let response = stack.get("/api/job-status/events/q", Some("2")).await;
    assert_eq!(response.status(), 204);
}

#[tokio::test]
async fn who_is_silent_becomes_stale_and_then_is_given_up() {
    let stack = Stack::start().await;
    let timeout = json!({"timeoutSeconds": 1});
    accept(&stack, json!([of_run("a", "running")])).await;
    accept(
        &stack,
        json!([with(update("job", "r", "running"), timeout)]),
    )
    .await;
    let mut run = stack.watch("/api/job-status/events/r").await;
    assert!(run.state().await["deadlineAt"].is_string());
    let stale = until_state(&mut run, |state| state["stale"] == true).await;
    assert_eq!(stale["status"], "running");
    let ended = until_state(&mut run, |state| state["status"] == "error").await;
    assert_eq!(ended["errorDetails"], "nothing was heard of it for 2 s");
    assert_eq!(
        (&ended["stale"], &ended["deadlineAt"]),
        (&json!(false), &json!(null))
    );
    assert_eq!(
        ended["tests"]["cancelled"], 1,
        "its test goes with it: {ended}"
    );
    assert_eq!(run.rest().await.1.as_deref(), Some("complete"));
    let late = refusal(&stack, update("job", "r", "passed")).await;
    assert!(
        late.contains("given up") && late.contains("higher attempt"),
        "{late}"
    );
    accept(
        &stack,
        json!([with(update("job", "r", "running"), json!({"attempt": 2}))]),
    )
    .await;
}

#[tokio::test]
async fn a_sign_of_life_keeps_alive_and_makes_no_event() {
    let stack = Stack::start().await;
    let timeout = json!({"timeoutSeconds": 2});
    accept(
        &stack,
        json!([with(update("job", "r", "running"), timeout)]),
    )
    .await;
    let mut run = stack.watch("/api/job-status/events/r").await;
    run.state().await;
    let alive = || {
        let mut alive = with(update("job", "r", ""), json!({"alive": true}));
        alive.as_object_mut().unwrap().remove("status");
        alive
    };
    for _ in 0..10 {
        accept(&stack, json!([alive()])).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let seq = "SELECT seq FROM executions WHERE kind = 'job' AND id = 'r'";
    assert_eq!(stack.number(seq).await, 1);
    let stale = until_state(&mut run, |state| state["stale"] == true).await;
    assert_eq!(stale["seq"], 2);
    accept(&stack, json!([alive()])).await;
    let back = run.state().await;
    assert_eq!((&back["stale"], &back["seq"]), (&json!(false), &json!(3)));
    let unknown = with(alive(), json!({"id": "nobody"}));
    assert!(
        refusal(&stack, unknown)
            .await
            .contains("nobody has reported it")
    );
}

#[tokio::test]
async fn two_sweeps_side_by_side_end_each_execution_once() {
    let stack = Stack::start().await;
    let timeout = json!({"timeoutSeconds": 1});
    let silent = |id: u32| with(update("job", &format!("r{id}"), "running"), timeout.clone());
    accept(&stack, Value::Array((0..500).map(silent).collect())).await;
    let ended = "SELECT count(*) FROM executions WHERE status = 'error'";
    let everywhere = async {
        loop {
            let order = json!({"sweep": true});
            let sweep = || stack.invoke("worker", &order);
            tokio::join!(sweep(), sweep(), sweep());
            if stack.number(ended).await == 500 {
                return;
            }
        }
    };
    tokio::time::timeout(integration::PATIENCE, everywhere)
        .await
        .unwrap();
    let events = "SELECT count(*) FROM events";
    assert_eq!(stack.number(events).await, 3 * 500, "running, stale, error");
}

#[tokio::test]
async fn a_sweep_passes_over_what_a_worker_holds_and_ends_it_once_it_is_free() {
    let stack = Stack::start().await;
    let silent = |id| with(update("job", id, "running"), json!({"timeoutSeconds": 1}));
    accept(&stack, json!([silent("held"), silent("free")])).await;
    let worker = stack.postgres().await;
    let hold = "BEGIN; SELECT FROM executions WHERE id = 'held' FOR UPDATE";
    worker.batch_execute(hold).await.unwrap();
    let mut free = stack.watch("/api/job-status/events/free").await;
    until_state(&mut free, |state| state["status"] == "error").await;
    let untouched =
        "SELECT count(*) FROM executions WHERE id = 'held' AND status = 'running' AND seq = 1";
    assert_eq!(stack.number(untouched).await, 1);
    worker.batch_execute("ROLLBACK").await.unwrap();
    let mut held = stack.watch("/api/job-status/events/held").await;
    until_state(&mut held, |state| state["status"] == "error").await;
}

#[tokio::test]
async fn the_operators_timeout_is_for_those_that_are_running() {
    let stack = Stack::with(&[], &[("STALLED_AFTER_SECONDS", "1")]).await;
    accept(
        &stack,
        json!([update("job", "r", "running"), update("job", "w", "waiting")]),
    )
    .await;
    let mut run = stack.watch("/api/job-status/events/r").await;
    until_state(&mut run, |state| state["status"] == "error").await;
    let mut waiting = stack.watch("/api/job-status/events/w").await;
    let state = waiting.state().await;
    assert_eq!(
        (&state["status"], &state["deadlineAt"]),
        (&json!("waiting"), &json!(null))
    );
}

#[tokio::test]
async fn a_cancelled_run_takes_ten_thousand_tests_along() {
    let stack = Stack::start().await;
    for thousand in 0..10 {
        let test = |number: u32| of_run(&format!("t{}", thousand * 1000 + number), "running");
        accept(&stack, Value::Array((0..1000).map(test).collect())).await;
    }
    let mut run = stack.watch("/api/job-status/events/r").await;
    assert_eq!(run.state().await["tests"]["running"], 10_000);
    accept(&stack, json!([update("job", "r", "cancelled")])).await;
    let state = run.state().await;
    assert_eq!(state["status"], "cancelled");
    let tests = &state["tests"];
    assert_eq!(
        (&tests["cancelled"], &tests["running"]),
        (&json!(10_000), &json!(0))
    );
    assert_eq!(run.rest().await.1.as_deref(), Some("complete"));
    let left = "SELECT count(*) FROM executions WHERE kind = 'test' AND status = 'running'";
    assert_eq!(stack.number(left).await, 0);
    // In one commit, and each with a number of its project.
    let numbered = "SELECT count(DISTINCT project_seq) FROM events WHERE kind = 'test'";
    assert_eq!(stack.number(numbered).await, 20_000);
    let commits = "SELECT count(DISTINCT recorded_at) FROM events WHERE status = 'cancelled'";
    assert_eq!(stack.number(commits).await, 1);
}

#[tokio::test]
async fn a_test_belongs_to_the_run_that_it_names_first() {
    let stack = Stack::start().await;
    accept(&stack, json!([of_run("a", "running")])).await;
    let other = refusal(&stack, with(of_run("a", "passed"), json!({"runId": "q"}))).await;
    assert!(
        other.contains("belongs to the run r") && other.contains("q_a"),
        "{other}"
    );
}

#[tokio::test]
async fn an_older_update_does_not_take_the_status_back() {
    let stack = Stack::start().await;
    let at =
        |status: &str, time: &str| with(update("job", "r", status), json!({"occurredAt": time}));
    accept(&stack, json!([at("running", "2026-01-31T12:00:00Z")])).await;
    accept(&stack, json!([at("waiting", "2026-01-31T11:00:00Z")])).await;
    let mut run = stack.watch("/api/job-status/events/r").await;
    assert_eq!(run.status().await, ("running".to_owned(), 1));
}

#[tokio::test]
async fn a_sharded_run_ends_with_its_last_shard() {
    let stack = Stack::start().await;
    let shard = |index: u32, status: &str| {
        let shard = json!({"shard": {"index": index, "total": 3}});
        with(update("job", "r", status), shard)
    };
    accept(
        &stack,
        json!([shard(2, "running"), shard(2, "passed"), shard(1, "failed")]),
    )
    .await;
    let mut run = stack.watch("/api/job-status/events/r").await;
    let state = run.state().await;
    assert_eq!(state["shards"], json!({"total": 3, "ended": 2}));
    assert_eq!(state["status"], "running");
    accept(&stack, json!([shard(3, "passed")])).await;
    assert_eq!(run.state().await["status"], "failed");
    assert_eq!(run.rest().await.1.as_deref(), Some("complete"));
}

#[tokio::test]
async fn a_value_that_cannot_be_read_costs_no_status() {
    let stack = Stack::start().await;
    let odd = json!({"progress": 50, "durationMs": "1250", "occurredAt": "2026-01-31T12:00:00",
                     "labels": {"pr": 7}, "url": "javascript:alert(1)", "completedAt": ""});
    let answer = stack
        .send(json!([with(update("job", "r", "running"), odd)]))
        .await;
    assert_eq!(answer["accepted"], 1, "{answer}");
    assert_eq!(answer["warnings"][0]["field"], "url", "{answer}");
    // What serde_json would not take at all: half an emoji, beside an update that is well.
    let half = with(
        update("job", "r", "failed"),
        json!({"errorDetails": "HALF"}),
    )
    .to_string();
    let half = half.replace("HALF", "expected \\ud83d");
    let well = update("job", "q", "running");
    let payload = format!("{{\"updates\":[{half},{well}]}}");
    let answer: Value = stack
        .invoke_raw("worker", payload)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(answer["accepted"], 2, "{answer}");
    let mut run = stack.watch("/api/job-status/events/r").await;
    let state = run.state().await;
    assert_eq!(
        (&state["status"], &state["errorDetails"]),
        (&json!("failed"), &json!("expected \u{fffd}"))
    );
    assert_eq!(state["progress"]["total"], 100);
}

#[tokio::test]
async fn a_project_begins_with_the_unfinished_that_changed_last() {
    let stack = Stack::start().await;
    let job = |number: u32| update("job", &format!("r{number}"), "running");
    accept(&stack, Value::Array((0..700).map(job).collect())).await;
    accept(&stack, json!([update("job", "r0", "running")])).await;
    let mut project = stack.watch("/api/job-status/events?projectId=demo").await;
    let mut ids = Vec::new();
    while project.last_event_id.is_none() {
        ids.push(project.state().await["runId"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 500);
    assert!(ids.contains(&"r0".to_owned()) && !ids.contains(&"r100".to_owned()));
    // Then every event, of any.
    accept(&stack, json!([update("job", "r100", "passed")])).await;
    assert_eq!(project.state().await["runId"], "r100");
}

#[tokio::test]
async fn an_update_that_leaves_the_status_rewrites_no_index() {
    let stack = Stack::start().await;
    let hot = "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'executions'";
    accept(&stack, json!([update("job", "r", "running")])).await;
    let settled = stack.number(hot).await;
    for completed in 0..200 {
        let progress = json!({"progress": {"completed": completed}});
        accept(
            &stack,
            json!([with(update("job", "r", "running"), progress)]),
        )
        .await;
    }
    // Statistics come a moment later. Postgres moves a row now and then, where its page is full.
    let enough = async || (stack.number(hot).await - settled >= 190).then_some(());
    eventually("updates within their pages", enough).await;
}
