//! Random histories: no history ends otherwise than the plainest model says, and none breaks what
//! always holds.

use std::collections::{BTreeMap, HashMap};

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{World, update};
use crate::{
    execution::{Counted, JobState, Key, Kind, Seq, State, Status, TestCounts, TestState, common},
    record::Execution,
};

/// One step of the model's history of a job.
#[derive(Clone, Debug)]
struct Step {
    status: Status,
    attempt: Option<u32>,
    will_retry: bool,
    second: Option<u32>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let statuses = [
        Status::Waiting,
        Status::Running,
        Status::Passed,
        Status::Failed,
    ];
    let step = (
        select(statuses.to_vec()),
        option::of(1_u32..4),
        any::<bool>(),
        option::of(0_u32..4),
    );
    let step = step.prop_map(|(status, attempt, will_retry, second)| Step {
        status,
        attempt,
        will_retry: will_retry && status.is_terminal(),
        second,
    });
    vec(step, 1..9)
}

/// How a history ends, by the contract's words and nothing else: status, attempt, what the earlier
/// attempts came to.
fn model(history: &[Step]) -> (Status, u32, Vec<Status>) {
    let (mut status, mut attempt, mut earlier) = (Status::Waiting, 1, Vec::new());
    let (mut is_reported, mut said) = (false, None);
    for step in history {
        let named = step.attempt.unwrap_or(attempt);
        if !is_reported {
            (attempt, is_reported) = (named, true);
        }
        if named < attempt {
            continue;
        }
        if named > attempt {
            earlier.push(if status.is_terminal() {
                status
            } else {
                Status::Cancelled
            });
            (status, attempt, said) = (Status::Waiting, named, None);
        }
        let is_older = step
            .second
            .zip(said)
            .is_some_and(|(now, before)| now < before);
        if status.is_terminal() || (is_older && !step.status.is_terminal()) {
            continue;
        }
        (status, said) = (step.status, step.second.or(said));
        if step.will_retry {
            earlier.push(status);
            (status, attempt, said) = (Status::Waiting, attempt + 1, None);
        }
    }
    (status, attempt, earlier)
}

/// Anything that may happen to three tests of two runs: an update, or time that passes.
#[derive(Clone, Debug)]
enum Happening {
    Update(Value),
    Sweep,
}

fn happenings() -> impl Strategy<Value = Vec<(u8, Happening)>> {
    let words = [
        "waiting",
        "running",
        "passed",
        "failed",
        "error",
        "cancelled",
        "skipped",
        "completed",
        "flaky",
    ];
    let names = [
        ("job", "r"),
        ("job", "q"),
        ("test", "a"),
        ("test", "b"),
        ("test", "c"),
    ];
    let update = (
        select(names.to_vec()),
        option::weighted(0.9, select(words.to_vec())),
        option::of(select(vec!["r", "q"])),
        option::weighted(0.3, 1_u32..4),
        prop::bool::weighted(0.2),
        option::weighted(0.3, 1_u32..60),
        option::weighted(0.3, (1_u32..4, 3_u32..4)),
        option::weighted(0.3, 0_u32..4),
    );
    let update = update.prop_map(
        |((kind, id), status, run, attempt, will_retry, timeout, shard, second)| {
            let mut fields = json!({"kind": kind, "id": id});
            match status {
                Some(status) => fields["status"] = json!(status),
                None => fields["alive"] = json!(true),
            }
            if let (Some(run), "test") = (run, kind) {
                fields["runId"] = json!(run);
            }
            if let Some(attempt) = attempt {
                fields["attempt"] = json!(attempt);
            }
            let is_open = matches!(status, None | Some("waiting" | "running"));
            if will_retry && !is_open {
                fields["willRetry"] = json!(true);
            }
            if let Some(timeout) = timeout {
                fields["timeoutSeconds"] = json!(timeout);
            }
            if let (Some((index, total)), "job") = (shard, kind) {
                fields["shard"] = json!({"index": index, "total": total});
            }
            if let Some(second) = second {
                fields["occurredAt"] = json!(super::at(second.into()));
            }
            Happening::Update(fields)
        },
    );
    let happening = prop_oneof![5 => update, 1 => Just(Happening::Sweep)];
    vec((0_u8..40, happening), 1..40)
}

/// What holds after any history.
fn check(world: &World) -> Result<(), TestCaseError> {
    let mut recounts: BTreeMap<Key, TestCounts> = BTreeMap::new();
    for test in world.executions.values().filter(|test| test.is_reported()) {
        if let Some(run) = test.run_key() {
            recounts.entry(run).or_default().shift(None, test.counted());
        }
    }
    for execution in world.executions.values() {
        check_one(world, execution, &recounts)?;
    }
    let mut next: HashMap<Key, Seq> = HashMap::new();
    let mut names = std::collections::HashSet::new();
    for new in &world.events {
        let seq = next.entry(new.event.key()).or_default();
        *seq = seq.next();
        prop_assert_eq!(new.event.seq, *seq, "a hole: {:?}", new);
        prop_assert!(
            names.insert((new.event.key(), new.event_id.clone())),
            "twice: {:?}",
            new
        );
    }
    Ok(())
}

fn check_one(
    world: &World,
    execution: &Execution,
    recounts: &BTreeMap<Key, TestCounts>,
) -> Result<(), TestCaseError> {
    let state = &execution.state;
    let last = world
        .events
        .iter()
        .rev()
        .find(|new| new.event.key() == execution.key());
    let told = last.map(|new| new.event.data.clone());
    prop_assert_eq!(
        told,
        execution.is_reported().then(|| state.to_json()),
        "untold"
    );
    if let State::Job(job) = state {
        let recount = recounts.get(&execution.key()).copied();
        prop_assert_eq!(job.tests, recount, "counts drift: {:?}", execution);
    }
    let is_over = state.status().is_terminal();
    prop_assert_eq!(execution.ended_at.is_some(), is_over, "{:?}", execution);
    prop_assert!(
        !is_over || common!(state, deadline_at).is_none(),
        "{:?}",
        execution
    );
    prop_assert!(!is_over || !*common!(state, stale), "{:?}", execution);
    let Counted { status, flaky } = execution.counted();
    prop_assert!(!flaky || matches!(status, Status::Passed | Status::Completed));
    if let Some(run) = execution
        .run_key()
        .and_then(|key| world.executions.get(&key))
    {
        prop_assert!(
            is_over || !run.ends_its_tests(),
            "left behind: {:?}",
            execution
        );
    }
    // What may not be silent for ever is looked at in time.
    let times = if *common!(state, stale) { 2 } else { 1 };
    if let Some(deadline) = execution.due(times, super::rules(0).stalled_after) {
        prop_assert!(execution.look_at.is_some_and(|look_at| look_at <= deadline));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_history_ends_in_a_status_that_the_model_does_not_give(history in steps()) {
        let mut world = World::default();
        for step in &history {
            let mut fields = json!({"kind": "job", "id": "r", "status": step.status});
            if let Some(attempt) = step.attempt {
                fields["attempt"] = json!(attempt);
            }
            if step.will_retry {
                fields["willRetry"] = json!(true);
            }
            if let Some(second) = step.second {
                fields["occurredAt"] = json!(super::at(second.into()));
            }
            world.take(fields);
        }
        let execution = world.execution(Kind::Job, "r");
        let attempts = common!(&execution.state, attempts);
        let earlier: Vec<_> = attempts.iter().map(|attempt| attempt.status).collect();
        let attempt = *common!(&execution.state, attempt);
        prop_assert_eq!((execution.state.status(), attempt, earlier), model(&history));
        check(&world)?;
    }

    #[test]
    fn no_history_makes_counts_differ_from_a_recount(
        history in happenings(),
        batch in 1_usize..4,
    ) {
        let mut world = World::default();
        let mut second = 0;
        for part in history.chunks(batch) {
            let mut updates = Vec::new();
            for (passed, happening) in part {
                second += i64::from(*passed);
                match happening {
                    Happening::Update(fields) => updates.push(update(fields)),
                    Happening::Sweep => drop(world.sweep(second)),
                }
            }
            world.batch(second, &updates);
            check(&world)?;
        }
    }
}
