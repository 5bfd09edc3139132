//! Queue statistics: what real `BullMQ` does to its queues is what a viewer sees.

use std::{collections::BTreeMap, time::Duration};

use integration::{
    bull::Bull,
    eventually,
    redis_server::Cluster,
    server::Server,
    stack::{Stack, signal},
    viewer::Viewer,
};
use nix::sys::signal::Signal;
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::time::Instant;

const PATH: &str = "/api/queue-stats/events";

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

/// The numbers of a queue that is empty.
fn zeros() -> Value {
    json!({"waiting": 0, "active": 0, "delayed": 0, "prioritized": 0, "paused": 0,
           "completed": 0, "failed": 0})
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
    assert_eq!(
        watched.latest,
        json!({"running": 0, "runningCapacity": 1, "queued": 0, "queuedCapacity": 50,
               "queues": {"a": zeros(), "b": zeros()}})
    );

    let mut bull = Bull::start(&stack.redis_url, "bull");
    let mut delays = Vec::new();
    for (queue, command) in [
        ("a", "add"),
        ("a", "bulk"),
        ("b", "delay"),
        ("b", "prioritize"),
        ("b", "flow"),
        ("a", "pause"),
        ("a", "resume"),
        ("a", "take"),
        ("b", "take"),
        ("a", "fail"),
        ("a", "retry"),
        ("a", "take"),
        ("a", "limit"),
        ("a", "lift"),
        ("a", "take"),
        ("a", "complete"),
        ("b", "complete"),
        ("a", "die"),
        ("a", "stall"),
        ("a", "take"),
        ("a", "fail"),
        ("a", "retry all"),
        ("b", "promote"),
        ("a", "remove"),
        ("b", "remove"),
    ] {
        let counts = bull.run(queue, command).await;
        let told = Instant::now();
        watched.until(queue, &counts).await;
        delays.push(told.elapsed());
        let shown = ["running", "queued"].map(|name| watched.latest[name].as_u64().unwrap());
        assert_eq!(
            shown,
            <[u64; 2]>::from(totals(&watched.latest)),
            "{command}"
        );
    }
    // Of a busy machine the slowest say nothing.
    delays.sort();
    println!("told after {delays:?}");
    assert!(delays[delays.len() / 2] < Duration::from_secs(1));
    let completed = |queue: &str| watched.latest["queues"][queue]["completed"].clone();
    assert_eq!((completed("a"), completed("b")), (json!(1), json!(1)));

    // A second viewer gets the present, once.
    let second = Watched::new(stack.watch(PATH).await).await;
    assert_eq!(second.latest, watched.latest);
}

#[tokio::test]
async fn what_makes_no_event_is_told_too() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a")]).await;
    let mut bull = Bull::start(&stack.redis_url, "bull");
    let mut redis = stack.redis().await;
    for command in ["bulk", "delay", "prioritize", "take", "complete", "take"] {
        bull.run("a", command).await;
    }
    let mut watched = Watched::new(stack.watch(PATH).await).await;
    let mut delays = Vec::new();
    for command in ["clean", "drain", "obliterate", "bulk"] {
        let before = watched.latest["queues"]["a"].clone();
        let counts = bull.run("a", command).await;
        assert_ne!(counts, before, "{command} does nothing");
        let told = Instant::now();
        watched.until("a", &counts).await;
        delays.push(told.elapsed());
    }
    // A key that expires, and one that an operator deletes.
    let _: () = redis.pexpire("bull:a:wait", 1).await.unwrap();
    let told = Instant::now();
    watched.until("a", &zeros()).await;
    delays.push(told.elapsed());
    let counts = bull.run("a", "bulk").await;
    watched.until("a", &counts).await;
    let _: () = redis.del("bull:a:wait").await.unwrap();
    let told = Instant::now();
    let counts = bull.run("a", "count").await;
    watched.until("a", &counts).await;
    delays.push(told.elapsed());
    assert_eq!(counts, zeros());
    delays.sort();
    println!("told after {delays:?}");
    assert!(delays[delays.len() / 2] < Duration::from_secs(1));
}

#[tokio::test]
async fn a_marker_of_an_old_bullmq_is_no_job() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a")]).await;
    let mut bull = Bull::start(&stack.redis_url, "bull");
    bull.run("a", "add").await;
    let mut redis = stack.redis().await;
    let _: () = redis.rpush("bull:a:wait", "0:0").await.unwrap();
    let _: () = redis.rpush("bull:a:paused", "0:0").await.unwrap();
    let watched = Watched::new(stack.watch(PATH).await).await;
    // Asked later: what `BullMQ` counts, it takes a marker out of.
    let counts = bull.run("a", "count").await;
    assert_eq!(watched.latest["queues"]["a"], counts);
    assert_eq!(
        (&counts["waiting"], &counts["paused"]),
        (&json!(1), &json!(0))
    );
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
async fn a_flood_of_jobs_is_a_frame_a_second() {
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
        f64::from(frames) <= seconds / 0.9 + 2.0,
        "{frames} in {seconds} s"
    );
    // Nor does a flood hold the numbers back.
    assert!(frames >= 2, "{frames} in {seconds} s");
}

/// The commands that Valkey has served, by name, without those that ask for them.
async fn served(redis: &mut MultiplexedConnection) -> BTreeMap<String, u64> {
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
async fn ten_viewers_cost_a_pipeline_a_second() {
    for options in [&["--managed", "10"][..], &[]] {
        count_for_ten(options).await;
    }
}

/// Ten viewers, in one process or ten.
async fn count_for_ten(options: &[&str]) {
    let stack = Stack::with(options, &[("QUEUE_NAMES", "a,b,c")]).await;
    let open = (0..10).map(|_| stack.watch(PATH));
    let mut viewers = futures_util::future::join_all(open).await;
    for viewer in &mut viewers {
        viewer.state().await;
    }
    let mut redis = stack.redis().await;
    let before = served(&mut redis).await;
    let began = Instant::now();
    // A measurement, not a wait: the time over which it is asked.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = served(&mut redis).await;
    let most = began.elapsed().as_millis() / 900 + 1;
    let calls = |served: &BTreeMap<String, u64>, name: &str| served.get(name).copied();
    let asked = |name: &str| {
        calls(&after, name).unwrap_or_default() - calls(&before, name).unwrap_or_default()
    };
    // Three queues, three lists each.
    let pipelines = asked("llen") / 9;
    println!("{pipelines} pipelines in 10 s for ten viewers of three queues, {options:?}");
    assert!(
        (2..=most).contains(&u128::from(pipelines)),
        "before {before:?}\nafter {after:?}"
    );
    let counting = ["llen", "lindex", "zcard"];
    let names = after.keys().map(String::as_str);
    let others = names.filter(|name| !counting.contains(name));
    let others: u64 = others.map(asked).sum();
    // A script that tells the others, of five commands with it; ten places that are renewed, of six;
    // and a connection that comes late.
    assert!(
        others <= 5 * pipelines + 60 + 10,
        "before {before:?}\nafter {after:?}"
    );
}

#[tokio::test]
async fn when_the_one_that_counts_is_gone_another_goes_on() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a")]).await;
    let mut watched = Vec::new();
    for _ in 0..4 {
        watched.push(Watched::new(stack.watch(PATH).await).await);
    }
    let mut bull = Bull::start(&stack.redis_url, "bull");
    let mut last = Watched::new(stack.watch(PATH).await).await;
    // Whichever counts: its viewer leaves, or its process is killed, two by two.
    for viewer in watched.drain(..2) {
        let opening = viewer.viewer.text();
        let (_, id) = opening.split_once("\"streamId\":\"").unwrap();
        let id = id.split_once('"').unwrap().0;
        let close = format!("{}/api/queue-stats/streams/{id}/close", stack.url);
        reqwest::Client::new().post(close).send().await.unwrap();
        let counts = bull.run("a", "add").await;
        last.until("a", &counts).await;
    }
    let pids = stack.pids("queue-stats").await;
    for pid in &pids[..pids.len() - 1] {
        signal(*pid, Signal::SIGKILL);
    }
    let mut last = Watched::new(stack.watch(PATH).await).await;
    let counts = bull.run("a", "add").await;
    last.until("a", &counts).await;
}

#[tokio::test]
async fn who_may_see_some_queues_sees_the_numbers_of_no_other() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a,b")]).await;
    let mut bull = Bull::start(&stack.redis_url, "bull");
    let a = bull.run("a", "add").await;
    bull.run("b", "bulk").await;
    let token = stack.token(&["--org", "demo", "--queues", "a,other"]).await;
    let request = reqwest::Client::new().get(format!("{}{PATH}", stack.url));
    let response = request.bearer_auth(token).send().await.unwrap();
    let mut watched = Watched::new(Viewer::new(response)).await;
    assert_eq!(watched.latest["queues"], json!({"a": a}));
    assert_eq!(watched.latest["queued"], 1);
    // Nor is it told that another changes.
    bull.run("b", "add").await;
    let a = bull.run("a", "add").await;
    assert_eq!(watched.until("a", &a).await, 1);
}

/// How many connections count the queues.
async fn readers(redis: &mut MultiplexedConnection) -> usize {
    let list: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query_async(redis)
        .await
        .unwrap();
    // The last command of the pipeline.
    list.matches(" cmd=zcard ").count()
}

#[tokio::test]
async fn the_close_beacon_ends_the_stream_and_its_reader() {
    let stack = Stack::with(&[], &[("QUEUE_NAMES", "a")]).await;
    let mut viewer = stack.watch(PATH).await;
    let opening: Value = serde_json::from_str(&viewer.event().await.unwrap().data).unwrap();
    viewer.state().await;
    let mut redis = stack.redis().await;
    eventually("the reader counts", async || {
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
    // What was found holds for a second.
    let unready = eventually("it is not ready", async || {
        let answer = stack.get(ready, None).await;
        (answer.status() == 503).then_some(answer)
    })
    .await;
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
