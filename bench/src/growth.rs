//! Growth: the same work, when the log is larger, and when an execution's history is longer; and while
//! what is old of it is deleted.

use integration::stack::Stack;

use crate::{
    figure::{Bar, Figure, median},
    first_event, load, retention, seed,
    worker::{self, BARRED},
};

const GROUP: &str = "growth";
const EXECUTIONS: [u64; 2] = [10_000, seed::MOST];

const HISTORY: [u64; 2] = [10, 10_000];
const REQUESTS: usize = 50;

pub(crate) async fn run() -> Vec<Figure> {
    let stack = Stack::with(&[], &[("RUST_LOG", "warn")]).await;
    let postgres = stack.postgres().await;
    for events in HISTORY {
        seed::history(&postgres, events).await;
    }
    let mut figures = Vec::new();
    let (mut firsts, mut events) = (Vec::new(), Vec::new());
    let mut held = 0;
    for executions in EXECUTIONS {
        eprintln!("  growth: {executions} executions");
        seed::executions(&stack, held, executions).await;
        held = executions;
        firsts.push(medians(&stack, "seed-7", None).await);
        events.push(worker::throughput(&stack, BARRED).await.0);
    }
    figures.push(grown(
        "first event, 10⁷ events of 10⁶ executions over 10⁵ of 10⁴, p50",
        "ms",
        &firsts,
    ));
    figures.push(
        grown(
            "worker, 10⁷ events of 10⁶ executions over 10⁵ of 10⁴",
            "events/s",
            &events,
        )
        .with(Bar::LeastRatio(0.9)),
    );
    let (mut firsts, mut resumed) = (Vec::new(), Vec::new());
    for events in HISTORY {
        eprintln!("  growth: a history of {events} events");
        let id = format!("history-{events}");
        firsts.push(medians(&stack, &id, None).await);
        resumed.push(medians(&stack, &id, Some(&(events - 1).to_string())).await);
    }
    figures.push(grown(
        "first event, a history of 10⁴ events over 10, p50",
        "ms",
        &firsts,
    ));
    figures.push(grown(
        "resuming at its last event, 10⁴ events over 10, p50",
        "ms",
        &resumed,
    ));
    figures.extend(retention::run(&stack).await);
    figures
}

/// The larger over the smaller, in the floor's place.
fn grown(name: &str, unit: &'static str, runs: &[Vec<f64>]) -> Figure {
    Figure::new(GROUP, name, unit, &runs[1]).over(&runs[1], &runs[0])
}

/// Medians to a first event, with what is warm as it is.
async fn medians(stack: &Stack, id: &str, last_event_id: Option<&str>) -> Vec<f64> {
    let client = load::client();
    let resume = last_event_id
        .map(|id| format!("?lastEventId={id}"))
        .unwrap_or_default();
    let path = format!("{id}{resume}");
    let mut medians = Vec::new();
    for run in 0..=3 {
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            times.push(first_event::first_event(stack, &client, &path).await);
        }
        if run > 0 {
            medians.push(median(times));
        }
    }
    medians
}
