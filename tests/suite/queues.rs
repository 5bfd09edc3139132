//! Queue statistics: what real `BullMQ` does to its queues is what a viewer sees.

use std::{process::Stdio, time::Duration};

use integration::{
    PATIENCE, checkout, eventually, redis_server::Cluster, server::Server, stack::Stack,
    viewer::Viewer,
};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, timeout},
};

const PATH: &str = "/api/queue-stats/events";

/// A Node process with `BullMQ`.
struct Bull {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Bull {
    fn start(redis_url: &str, prefix: &str) -> Self {
        assert!(
            checkout("tests/node/node_modules/bullmq").exists(),
            "BullMQ is missing: run `make setup-tests`"
        );
        let mut child = Command::new("node")
            .arg(checkout("tests/node/queues.mjs"))
            .args([redis_url, prefix])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("node does not start ({error}): install Node 20.19 or newer")
            });
        Bull {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        }
    }

    /// Runs a command; returns the numbers of `Queue.getJobCounts()` after it.
    async fn run(&mut self, queue: &str, command: &str) -> Value {
        let order = json!({"queue": queue, "do": command});
        self.order(&order).await
    }

    /// Adds jobs for so long; returns the numbers after it.
    async fn flood(&mut self, queue: &str, lasting: Duration) -> Value {
        let milliseconds = u64::try_from(lasting.as_millis()).unwrap();
        let order = json!({"queue": queue, "do": "flood", "milliseconds": milliseconds});
        self.order(&order).await
    }

    async fn order(&mut self, order: &Value) -> Value {
        let line = format!("{order}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        let answer = timeout(PATIENCE, self.output.next_line()).await;
        let answer = answer.unwrap().unwrap();
        let answer = answer.unwrap_or_else(|| panic!("BullMQ has failed at {order}"));
        serde_json::from_str(&answer).unwrap()
    }
}

/// What a viewer of the statistics saw last.
struct Watched {
    viewer: Viewer,
    latest: Value,
}

impl Watched {
    async fn new(mut viewer: Viewer) -> Self {
        let latest = viewer.state().await;
        Watched { viewer, latest }
    }

    /// Reads until a queue's numbers are these; returns how many frames that took.
    async fn until(&mut self, queue: &str, counts: &Value) -> u32 {
        let mut frames = 0;
        while self.latest["queues"][queue] != *counts {
            self.latest = self.viewer.state().await;
            frames += 1;
        }
        frames
    }
}

/// The totals that a client shows, worked out from the queues' numbers as the contract has it.
fn totals(statistics: &Value) -> (u64, u64) {
    let queues = statistics["queues"].as_object().unwrap();
    let total = |names: &[&str]| -> u64 {
        let count = |queue: &Value| -> u64 {
            let count = |name: &&str| queue[*name].as_u64().unwrap();
            names.iter().map(count).sum()
        };
        queues.values().map(count).sum()
    };
    let active = total(&["active"]);
    let running = active.min(statistics["runningCapacity"].as_u64().unwrap());
    let behind = total(&["waiting", "prioritized", "delayed", "paused"]);
    (running, behind + active - running)
}

#[tokio::test]
async fn after_each_of_bullmqs_commands_the_numbers_are_bullmqs() {
    let variables = [("QUEUE_NAMES", "a,b"), ("RUNNING_CAPACITY", "1")];
    let stack = Stack::with(&[], &variables).await;
    let mut watched = Watched::new(stack.watch(PATH).await).await;
    // Queues that nobody has made yet, in full.
    let zeros = json!({"waiting": 0, "active": 0, "delayed": 0, "prioritized": 0, "paused": 0,
                       "completed": 0, "failed": 0});
    assert_eq!(
        watched.latest,
        json!({"running": 0, "runningCapacity": 1, "queued": 0, "queuedCapacity": 50,
               "queues": {"a": zeros, "b": zeros}})
    );

    let mut bull = Bull::start(&stack.redis_url, "bull");
    for (queue, command) in [
        ("a", "add"),
        ("a", "add"),
        ("b", "delay"),
        ("b", "prioritize"),
        ("a", "pause"),
        ("a", "resume"),
        ("a", "take"),
        ("b", "take"),
        ("a", "fail"),
        ("a", "retry"),
        ("a", "take"),
        ("a", "complete"),
        ("b", "complete"),
        ("a", "remove"),
        ("b", "remove"),
    ] {
        let counts = bull.run(queue, command).await;
        watched.until(queue, &counts).await;
        let shown = ["running", "queued"].map(|name| watched.latest[name].as_u64().unwrap());
        assert_eq!(
            shown,
            <[u64; 2]>::from(totals(&watched.latest)),
            "{command}"
        );
    }
    let completed = |queue: &str| watched.latest["queues"][queue]["completed"].clone();
    assert_eq!((completed("a"), completed("b")), (json!(1), json!(1)));

    // A second viewer gets the present, once.
    let second = Watched::new(stack.watch(PATH).await).await;
    assert_eq!(second.latest, watched.latest);
}

#[tokio::test]
async fn jobs_that_bullmq_5_paused_are_counted_until_they_are_resumed() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a")]).await;
    let mut bull = Bull::start(&stack.redis_url, "bull");
    bull.run("a", "add").await;
    // As its version 5 pauses: the waiting ones are put aside.
    let mut redis = stack.redis().await;
    let pause: Result<(), _> = redis::pipe()
        .atomic()
        .rename("bull:a:wait", "bull:a:paused")
        .hset("bull:a:meta", "paused", 1)
        .cmd("XADD")
        .arg(&["bull:a:events", "*", "event", "paused"])
        .exec_async(&mut redis)
        .await;
    pause.unwrap();
    let mut watched = Watched::new(stack.watch(PATH).await).await;
    assert_eq!(watched.latest["queues"]["a"]["paused"], 1);
    assert_eq!(watched.latest["queued"], 1);
    let counts = bull.run("a", "resume").await;
    assert_eq!(counts["waiting"], 1);
    watched.until("a", &counts).await;
}

#[tokio::test]
async fn a_flood_of_jobs_is_at_most_four_frames_a_second() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a")]).await;
    let mut watched = Watched::new(stack.watch(PATH).await).await;
    let mut bull = Bull::start(&stack.redis_url, "bull");
    // Node has started by now, and the flood is all that is measured.
    let counts = bull.run("a", "add").await;
    watched.until("a", &counts).await;
    let began = Instant::now();
    let lasting = Duration::from_secs(4);
    let flood = tokio::spawn(async move { bull.flood("a", lasting).await });
    let mut frames = 0;
    while !flood.is_finished() {
        watched.latest = watched.viewer.state().await;
        frames += 1;
    }
    let counts = flood.await.unwrap();
    frames += watched.until("a", &counts).await;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{frames} frames in {seconds:.1} s for {} jobs",
        counts["waiting"]
    );
    assert!(counts["waiting"].as_u64().unwrap() > 200, "{counts}");
    assert!(
        f64::from(frames) <= 4.0 * seconds + 2.0,
        "{frames} in {seconds} s"
    );
    // Nor does a flood hold the numbers back.
    assert!(frames >= 5, "{frames} in {seconds} s");
}

/// The commands that Valkey has served, by name, without those that ask for them.
async fn served(redis: &mut MultiplexedConnection) -> Vec<(String, u64)> {
    let mut info = redis::cmd("INFO");
    let info: String = info.arg("commandstats").query_async(redis).await.unwrap();
    let command = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        (name != "info").then(|| (name.to_owned(), calls))
    };
    info.lines().filter_map(command).collect()
}

#[tokio::test]
async fn while_nothing_happens_redis_is_hardly_asked() {
    let stack = Stack::with(&["--managed", "10"], &[("QUEUE_NAMES", "a,b,c")]).await;
    let open = (0..10).map(|_| stack.watch(PATH));
    let mut viewers = futures_util::future::join_all(open).await;
    for viewer in &mut viewers {
        viewer.state().await;
    }
    let mut redis = stack.redis().await;
    let total = |served: &[(String, u64)]| served.iter().map(|(_, calls)| calls).sum::<u64>();
    let before = served(&mut redis).await;
    // A measurement, not a wait: the time over which it is quiet.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = served(&mut redis).await;
    let asked = total(&after) - total(&before);
    println!("{asked} commands in 10 s for ten viewers of three queues");
    assert!(asked <= 5, "before {before:?}\nafter {after:?}");
}

/// How many connections wait for a queue's events.
async fn readers(redis: &mut MultiplexedConnection) -> usize {
    let list: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query_async(redis)
        .await
        .unwrap();
    list.matches(" cmd=xread ").count()
}

#[tokio::test]
async fn the_close_beacon_ends_the_stream_and_its_reader() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a")]).await;
    let mut viewer = stack.watch(PATH).await;
    let opening: Value = serde_json::from_str(&viewer.event().await.unwrap().data).unwrap();
    viewer.state().await;
    let mut redis = stack.redis().await;
    eventually("the reader waits for events", async || {
        (readers(&mut redis.clone()).await == 1).then_some(())
    })
    .await;
    let id = opening["streamId"].as_str().unwrap();
    let close = format!("{}/api/queue-stats/streams/{id}/close", stack.url);
    let closed = reqwest::Client::new().post(close).send().await.unwrap();
    assert_eq!(closed.status(), 204);
    assert_eq!(viewer.rest().await.1.as_deref(), Some("closed"));
    stack.all_frozen("queue-stats").await;
    assert_eq!(readers(&mut redis).await, 0);
    // Thawed, it counts anew: what came meanwhile is in the first frame.
    let mut bull = Bull::start(&stack.redis_url, "bull");
    let counts = bull.run("a", "add").await;
    let watched = Watched::new(stack.watch(PATH).await).await;
    assert_eq!(watched.latest["queues"]["a"], counts);
}

#[tokio::test]
async fn without_a_token_there_are_no_numbers() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a")]).await;
    let refused = reqwest::get(format!("{}{PATH}", stack.url)).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    assert!(!refused.text().await.unwrap().contains("queued"));
}

#[tokio::test]
async fn without_redis_new_viewers_are_told_to_come_back_and_open_streams_wait_for_it() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a")]).await;
    let mut watched = Watched::new(stack.watch(PATH).await).await;
    let mut valkey = Server::valkey(&stack).await;
    valkey.kill().await;
    let refused = stack.get(PATH, None).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    let seconds: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");

    valkey.start();
    drop(stack.redis().await);
    let mut bull = Bull::start(&stack.redis_url, "bull");
    let counts = bull.run("a", "add").await;
    // The stream that was open has stayed so.
    watched.until("a", &counts).await;
}

#[tokio::test]
async fn where_the_queues_redis_is_away_it_is_not_ready_and_nothing_old_is_shown() {
    let queues = Stack::start().await;
    let variables = [
        ("QUEUE_NAMES", "a"),
        ("QUEUE_REDIS_URL", queues.redis_url.as_str()),
    ];
    let stack = Stack::with(&["--managed", "10"], &variables).await;
    let ready = "/api/queue-stats/ready";
    assert_eq!(stack.get(ready, None).await.status(), 200);
    // It keeps the reader of the process at work.
    let _watched = Watched::new(stack.watch(PATH).await).await;
    Server::valkey(&queues).await.kill().await;
    let unready = stack.get(ready, None).await;
    assert_eq!(unready.status(), 503);
    let problem: Value = unready.json().await.unwrap();
    assert_eq!(
        problem["detail"],
        "The Redis of the queues cannot be reached."
    );
    eventually("the reader has seen it", async || {
        let said = stack.said();
        said.contains("failed to read the queues").then_some(())
    })
    .await;
    assert_eq!(stack.get(PATH, None).await.status(), 503);
}

#[tokio::test]
async fn a_prefix_with_a_hash_tag_is_read() {
    let variables = [("QUEUE_NAMES", "a,b"), ("QUEUE_PREFIX", "{bull}")];
    let stack = Stack::with(&[], &variables).await;
    let mut watched = Watched::new(stack.watch(PATH).await).await;
    let mut bull = Bull::start(&stack.redis_url, "{bull}");
    for queue in ["a", "b"] {
        let counts = bull.run(queue, "add").await;
        watched.until(queue, &counts).await;
    }
    assert_eq!(watched.latest["queued"], 2);
}

#[tokio::test]
async fn an_empty_prefix_is_none() {
    let variables = [("QUEUE_NAMES", "a"), ("QUEUE_PREFIX", "")];
    let stack = Stack::with(&[], &variables).await;
    let mut watched = Watched::new(stack.watch(PATH).await).await;
    let mut bull = Bull::start(&stack.redis_url, "bull");
    let counts = bull.run("a", "add").await;
    watched.until("a", &counts).await;
}

#[tokio::test]
async fn a_scenes_queue_has_the_prefix_that_the_functions_read() {
    let variables = [("QUEUE_NAMES", "runs"), ("QUEUE_PREFIX", "tests")];
    let stack = Stack::with(&[], &variables).await;
    let mut watched = Watched::new(stack.watch(PATH).await).await;
    let scene = format!("{}/_local/scene", stack.url);
    let begun = reqwest::Client::new().post(scene).send().await.unwrap();
    assert_eq!(begun.status(), 202);
    while watched.latest["queued"] == 0 {
        watched.latest = watched.viewer.state().await;
    }
}

#[tokio::test]
async fn in_a_cluster_the_node_that_has_the_queues_is_found() {
    let cluster = Cluster::start().await;
    let owner = cluster.node_of("{bull}:a:wait").await;
    let (owner, other) = (&cluster.urls[owner], &cluster.urls[(owner + 1) % 3]);
    let variables = [
        ("QUEUE_NAMES", "a,b"),
        ("QUEUE_PREFIX", "{bull}"),
        ("QUEUE_REDIS_URL", other.as_str()),
    ];
    let stack = Stack::with(&[], &variables).await;
    let mut watched = Watched::new(stack.watch(PATH).await).await;
    let mut bull = Bull::start(owner, "{bull}");
    for queue in ["a", "b"] {
        let counts = bull.run(queue, "add").await;
        watched.until(queue, &counts).await;
    }
}
