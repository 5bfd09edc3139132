//! A stack behind breakable proxies, its waves, and the oracle.

use std::{
    collections::BTreeMap,
    fmt,
    ops::AddAssign,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use integration::{proxy::Proxy, server::Server, stack::Stack};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use shared::execution::Kind;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    faults,
    watcher::{Seen, Watcher},
};

/// Executions in a wave; also the most that one stream of many carries here.
const EXECUTIONS: usize = 50;

/// Viewers of many executions in a wave, beside one for each fourth execution and two of the
/// project.
const VIEWERS_OF_MANY: usize = 24;

/// How long after the last fault everyone may take to come to the end.
const LIVENESS: Duration = Duration::from_mins(1);

/// What breaks, and what must not.
pub(crate) struct World {
    /// Where viewers and producers go.
    pub(crate) stack: Arc<Stack>,
    /// Owns Valkey and Postgres.
    pub(crate) owner: Stack,
    pub(crate) redis: Proxy,
    pub(crate) database: Proxy,
    pub(crate) valkey: Server,
    pub(crate) postgres: Server,
    total: Tally,
}

/// What happened.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    events: u64,
    stream_executions: u64,
    connections: u64,
    faults: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.stream_executions += other.stream_executions;
        self.connections += other.connections;
        self.faults += other.faults;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events, {} stream-executions, {} connections, {} faults; none lost, doubled, \
             reordered or stuck",
            self.events, self.stream_executions, self.connections, self.faults
        )
    }
}

/// An execution of a wave: how many events its life has.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) id: String,
    events: u64,
    /// The longest pause between two.
    pause: Duration,
}

impl World {
    pub(crate) async fn start(managed: bool) -> Self {
        let owner = Stack::start().await;
        let (redis, redis_url) = Proxy::before(&owner.redis_url).await;
        let (database, database_url) = Proxy::before(&owner.database_url).await;
        let options = ["--redis-url", &redis_url, "--database-url", &database_url];
        let limits = ["--timeout-seconds", "30", "--max-environments", "120"];
        let managed: &[&str] = if managed { &["--managed", "200"] } else { &[] };
        let variables = [
            ("STREAM_WINDOW_SECONDS", "12"),
            ("STREAM_HEARTBEAT_SECONDS", "2"),
            ("FALLBACK_POLL_SECONDS", "3"),
            ("DATABASE_IDLE_SECONDS", "1"),
        ];
        let stack = Stack::with(&[&options[..], &limits[..], managed].concat(), &variables).await;
        let (valkey, postgres) = (Server::valkey(&owner).await, Server::postgres(&owner).await);
        World {
            stack: Arc::new(stack),
            owner,
            redis,
            database,
            valkey,
            postgres,
            total: Tally::default(),
        }
    }

    pub(crate) fn total(&self) -> Tally {
        self.total
    }

    /// One wave: lives, viewers and faults; then the oracle.
    pub(crate) async fn wave(&mut self, wave: u32, seed: u64) -> Tally {
        let mut random = StdRng::seed_from_u64(seed);
        let kind = if random.random() {
            Kind::Job
        } else {
            Kind::Test
        };
        let project = format!("p{wave}");
        let lives = lives(wave, &mut random);
        let ids: Vec<_> = lives.iter().map(|life| life.id.clone()).collect();

        let connections = Arc::new(AtomicU64::new(0));
        let viewers = self.open_viewers(kind, &project, &ids, &connections, &mut random);
        let producing = self.produce(kind, &project, &lives, &mut random);
        let mut struck = 0;
        while !producing.is_finished() {
            faults::strike(self, kind, &ids, &mut random).await;
            struck += 1;
        }
        producing.await.unwrap();

        let deadline = Instant::now() + LIVENESS;
        let mut seen = Vec::new();
        for viewer in viewers {
            let end = timeout_at(deadline, viewer).await;
            let end = end.unwrap_or_else(|_| panic!("a viewer is stuck; {}", self.stack.said()));
            seen.push(end.unwrap());
        }
        let tally = Tally {
            events: lives.iter().map(|life| life.events).sum(),
            stream_executions: self.judge(kind, &lives, &seen).await,
            connections: connections.load(Ordering::Relaxed),
            faults: struck,
        };
        self.total += tally;
        tally
    }

    /// Viewers of many executions, of one, and of the project.
    fn open_viewers(
        &self,
        kind: Kind,
        project: &str,
        ids: &[String],
        connections: &Arc<AtomicU64>,
        random: &mut StdRng,
    ) -> Vec<JoinHandle<Seen>> {
        let mut viewers = Vec::new();
        let mut watch = |path: String, ids: &[String], ends: bool| {
            let watcher = Watcher {
                stack: self.stack.clone(),
                path,
                ids: ids.to_vec(),
                ends,
                connections: connections.clone(),
                random: StdRng::seed_from_u64(random.random()),
            };
            viewers.push(tokio::spawn(watcher.watch()));
        };
        let many = ids.iter().map(|id| format!("{}={id}", kind.id_name()));
        let many = many.collect::<Vec<_>>().join("&");
        for _ in 0..VIEWERS_OF_MANY {
            watch(format!("/api/{kind}-status/events?{many}"), ids, true);
        }
        for id in ids.iter().step_by(4) {
            let path = format!("/api/{kind}-status/events/{id}");
            watch(path, std::slice::from_ref(id), true);
        }
        for _ in 0..2 {
            let path = format!("/api/{kind}-status/events?projectId={project}");
            watch(path, ids, false);
        }
        viewers
    }

    /// Lets every life be lived; ends with the last of them.
    fn produce(
        &self,
        kind: Kind,
        project: &str,
        lives: &[Life],
        random: &mut StdRng,
    ) -> JoinHandle<()> {
        let mut producers = JoinSet::new();
        for life in lives {
            let random = StdRng::seed_from_u64(random.random());
            let (stack, project) = (self.stack.clone(), project.to_owned());
            producers.spawn(live(stack, kind, project, life.clone(), random));
        }
        tokio::spawn(async move { drop(producers.join_all().await) })
    }

    /// The oracle: each viewer has seen, of each execution, the log's events from where it began
    /// to the end, each once and in order.
    async fn judge(&self, kind: Kind, lives: &[Life], seen: &[Seen]) -> u64 {
        let rows = "SELECT id, seq, state FROM events WHERE kind = $1 ORDER BY seq";
        let rows = self
            .owner
            .postgres()
            .await
            .query(rows, &[&kind.as_str()])
            .await
            .unwrap();
        let mut log: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in rows {
            let state: String = row.get(2);
            let state = serde_json::from_str(&state).unwrap();
            log.entry(row.get(0)).or_default().push(state);
        }
        let mut stream_executions = 0;
        for life in lives {
            let events = &log[&life.id];
            let count = u64::try_from(events.len()).unwrap();
            assert_eq!(count, life.events, "{}: each update is one event", life.id);
            for (viewer, seen) in seen.iter().enumerate() {
                let Some(states) = seen.states.get(&life.id) else {
                    continue;
                };
                stream_executions += 1;
                let first = states[0]["seq"].as_u64().unwrap();
                // Who began before the first event saw `waiting`, seq 0.
                let from = usize::try_from(first.max(1) - 1).unwrap();
                let states = &states[usize::from(first == 0)..];
                assert_eq!(states, &events[from..], "viewer {viewer} of {}", life.id);
            }
        }
        stream_executions
    }
}

/// The lives of a wave; in every fourth, long ones.
fn lives(wave: u32, random: &mut StdRng) -> Vec<Life> {
    let (least, most, pause) = if wave.is_multiple_of(4) {
        (40, 41, 400)
    } else {
        (6, 13, 1_000)
    };
    let life = |number| Life {
        id: format!("w{wave}-{number}"),
        events: random.random_range(least..most),
        pause: Duration::from_millis(pause),
    };
    (0..EXECUTIONS).map(life).collect()
}

/// An execution's life: a producer that sends each update until it is in the log, and some of them
/// again.
async fn live(stack: Arc<Stack>, kind: Kind, project: String, life: Life, mut random: StdRng) {
    sleep(Duration::from_millis(random.random_range(0..2_000))).await;
    for number in 1..=life.events {
        let status = match number {
            1 => "waiting",
            last if last == life.events => ["passed", "failed"][random.random_range(0..2)],
            _ => "running",
        };
        let update = json!({
            "eventId": format!("{}-{number}", life.id),
            "kind": kind,
            "id": life.id,
            "organizationId": "demo",
            "projectId": project,
            "status": status,
            "progress": {"completed": number, "total": life.events},
        });
        while !send(&stack, &update).await {
            sleep(Duration::from_millis(random.random_range(20..400))).await;
        }
        if random.random_bool(0.3) {
            // At least once, as queues deliver; and at the same time.
            tokio::join!(send(&stack, &update), send(&stack, &update));
        }
        sleep(life.pause.mul_f64(random.random())).await;
    }
}

/// Sends an update; returns whether it is in the log.
async fn send(stack: &Stack, update: &Value) -> bool {
    let url = format!("{}/2015-03-31/functions/worker/invocations", stack.url);
    let invocation = reqwest::Client::new()
        .post(url)
        .json(&json!({"updates": [update]}))
        .send();
    let Ok(Ok(response)) = timeout(Duration::from_secs(40), invocation).await else {
        return false;
    };
    let answer: Value = response.json().await.unwrap_or_default();
    let rejected = answer["rejected"]
        .as_array()
        .is_some_and(|rejected| !rejected.is_empty());
    assert!(!rejected, "{answer}");
    answer["accepted"] == 1 || answer["duplicates"] == 1
}
