//! Retention: what others wait for while ten million old events are deleted, and whether the room that
//! they leave is used again.

use std::{pin::pin, time::Duration};

use integration::stack::Stack;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_postgres::Client;

use crate::{
    figure::{Bar, Figure, percentile, sorted},
    first_event::first_event,
    load,
    runtime::variables,
    seed,
    worker::{self, BARRED},
};

const GROUP: &str = "retention";

/// So many batches a second, of ten.
const RATE: u32 = 50;

/// How long nothing is deleted, to compare with.
const CALM: Duration = Duration::from_secs(20);

/// Executions whose events take the room again: a tenth.
const AGAIN: u64 = 100_000;

/// On a stack with ten million old events.
pub(crate) async fn run(stack: &Stack) -> Vec<Figure> {
    let postgres = stack.postgres().await;
    let held = size(&postgres).await;
    eprintln!("  retention: {} updates a second", RATE * 10);
    let calm = Waits::during(stack, sleep(CALM)).await;
    eprintln!("  retention: the same while 10⁷ events are deleted");
    let order = json!({"action": "prune", "olderThanDays": 30});
    let started = Instant::now();
    let mut deleted = 0;
    let pruned = async {
        // Lambda's time limit may end one; the next goes on.
        loop {
            let answer = stack.invoke("migrate", &order).await;
            deleted += answer["prunedEvents"].as_u64().unwrap_or_default();
            if answer["prunedEvents"].is_u64() {
                return;
            }
        }
    };
    let busy = Waits::during(stack, pruned).await;
    #[expect(clippy::cast_precision_loss, reason = "ten million")]
    let rate = deleted as f64 / started.elapsed().as_secs_f64();
    eprintln!("  retention: {deleted} deleted; until they are vacuumed");
    // As autovacuum does, but not as gently; that one yields.
    let vacuum = async { postgres.batch_execute("VACUUM events").await.unwrap() };
    let vacuumed = Waits::during(stack, vacuum).await;
    eprintln!("  retention: the room is used again");
    seed::executions(stack, seed::MOST, seed::MOST + AGAIN).await;
    let again = size(&postgres).await;
    let mut figures = vec![Figure::new(GROUP, "deleted", "events/s", &[rate])];
    for (when, waits) in [
        ("while 10⁷ events are deleted", busy),
        ("while they are vacuumed", vacuumed),
    ] {
        for (name, during, before) in [
            ("a worker's batch", waits.batches, &calm.batches),
            ("a first event", waits.firsts, &calm.firsts),
        ] {
            for (percent, bar) in [(50.0, Some(Bar::Ratio(1.5))), (99.0, None)] {
                let [during, before] = [&during, before].map(|waits| [percentile(waits, percent)]);
                let name = format!("{name} {when}, p{percent}");
                let figure = Figure::new(GROUP, name, "ms", &during).over(&during, &before);
                figures.push(figure.with(bar));
            }
        }
    }
    figures.push(
        Figure::new(
            GROUP,
            "table and indexes, 10⁶ more events after it, over before",
            "MB",
            &[again],
        )
        .over(&[again], &[held])
        .with(Bar::Ratio(1.0)),
    );
    figures
}

/// How long batches and first events took, sorted, in ms.
struct Waits {
    batches: Vec<f64>,
    firsts: Vec<f64>,
}

impl Waits {
    /// Those of until that is done.
    async fn during(stack: &Stack, work: impl Future<Output = ()>) -> Self {
        let mut worker = worker::ready(&variables(stack)).await;
        let client = load::client();
        // The first of each connects.
        worker.invoke(worker::batch(BARRED, 0));
        worker.next().await;
        first_event(stack, &client, "seed-7").await;
        let (mut batches, mut firsts) = (Vec::new(), Vec::new());
        {
            let writing = async {
                let mut due = interval(Duration::from_secs(1) / RATE);
                due.set_missed_tick_behavior(MissedTickBehavior::Burst);
                loop {
                    // From when it was to be sent: who is held up, holds up who comes after.
                    let due = due.tick().await;
                    worker.invoke(worker::batch(BARRED, 0));
                    worker.next().await;
                    batches.push(due.elapsed().as_secs_f64() * 1000.0);
                }
            };
            let reading = async {
                loop {
                    firsts.push(first_event(stack, &client, "seed-7").await);
                    sleep(Duration::from_millis(20)).await;
                }
            };
            let (writing, reading) = (pin!(writing), pin!(reading));
            tokio::select! {
                () = work => {}
                () = writing => {}
                () = reading => {}
            }
        }
        worker.stop().await;
        Waits {
            batches: sorted(batches),
            firsts: sorted(firsts),
        }
    }
}

/// The megabytes of all that keeps events.
async fn size(postgres: &Client) -> f64 {
    let size = "SELECT pg_total_relation_size('events')::float8 / 1e6";
    postgres.query_one(size, &[]).await.unwrap().get(0)
}
