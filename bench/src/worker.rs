//! The worker: events a second into the log and on to Redis, with fsync; and from its invocation
//! to the viewer's frame.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use integration::stack::Stack;
use serde_json::json;
use tokio_postgres::Client;

use crate::{
    figure::{Bar, Figure, of_runs, sorted},
    load::{self, Load, Publisher, Subscriber, milliseconds},
    mode::Mode,
    runtime::{Process, Said, variables},
    wire::Wire,
};

const GROUP: &str = "worker";
const RUNS: usize = 3;
const SECONDS: f64 = 1.5;

/// How many workers work at once: SQS starts as many as there are groups.
const WORKERS: usize = 8;

/// How one batch looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Records in a batch.
    pub(crate) batch: usize,
    /// Over how many executions they are spread.
    pub(crate) executions: usize,
    /// Whether each worker has a project of its own.
    pub(crate) projects: bool,
}

impl Shape {
    fn name(self) -> String {
        let of = if self.executions == 1 {
            "1 execution".to_owned()
        } else {
            format!("{} executions", self.executions)
        };
        let projects = if self.projects {
            "a project a worker"
        } else {
            "one project"
        };
        format!(
            "{WORKERS} workers, batches of {} of {of}, {projects}",
            self.batch
        )
    }
}

/// What the bar is about.
pub(crate) const BARRED: Shape = Shape {
    batch: 10,
    executions: 10,
    projects: true,
};

/// Updates one by one.
const SINGLE: Shape = Shape {
    batch: 1,
    executions: 1,
    projects: true,
};

pub(crate) async fn run() -> Vec<Figure> {
    let stack = Stack::with(&[], &[("RUST_LOG", "warn")]).await;
    let mut figures = Vec::new();
    for shape in [
        BARRED,
        Shape {
            projects: false,
            ..BARRED
        },
        Shape {
            executions: 1,
            ..BARRED
        },
        SINGLE,
        Shape {
            projects: false,
            ..SINGLE
        },
        Shape {
            batch: 100,
            executions: 100,
            projects: true,
        },
    ] {
        eprintln!("  worker: {}", shape.name());
        let (ours, floors) = throughput(&stack, shape).await;
        let figure = Figure::new(GROUP, shape.name(), "events/s", &ours).over(&ours, &floors);
        figures.push(if shape == BARRED {
            figure.with(Bar::Least(5000.0)).with(Bar::LeastRatio(0.3))
        } else {
            figure
        });
    }
    figures.push(senders(&stack).await);
    figures.extend(round_trips(&stack).await);
    figures.extend(end_to_end().await);
    figures
}

/// Events a second of the workers and of plain inserts, run by run.
pub(crate) async fn throughput(stack: &Stack, shape: Shape) -> (Vec<f64>, Vec<f64>) {
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(ready(&variables(stack)).await);
    }
    let clients = join_all((0..WORKERS).map(|_| stack.postgres())).await;
    clients[0].batch_execute(FLOOR_TABLE).await.unwrap();
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let inserted = join_all(clients.iter().map(|client| insert(client, shape.batch))).await;
        let committed = join_all(
            workers
                .iter_mut()
                .enumerate()
                .map(|(index, worker)| work(worker, shape, index)),
        )
        .await;
        if run > 0 {
            floors.push(inserted.iter().sum::<f64>());
            ours.push(committed.iter().sum::<f64>());
        }
    }
    for worker in workers {
        worker.stop().await;
    }
    (ours, floors)
}

/// Updates one by one of one project, over HTTP to `runcast serve`; the floor as for as many workers.
async fn senders(stack: &Stack) -> Figure {
    let served = Mode::Served.stack(0, &[]).await;
    let send = async |index: usize| {
        let client = load::client();
        let started = Instant::now();
        let mut events = 0;
        while started.elapsed().as_secs_f64() < SECONDS {
            let update = json!({"updates": [{
                "eventId": load::now().to_string(), "kind": "job", "id": format!("sent-{index}"),
                "projectId": "bench", "status": "running", "jobId": "nightly",
                "progress": {"completed": 3, "total": 12, "message": "step 3"},
            }]});
            let request = client.post(format!("{}/api/updates", served.url));
            let request = request.bearer_auth(&served.write_token).json(&update);
            assert_eq!(request.send().await.unwrap().status(), 200);
            events += 1;
        }
        per_second(events, started)
    };
    let clients = join_all((0..WORKERS).map(|_| stack.postgres())).await;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let inserted = join_all(clients.iter().map(|client| insert(client, 1))).await;
        let sent = join_all((0..WORKERS).map(send)).await;
        if run > 0 {
            floors.push(inserted.iter().sum::<f64>());
            ours.push(sent.iter().sum::<f64>());
        }
    }
    let name = format!("{WORKERS} senders over HTTP, served, one by one, one project");
    Figure::new(GROUP, name, "events/s", &ours)
        .over(&ours, &floors)
        .with(Bar::Least(3000.0))
}

/// A worker that waits for work.
pub(crate) async fn ready(variables: &[(String, String)]) -> Process {
    let mut worker = Process::start("worker", variables).await;
    assert!(matches!(worker.said().await, Said::Next(_)));
    worker
}

/// An SQS batch, as FIFO queues bring them.
pub(crate) fn batch(shape: Shape, index: usize) -> String {
    let project = if shape.projects {
        format!("bench-{index}")
    } else {
        "bench".to_owned()
    };
    let record = |at: usize| {
        let event_id = load::now().to_string() + "-" + &at.to_string();
        // Every batch has executions of its own: a FIFO group is in one batch at a time.
        let id = format!("w{index}-{}", at % shape.executions);
        let body = json!({
            "eventId": event_id, "kind": "job", "id": id, "organizationId": "bench", "projectId": project,
            "status": "running", "jobId": "nightly", "progress": {"completed": 3, "total": 12, "message": "step 3"},
        });
        json!({"messageId": event_id, "body": body.to_string(), "eventSource": "aws:sqs",
               "attributes": {"MessageGroupId": format!("job:{id}")}})
    };
    json!({"Records": (0..shape.batch).map(record).collect::<Vec<_>>()}).to_string()
}

/// One worker's events a second.
async fn work(worker: &mut Process, shape: Shape, index: usize) -> f64 {
    let started = Instant::now();
    let mut events = 0;
    while started.elapsed().as_secs_f64() < SECONDS {
        worker.invoke(batch(shape, index));
        let mut answer = String::new();
        loop {
            match worker.said().await {
                Said::Chunk(_, chunk) => answer.push_str(&chunk),
                Said::End(_) => {}
                Said::Next(_) => break,
            }
        }
        assert_eq!(answer, r#"{"batchItemFailures":[]}"#);
        events += shape.batch;
    }
    per_second(events, started)
}

const FLOOR_TABLE: &str = "CREATE TABLE IF NOT EXISTS floor (
    kind text, id text, seq bigint, event_id text, state text, recorded_at timestamptz DEFAULT now(),
    PRIMARY KEY (kind, id, seq, event_id))";

/// A multi-row insert a batch, of the same size: one connection's events a second.
async fn insert(client: &Client, batch: usize) -> f64 {
    let insert = "INSERT INTO floor (kind, id, seq, event_id, state)
                  SELECT 'job', * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[])";
    let insert = client.prepare(insert).await.unwrap();
    let started = Instant::now();
    let mut events = 0;
    while started.elapsed().as_secs_f64() < SECONDS {
        let ids: Vec<String> = (0..batch).map(|at| format!("floor-{at}")).collect();
        let seqs: Vec<i64> = (0..batch)
            .map(|at| i64::try_from(at + events).unwrap())
            .collect();
        let event_ids: Vec<String> = ids
            .iter()
            .map(|id| format!("{id}-{}", load::now()))
            .collect();
        let states: Vec<String> = ids.iter().map(|id| load::message(id, 1)).collect();
        client
            .execute(&insert, &[&ids, &seqs, &event_ids, &states])
            .await
            .unwrap();
        events += batch;
    }
    per_second(events, started)
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn per_second(events: usize, started: Instant) -> f64 {
    events as f64 / started.elapsed().as_secs_f64()
}

/// What a batch asks of Postgres and of Redis, on open connections.
async fn round_trips(stack: &Stack) -> Vec<Figure> {
    let (postgres, redis) = (
        Wire::before(&stack.database_url).await,
        Wire::before(&stack.redis_url).await,
    );
    let mut variables = variables(stack);
    for (name, value) in &mut variables {
        match name.as_str() {
            "DATABASE_URL" => value.clone_from(&postgres.url),
            "REDIS_URL" => value.clone_from(&redis.url),
            _ => {}
        }
    }
    let mut worker = ready(&variables).await;
    let (mut trips, mut statements) = (Vec::new(), Vec::new());
    let mut before = (0, 0, 0);
    for run in 0..4 {
        worker.invoke(batch(BARRED, 0));
        worker.next().await;
        let ((in_postgres, executed), (in_redis, _)) = (postgres.counts(), redis.counts());
        let after = (in_postgres, in_redis, executed);
        // The first opens the connections.
        if run > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a few")]
            let count = |number: u64| number as f64;
            trips.push(count(after.0 - before.0 + after.1 - before.1));
            statements.push(count(after.2 - before.2));
        }
        before = after;
    }
    worker.stop().await;
    vec![
        Figure::new(
            GROUP,
            "round trips of a batch of 10, Postgres and Redis",
            "",
            &trips,
        )
        .with(Bar::Most(3.0)),
        Figure::new(GROUP, "statements of a batch of 10", "", &statements),
    ]
}

/// From an invocation of the worker to the viewer's frame; the floor commits and publishes the same.
async fn end_to_end() -> Vec<Figure> {
    eprintln!("  end to end");
    let stack = Mode::Managed.stack(100, &[]).await;
    let client = load::client();
    let floor = Subscriber::to_many(&stack.redis_url, "end-floor", 1).await;
    let mut publisher = Publisher::redis(&stack.redis_url).await;
    let postgres = stack.postgres().await;
    postgres.batch_execute(FLOOR_TABLE).await.unwrap();
    let load = Load::open(&stack, "end", 1).await;
    let url = format!("{}/2015-03-31/functions/worker/invocations", stack.url);
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let (mut times, mut floor_times) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let started = Instant::now();
            let id = load::now().to_string();
            postgres
                .execute("INSERT INTO floor (kind, id, seq, event_id, state) VALUES ('job', $1, 1, $1, $2)",
                         &[&id, &load::message(&id, 1)])
                .await
                .unwrap();
            let committed = milliseconds(started.elapsed());
            floor_times.push(committed + floor.deliver_one(&mut publisher).await);

            let update = json!({"updates": [{
                "eventId": id, "kind": "job", "id": "end-0", "organizationId": "demo", "projectId": "demo",
                "status": "running", "progress": {"completed": 1, "total": 2, "message": load::now().to_string()},
            }]});
            client
                .post(&url)
                .body(update.to_string())
                .send()
                .await
                .unwrap();
            times.extend(load.take(1).await);
            // The worker asks for its next invocation, and is frozen.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        if run > 0 {
            ours.push(sorted(times));
            floors.push(sorted(floor_times));
        }
    }
    load.close().await;
    [("p50", 50.0), ("p99", 99.0)]
        .map(|(label, percent)| {
            let values = of_runs(&ours, percent);
            Figure::new(
                "end to end",
                format!("worker's invocation to frame, {label}"),
                "ms",
                &values,
            )
            .over(&values, &of_runs(&floors, percent))
        })
        .to_vec()
}
