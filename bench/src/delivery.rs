//! Delivery: from a publication to the viewer's frame; and the memory that streams take.

use integration::stack::{SHARED_JWKS, Stack};

use crate::{
    figure::{Bar, Figure, PERCENTILES, of_runs, sorted},
    load::{Load, Publisher, RATE, Subscriber},
    machine::{private, resident},
    mode::{MOST, Mode, server_of},
    runtime::{self, Process},
};

const GROUP: &str = "delivery";

/// Each run, and its floor beside it.
const RUNS: usize = 3;
const SECONDS: f64 = 2.0;

/// Events a second that everybody gets.
const FAN_OUT_RATE: u32 = 4;

/// What the bars are about.
const BARRED: usize = 500;

/// How many times the floor the median, and the 99th percentile, may be.
fn bars(mode: Mode) -> Option<[f64; 2]> {
    match mode {
        Mode::Plain => None,
        Mode::Managed => Some([2.0, 3.0]),
        Mode::Served => Some([1.5, 2.0]),
    }
}

/// Where the memory of a managed process is looked at.
const MEMORY_AT: [usize; 2] = [500, MOST];

/// How many streams there are at once, step by step.
pub(crate) const STREAMS: [usize; 5] = [1, 100, 500, 1000, MOST];

/// As figures name a step.
pub(crate) fn name_of(streams: usize, mode: &str) -> String {
    let plural = if streams == 1 { "" } else { "s" };
    format!("{streams} stream{plural}, {mode}")
}

/// Events to streams of their own, one process a stream or one for all.
pub(crate) async fn run(mode: Mode) -> Vec<Figure> {
    let (name, managed) = (mode.name(), mode != Mode::Plain);
    let stack = mode.stack(MOST, &QUIET).await;
    let mut publisher = Publisher::redis(&stack.redis_url).await;
    let mut figures = Vec::new();
    let base = if managed {
        resident(server_of(&stack).await)
    } else {
        0.0
    };
    for count in STREAMS {
        eprintln!("  delivery, {name}: {count} streams");
        let mut load = Load::open(&stack, &format!("delivery{count}"), count).await;
        let mut floor =
            Subscriber::to_many(&stack.redis_url, &format!("floor{count}"), count).await;
        if !managed && count == 100 {
            figures.extend(of_environments(&stack).await);
        }
        // So that the first run finds everything as the others do.
        load.deliver(&mut publisher, 0.3, RATE).await;
        let (ours, floors) = beside(&mut load, &mut floor, &mut publisher, RATE).await;
        figures.extend(percentiles(
            &name_of(count, name),
            &ours,
            &floors,
            bars(mode).filter(|_| count == BARRED),
        ));
        if mode == Mode::Served && count == BARRED {
            drop(floor);
            let name = format!("the same over {count} subscribers' connections");
            let mut floor = Subscriber::each_to_one(&stack.redis_url, "each", count).await;
            let (ours, floors) = beside(&mut load, &mut floor, &mut publisher, RATE).await;
            figures.extend(percentiles(&name, &ours, &floors, None));
        }
        if managed && MEMORY_AT.contains(&count) {
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let each = (resident(server_of(&stack).await) - base) / count as f64;
            let figure = Figure::new(
                "memory",
                format!("per stream, {name}, at {count}"),
                "KB",
                &[each],
            );
            figures.push(figure.with((count == MOST).then_some(Bar::Most(25.0))));
        }
        // At the most that an environment takes, there is no room for beacons; the stack ends anyway.
        if count < MOST {
            load.close().await;
        }
    }
    figures
}

/// The same in managed mode to where the frame leaves the function: without the local Lambda.
pub(crate) async fn at_the_runtime_api() -> Vec<Figure> {
    eprintln!("  delivery, managed: {BARRED} streams, to the Runtime API");
    let stack = Stack::with(&[], &[("AUTH_JWKS", SHARED_JWKS)]).await;
    let most = MOST.to_string();
    let own = [("AWS_LAMBDA_MAX_CONCURRENCY", most.as_str())];
    let own = own.iter().chain(&QUIET);
    let own = own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let variables: Vec<_> = runtime::variables(&stack).into_iter().chain(own).collect();
    let process = Process::start("job-status", &variables).await;
    let mut publisher = Publisher::redis(&stack.redis_url).await;
    let mut load = Load::of_process(process, "api", BARRED).await;
    let mut floor = Subscriber::to_many(&stack.redis_url, "floor", BARRED).await;
    load.deliver(&mut publisher, 0.3, RATE).await;
    let (ours, floors) = beside(&mut load, &mut floor, &mut publisher, RATE).await;
    let name = format!("{BARRED} streams, managed, to the Runtime API");
    percentiles(&name, &ours, &floors, None)
}

/// One execution that everybody watches.
pub(crate) async fn fan_out(mode: Mode) -> Vec<Figure> {
    let name = mode.name();
    let stack = mode.stack(MOST, &QUIET).await;
    let mut publisher = Publisher::redis(&stack.redis_url).await;
    let mut figures = Vec::new();
    for count in [500, MOST] {
        eprintln!("  delivery, {name}: 1 execution, {count} streams");
        let mut load = Load::open_one(&stack, &format!("all{count}"), count).await;
        let mut floor =
            Subscriber::many_to(&stack.redis_url, &format!("floor{count}"), count).await;
        let (ours, floors) = beside(&mut load, &mut floor, &mut publisher, FAN_OUT_RATE).await;
        figures.extend(percentiles(
            &format!("1 execution watched by {count}, {name}"),
            &ours,
            &floors,
            bars(mode).filter(|_| mode == Mode::Served && count == MOST),
        ));
        if count < MOST {
            load.close().await;
        }
    }
    figures
}

/// Streams that read the log at no fixed time: the load does not write it.
const QUIET: [(&str, &str); 2] = [
    ("FALLBACK_POLL_SECONDS", "900"),
    ("STREAM_WINDOW_SECONDS", "900"),
];

/// Runs of the load and of its floor, one after the other.
async fn beside(
    load: &mut Load,
    floor: &mut Subscriber,
    publisher: &mut Publisher,
    rate: u32,
) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        floors.push(sorted(floor.deliver(publisher, SECONDS, rate).await));
        ours.push(sorted(load.deliver(publisher, SECONDS, rate).await));
    }
    (ours, floors)
}

fn percentiles(
    name: &str,
    ours: &[Vec<f64>],
    floors: &[Vec<f64>],
    bars: Option<[f64; 2]>,
) -> Vec<Figure> {
    let figure = |(label, percent)| {
        let values = of_runs(ours, percent);
        let figure = Figure::new(GROUP, format!("{name}, {label}"), "ms", &values)
            .over(&values, &of_runs(floors, percent));
        match (label, bars) {
            ("p50", Some([most, _])) | ("p99", Some([_, most])) => figure.with(Bar::Ratio(most)),
            _ => figure,
        }
    };
    PERCENTILES.into_iter().map(figure).collect()
}

/// Memory of processes that hold one stream each.
async fn of_environments(stack: &Stack) -> Vec<Figure> {
    let pids = stack.pids("job-status").await;
    let resident: Vec<f64> = pids.iter().map(|pid| resident(*pid) / 1024.0).collect();
    let private: Vec<f64> = pids.iter().map(|pid| private(*pid) / 1024.0).collect();
    vec![
        Figure::new(
            "memory",
            "resident, an environment with a stream",
            "MB",
            &resident,
        )
        .with(Bar::Most(12.0)),
        Figure::new("memory", "of it private", "MB", &private),
    ]
}
