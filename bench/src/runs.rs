//! A large run: how fast it opens, with all of its tests, and what its own sequence costs.

use std::time::Instant;

use integration::stack::{Stack, of_run, update};
use serde_json::{Value, json};

use crate::{
    figure::{Bar, Figure},
    load::milliseconds,
};

const GROUP: &str = "a large run";
const TESTS: usize = 10_000;
const OPENINGS: usize = 5;
const BATCHES: usize = 200;
const BATCH: usize = 10;

pub(crate) async fn run() -> Vec<Figure> {
    let stack = Stack::with(&[], &[("RUST_LOG", "warn")]).await;
    let mut figures = opens(&stack).await;
    figures.push(sends(&stack).await);
    figures
}

/// From the request to the first and to the last of its tests' states; the floor reads them alone.
async fn opens(stack: &Stack) -> Vec<Figure> {
    eprintln!("  a run of {TESTS} tests opens");
    let tests: Vec<Value> = (0..TESTS)
        .map(|n| {
            of_run(
                "large",
                &format!("t{n}"),
                ["passed", "failed"][usize::from(n % 50 == 0)],
            )
        })
        .collect();
    for part in tests.chunks(1_000) {
        stack.send(json!(part)).await;
    }
    stack.publish("job", "large", "failed").await;
    let postgres = stack.postgres().await;
    let states = "SELECT state FROM executions \
                  WHERE organization_id = 'demo' AND kind = 'test' AND run_id = 'large'";
    let (mut firsts, mut lasts, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..OPENINGS {
        let asked = Instant::now();
        let mut viewer = stack.watch("/api/test-status/events?runId=large").await;
        viewer.state().await;
        firsts.push(milliseconds(asked.elapsed()));
        let (states_seen, _) = viewer.rest().await;
        assert_eq!(states_seen.len(), TESTS - 1);
        lasts.push(milliseconds(asked.elapsed()));
        let asked = Instant::now();
        assert_eq!(postgres.query(states, &[]).await.unwrap().len(), TESTS);
        floors.push(milliseconds(asked.elapsed()));
    }
    let memory = stack.report().await["functions"]["test-status"]["peakMemoryMb"].clone();
    let memory = memory.as_f64().unwrap_or_default();
    vec![
        Figure::new(
            GROUP,
            format!("{TESTS} tests, the first state"),
            "ms",
            &firsts,
        )
        .with(Bar::Most(100.0)),
        Figure::new(GROUP, format!("{TESTS} tests, the last"), "ms", &lasts)
            .over(&lasts, &floors)
            .with(Bar::Most(1_000.0)),
        Figure::new(GROUP, "memory of the function meanwhile", "MB", &[memory])
            .with(Bar::Most(64.0)),
    ]
}

/// Tests of a run in batches; the floor are tests of none, and an update of the run beside them.
async fn sends(stack: &Stack) -> Figure {
    eprintln!("  a run's tests are sent");
    let send = async |name: &str, of: fn(&str, &str) -> Value| {
        let began = Instant::now();
        for batch in 0..BATCHES {
            let mut updates: Vec<Value> = (1..BATCH)
                .map(|n| of(name, &format!("{name}-{batch}-{n}")))
                .collect();
            updates.push(update("job", name, "running"));
            stack.send(json!(updates)).await;
        }
        milliseconds(began.elapsed())
    };
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let name = format!("alone{round}");
        floors.push(send(&name, |_, id| update("test", id, "running")).await);
        let name = format!("run{round}");
        ours.push(send(&name, |run, id| of_run(run, id, "running")).await);
    }
    let each = |values: &[f64]| -> Vec<f64> {
        #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
        let batches = BATCHES as f64;
        values.iter().map(|value| value / batches).collect()
    };
    let (ours, floors) = (each(&ours), each(&floors));
    Figure::new(
        GROUP,
        format!("a batch of {BATCH} of a run; floor: of tests of none"),
        "ms",
        &ours,
    )
    .over(&ours, &floors)
}
