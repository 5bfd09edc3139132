use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::execution::Status;

mod histories;

/// An update of organization `o` and project `p`, with an event id of its own.
fn update(fields: &Value) -> Update {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let whole = json!({"eventId": format!("e{number}"), "organizationId": "o", "projectId": "p"});
    let whole = with(whole, fields.clone());
    let (update, warnings) = Update::parse(&whole.to_string(), at(0)).unwrap();
    assert_eq!(warnings, []);
    update
}

/// Noon, and so many seconds.
fn at(second: i64) -> Timestamp {
    let noon: Timestamp = serde_json::from_str("\"2026-01-31T12:00:00Z\"").unwrap();
    noon.after(chrono::TimeDelta::seconds(second))
}

fn rules(second: i64) -> Rules {
    Rules {
        now: at(second),
        stalled_after: Some(3600),
    }
}

/// A log in memory.
#[derive(Default)]
struct World {
    executions: Executions,
    known: KnownEvents,
    events: Vec<NewEvent>,
}

impl World {
    /// What becomes of one update.
    fn take(&mut self, fields: Value) -> Outcome {
        self.take_at(0, fields)
    }

    fn take_at(&mut self, second: i64, fields: Value) -> Outcome {
        self.batch(second, &[update(&fields)]).remove(0)
    }

    fn batch(&mut self, second: i64, updates: &[Update]) -> Vec<Outcome> {
        let rules = rules(second);
        let (events, outcomes) = apply(updates, &mut self.executions, &mut self.known, &rules);
        self.events.extend(events);
        outcomes
    }

    fn sweep(&mut self, second: i64) -> Swept {
        let all = self.executions.values();
        let is_due = |it: &&Execution| it.look_at.is_some_and(|look_at| look_at <= at(second));
        let due: Vec<Key> = all
            .filter(|it| it.is_open())
            .filter(is_due)
            .map(Execution::key)
            .collect();
        let (events, swept) = sweep(&due, &mut self.executions, &rules(second));
        self.events.extend(events);
        swept
    }

    fn execution(&self, kind: Kind, id: &str) -> &Execution {
        let mut all = self.executions.values();
        let found = all.find(|it| it.state.kind() == kind && it.state.id().as_str() == id);
        found.unwrap()
    }

    /// The state as clients get it.
    fn state(&self, kind: Kind, id: &str) -> Value {
        serde_json::from_str(&self.execution(kind, id).state.to_json()).unwrap()
    }

    fn test(&self, id: &str) -> Value {
        self.state(Kind::Test, id)
    }

    fn job(&self) -> Value {
        self.state(Kind::Job, "r")
    }
}

fn job(status: &str) -> Value {
    json!({"kind": "job", "id": "r", "status": status})
}

fn test(id: &str, status: &str) -> Value {
    json!({"kind": "test", "id": id, "runId": "r", "status": status})
}

fn shard(index: u32, status: &str) -> Value {
    with(job(status), json!({"shard": {"index": index, "total": 3}}))
}

/// The first with the second's members.
fn with(mut fields: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    fields.as_object_mut().unwrap().extend(more);
    fields
}

fn reason(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rejected(rejection) => rejection.to_string(),
        other => panic!("{other:?} instead of a rejection"),
    }
}

/// Of a state, these of its members.
fn of(state: &Value, members: &[&str]) -> Value {
    members.iter().map(|member| state[member].clone()).collect()
}

#[test]
fn the_first_terminal_status_of_an_attempt_is_final() {
    let mut world = World::default();
    world.take(job("passed"));
    for status in ["running", "failed"] {
        let outcome = world.take(job(status));
        assert!(reason(&outcome).contains("already ended as passed"));
    }
    let again = world.take(job("passed"));
    assert!(reason(&again).contains("adds nothing"), "{again:?}");
    assert_eq!(world.events.len(), 1);
}

#[test]
fn the_same_event_twice_in_a_batch_is_one() {
    let once = update(&job("running"));
    let mut world = World::default();
    let outcomes = world.batch(0, &[once.clone(), once]);
    assert_eq!(world.events.len(), 1);
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Duplicate]);
}

#[test]
fn what_an_update_leaves_out_stays_and_null_clears() {
    let mut world = World::default();
    let first = json!({"jobId": "j", "name": "Nightly", "occurredAt": "2026-01-31T11:00:00Z",
                       "progress": {"completed": 1}});
    world.take(with(job("running"), first));
    world.take(with(job("running"), json!({"progress": null})));
    world.take(with(
        job("passed"),
        json!({"occurredAt": "2026-01-31T11:01:05Z"}),
    ));
    let state = world.job();
    assert_eq!(of(&state, &["jobId", "name"]), json!(["j", "Nightly"]));
    assert_eq!(state["progress"], json!(null));
    assert_eq!(state["startedAt"], "2026-01-31T11:00:00.000Z");
    assert_eq!(state["duration"], "1m 5s");
}

#[test]
fn nobody_guesses_when_an_execution_began_that_was_not_seen_running() {
    let mut world = World::default();
    world.take(job("passed"));
    let state = world.job();
    assert_eq!(
        of(&state, &["startedAt", "durationMs"]),
        json!([null, null])
    );
    assert_eq!(state["completedAt"], "2026-01-31T12:00:00.000Z");
}

#[test]
fn a_duration_is_never_negative_and_never_lost() {
    let mut world = World::default();
    world.take(with(
        job("running"),
        json!({"occurredAt": "2026-01-31T14:00:00Z"}),
    ));
    world.take(job("passed"));
    let state = world.job();
    assert_eq!(state["durationMs"], 0);
    assert_eq!(state["completedAt"], state["startedAt"]);
}

#[test]
fn who_passed_shows_no_error_of_the_same_attempt() {
    let mut world = World::default();
    world.take(with(
        job("running"),
        json!({"errorDetails": "lost the browser"}),
    ));
    world.take(job("waiting"));
    assert_eq!(world.job()["errorDetails"], "lost the browser");
    world.take(job("passed"));
    assert_eq!(world.job()["errorDetails"], json!(null));
}

#[test]
fn an_older_update_does_not_take_the_status_back() {
    let mut world = World::default();
    world.take(with(
        job("running"),
        json!({"occurredAt": "2026-01-31T11:30:00Z"}),
    ));
    let older = |status: &str, more: Value| {
        with(
            with(job(status), json!({"occurredAt": "2026-01-31T11:00:00Z"})),
            more,
        )
    };
    assert_eq!(world.take(older("waiting", json!({}))), Outcome::Accepted);
    assert_eq!(of(&world.job(), &["status", "seq"]), json!(["running", 1]));
    // What it adds, counts.
    world.take(older("waiting", json!({"name": "Nightly"})));
    assert_eq!(
        of(&world.job(), &["status", "seq", "name"]),
        json!(["running", 2, "Nightly"])
    );
    world.take(older("failed", json!({})));
    assert_eq!(
        world.job()["status"],
        "failed",
        "a terminal one always counts"
    );
}

#[test]
fn a_higher_attempt_opens_an_execution_again() {
    let mut world = World::default();
    world.take(job("running"));
    let ended = json!({"errorDetails": "boom\nat line 3", "durationMs": 1200,
                       "artifactPaths": ["a.zip"]});
    world.take(with(job("failed"), ended));
    world.take(with(job("running"), json!({"attempt": 2})));
    let state = world.job();
    assert_eq!(of(&state, &["status", "attempt"]), json!(["running", 2]));
    let anew = [
        "errorDetails",
        "durationMs",
        "duration",
        "artifactPaths",
        "completedAt",
    ];
    assert_eq!(of(&state, &anew), json!([null, null, null, null, null]));
    let before = json!([{"attempt": 1, "status": "failed", "durationMs": 1200, "error": "boom"}]);
    assert_eq!(state["attempts"], before);
    let late = world.take(with(job("passed"), json!({"attempt": 1})));
    assert!(reason(&late).contains("attempt 1 is over"), "{late:?}");
    world.take(with(job("passed"), json!({"attempt": 2})));
    assert_eq!(of(&world.job(), &["flaky", "seq"]), json!([true, 4]));
}

#[test]
fn an_attempt_that_never_ended_counts_as_cancelled() {
    let mut world = World::default();
    world.take(job("running"));
    world.take(with(job("waiting"), json!({"attempt": 3})));
    assert_eq!(world.job()["attempts"][0]["status"], "cancelled");
    world.take(job("passed"));
    assert_eq!(world.job()["flaky"], false, "it did not fail");
}

#[test]
fn the_last_twenty_attempts_are_told() {
    let mut world = World::default();
    for attempt in 1..=30 {
        world.take(with(job("failed"), json!({"attempt": attempt})));
    }
    let attempts = world.job()["attempts"].clone();
    assert_eq!(attempts.as_array().unwrap().len(), 20);
    assert_eq!(
        (&attempts[0]["attempt"], &attempts[19]["attempt"]),
        (&json!(10), &json!(29))
    );
}

#[test]
fn will_retry_ends_the_attempt_and_not_the_execution() {
    let mut world = World::default();
    world.take(test("a", "running"));
    world.take(with(
        test("a", "failed"),
        json!({"willRetry": true, "error": "no"}),
    ));
    assert_eq!(
        of(&world.test("a"), &["status", "attempt"]),
        json!(["waiting", 2])
    );
    assert_eq!(world.test("a")["attempts"][0]["status"], "failed");
    world.take(test("a", "passed"));
    assert_eq!(world.test("a")["flaky"], true);
    let counts = of(
        &world.job()["tests"],
        &["total", "passed", "flaky", "failed"],
    );
    assert_eq!(counts, json!([1, 1, 1, 0]));
}

#[test]
fn after_the_end_the_same_status_adds_what_is_absent() {
    let mut world = World::default();
    world.take(with(
        job("failed"),
        json!({"artifactPaths": ["a"], "errorDetails": "no"}),
    ));
    let late = json!({"artifactPaths": ["a", "b"], "errorDetails": "another",
                      "url": "https://ci/1"});
    assert_eq!(world.take(with(job("failed"), late)), Outcome::Accepted);
    let state = world.job();
    assert_eq!(state["artifactPaths"], json!(["a", "b"]));
    let members = ["errorDetails", "url", "seq", "status"];
    assert_eq!(
        of(&state, &members),
        json!(["no", "https://ci/1", 2, "failed"])
    );
}

#[test]
fn a_tests_change_of_status_is_an_event_of_its_run_also_after_its_end() {
    let mut world = World::default();
    world.take(test("a", "running"));
    world.take(test("a", "running"));
    world.take(test("b", "waiting"));
    world.take(test("a", "passed"));
    world.take(job("completed"));
    world.take(test("b", "failed"));
    let runs = world
        .events
        .iter()
        .filter(|new| new.event.kind == Kind::Job);
    let runs: Vec<_> = runs
        .map(|new| (new.event.seq.0, new.event.status))
        .collect();
    let (waiting, completed) = (Status::Waiting, Status::Completed);
    assert_eq!(
        runs,
        [
            (1, waiting),
            (2, waiting),
            (3, waiting),
            (4, completed),
            (5, completed)
        ]
    );
    let counts = of(&world.job()["tests"], &["total", "passed", "failed"]);
    assert_eq!(counts, json!([2, 1, 1]));
}

#[test]
fn a_test_that_joins_its_run_late_is_counted_whole() {
    let mut world = World::default();
    let alone = |status: &str| json!({"kind": "test", "id": "a", "status": status});
    world.take(alone("running"));
    world.take(test("a", "running"));
    world.take(alone("passed"));
    assert_eq!(
        world.events.len(),
        5,
        "both later ones are events of the run"
    );
    let counts = of(&world.job()["tests"], &["total", "running", "passed"]);
    assert_eq!(counts, json!([1, 0, 1]));
}

#[test]
fn a_test_may_say_after_its_end_of_which_run_it_is() {
    let mut world = World::default();
    world.take(json!({"kind": "test", "id": "a", "status": "passed"}));
    assert_eq!(world.take(test("a", "passed")), Outcome::Accepted);
    assert_eq!(world.job()["tests"]["passed"], 1);
}

#[test]
fn a_test_that_names_another_run_is_told_to_which_it_belongs() {
    let mut world = World::default();
    world.take(test("a", "running"));
    let other = world.take(with(test("a", "passed"), json!({"runId": "q"})));
    let reason = reason(&other);
    assert!(
        reason.contains("belongs to the run r") && reason.contains("q_a"),
        "{reason}"
    );
    assert_eq!(world.test("a")["status"], "running");
}

#[test]
fn a_cancelled_run_takes_its_open_tests_along() {
    let mut world = World::default();
    world.take(job("running"));
    world.take(test("a", "running"));
    world.take(test("b", "passed"));
    world.take(test("c", "waiting"));
    let before = world.events.len();
    world.take(job("cancelled"));
    assert_eq!(
        world.events.len(),
        before + 3,
        "two tests, and the run once"
    );
    let last = &world.events.last().unwrap().event;
    assert_eq!(
        (last.kind, last.status, last.open_tests),
        (Kind::Job, Status::Cancelled, 0)
    );
    assert_eq!(world.test("a")["status"], "cancelled");
    assert_eq!(world.test("b")["status"], "passed");
    // Who comes later finds it ended.
    world.take(test("d", "running"));
    assert_eq!(world.test("d")["status"], "cancelled");
    let counts = of(&world.job()["tests"], &["total", "cancelled", "running"]);
    assert_eq!(counts, json!([4, 3, 0]));
}

#[test]
fn a_run_that_failed_leaves_its_tests_to_end_by_themselves() {
    let mut world = World::default();
    world.take(test("a", "running"));
    world.take(job("failed"));
    assert_eq!(world.test("a")["status"], "running");
    assert_eq!(world.events.last().unwrap().event.open_tests, 1);
}

fn swept(stale: usize, given_up: usize) -> Swept {
    Swept { stale, given_up }
}

#[test]
fn a_silent_execution_becomes_stale_then_is_given_up() {
    let mut world = World::default();
    world.take(with(job("running"), json!({"timeoutSeconds": 10})));
    assert_eq!(world.job()["deadlineAt"], "2026-01-31T12:00:20.000Z");
    assert_eq!(world.sweep(9), swept(0, 0));
    assert_eq!(world.sweep(10), swept(1, 0));
    assert_eq!(
        of(&world.job(), &["stale", "status"]),
        json!([true, "running"])
    );
    assert_eq!(world.sweep(11), swept(0, 0), "once");
    assert_eq!(world.sweep(20), swept(0, 1));
    let members = ["status", "stale", "deadlineAt", "errorDetails"];
    let ended = json!(["error", false, null, "nothing was heard of it for 20 s"]);
    assert_eq!(of(&world.job(), &members), ended);
    assert_eq!(
        of(&world.job(), &["durationMs", "duration"]),
        json!([20_000, "20s"])
    );
    assert_eq!(world.events.len(), 3);
    let late = world.take_at(21, job("passed"));
    let reason = reason(&late);
    assert!(
        reason.contains("given up") && reason.contains("higher attempt"),
        "{reason}"
    );
    let again = world.take_at(22, with(job("running"), json!({"attempt": 2})));
    assert_eq!(again, Outcome::Accepted);
}

#[test]
fn a_sign_of_life_makes_no_event_but_the_one_that_takes_stale_back() {
    let mut world = World::default();
    let alive = || json!({"kind": "job", "id": "r", "alive": true});
    assert!(reason(&world.take(alive())).contains("nobody has reported it"));
    world.take(with(job("running"), json!({"timeoutSeconds": 10})));
    for second in [8, 16, 24] {
        assert_eq!(world.take_at(second, alive()), Outcome::Accepted);
        assert_eq!(world.sweep(second), swept(0, 0));
    }
    assert_eq!(world.events.len(), 1);
    world.sweep(34);
    assert_eq!(world.job()["stale"], true);
    world.take_at(35, alive());
    let members = ["stale", "seq", "deadlineAt"];
    assert_eq!(
        of(&world.job(), &members),
        json!([false, 3, "2026-01-31T12:00:55.000Z"])
    );
    world.take_at(36, job("passed"));
    assert!(reason(&world.take_at(37, alive())).contains("already ended"));
}

#[test]
fn every_update_of_a_test_is_a_sign_of_life_of_its_run() {
    let mut world = World::default();
    world.take(with(job("running"), json!({"timeoutSeconds": 10})));
    for second in (0..60).step_by(5) {
        world.take_at(second, test("a", "running"));
        assert_eq!(world.sweep(second), swept(0, 0));
    }
}

#[test]
fn a_running_execution_that_says_nothing_has_the_operators_timeout() {
    let mut world = World::default();
    world.take(job("running"));
    world.take(json!({"kind": "job", "id": "waiting", "status": "waiting"}));
    assert_eq!(world.sweep(3600), swept(1, 0));
    assert_eq!(world.sweep(7200), swept(0, 1));
    let waiting = world.state(Kind::Job, "waiting");
    assert_eq!(
        of(&waiting, &["status", "deadlineAt"]),
        json!(["waiting", null])
    );
}

#[test]
fn a_run_that_is_given_up_takes_its_tests_along() {
    let mut world = World::default();
    world.take(test("a", "running"));
    world.take(with(job("running"), json!({"timeoutSeconds": 5})));
    world.sweep(5);
    world.sweep(10);
    assert_eq!(world.test("a")["status"], "cancelled");
    assert_eq!(world.job()["tests"]["cancelled"], 1);
}

#[test]
fn a_sharded_run_ends_with_its_last_shard_as_the_worst_of_them() {
    let mut world = World::default();
    world.take(shard(1, "running"));
    world.take(shard(2, "running"));
    let passed = json!({"artifactPaths": ["1.zip"], "durationMs": 3});
    world.take_at(5, with(shard(1, "passed"), passed));
    let state = world.job();
    assert_eq!(state["shards"], json!({"total": 3, "ended": 1}));
    let members = ["status", "completedAt", "durationMs"];
    assert_eq!(of(&state, &members), json!(["running", null, null]));
    let failed = json!({"artifactPaths": ["2.zip"], "errorDetails": "no"});
    world.take_at(9, with(shard(2, "failed"), failed));
    assert_eq!(world.job()["status"], "running");
    let again = world.take(shard(2, "running"));
    assert!(
        reason(&again).contains("shard 2 has already ended as failed"),
        "{again:?}"
    );
    world.take_at(7, shard(3, "passed"));
    let state = world.job();
    assert_eq!(
        of(&state, &["status", "durationMs"]),
        json!(["failed", 9000])
    );
    assert_eq!(state["artifactPaths"], json!(["1.zip", "2.zip"]));
    assert_eq!(
        state["errorDetails"], "no",
        "a shard that passed does not clear another's"
    );
}

#[test]
fn a_cancelled_run_is_cancelled_whatever_its_shards_say() {
    let mut world = World::default();
    world.take(shard(1, "running"));
    world.take(job("cancelled"));
    let late = world.take(shard(1, "passed"));
    assert!(
        reason(&late).contains("already ended as cancelled"),
        "{late:?}"
    );
}

#[test]
fn the_progress_of_shards_is_summed() {
    let mut world = World::default();
    let progress = |completed: u32| json!({"progress": {"completed": completed, "total": 10}});
    world.take(with(shard(1, "running"), progress(4)));
    world.take(with(shard(2, "running"), progress(3)));
    assert_eq!(
        of(&world.job()["progress"], &["completed", "total"]),
        json!([7, null])
    );
    world.take(with(shard(3, "running"), progress(1)));
    assert_eq!(
        of(&world.job()["progress"], &["completed", "total"]),
        json!([8, 30])
    );
}

#[test]
fn two_organizations_may_use_one_id() {
    let mut world = World::default();
    world.take(job("passed"));
    let theirs = with(job("running"), json!({"organizationId": "x"}));
    assert_eq!(world.take(theirs), Outcome::Accepted);
    assert_eq!(world.executions.len(), 2);
}

#[test]
fn another_projects_execution_is_refused() {
    let mut world = World::default();
    let first = update(&job("running"));
    world.batch(0, std::slice::from_ref(&first));
    let theirs = json!({"projectId": "q"});
    let refused = world.take(with(job("running"), theirs.clone()));
    assert!(reason(&refused).contains("another project"));
    let refused = world.take(with(test("t", "running"), theirs));
    assert!(reason(&refused).contains("job run"));
    // Nor is anything told of its events.
    let mut guessed = first;
    guessed.project_id = "q".parse().unwrap();
    assert!(reason(&world.batch(0, &[guessed])[0]).contains("another project"));
    assert_eq!(world.executions.len(), 1);
}

#[test]
fn a_test_that_a_sweep_had_locked_when_its_run_was_cancelled_ends_with_the_next_sweep() {
    let mut world = World::default();
    world.take(json!({"kind": "job", "id": "r", "status": "running"}));
    let test = json!({"kind": "test", "id": "t", "status": "running", "runId": "r"});
    world.take(with(test, json!({"timeoutSeconds": 10})));
    let locked = world.execution(Kind::Test, "t").clone();
    world.executions.remove(&locked.key());
    world.take_at(10, json!({"kind": "job", "id": "r", "status": "cancelled"}));
    world.executions.insert(locked.key(), locked);

    assert_eq!(world.sweep(11), Swept::default());
    assert_eq!(world.state(Kind::Test, "t")["status"], "cancelled");
    let tests = &world.state(Kind::Job, "r")["tests"];
    assert_eq!(
        (&tests["running"], &tests["cancelled"]),
        (&json!(0), &json!(1))
    );
}
