//! A lively scene to look at: several job runs with their tests, and the queue that they wait in.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep},
};

use crate::{Error, client::publish::new_event_id};

/// The queue that the scene's jobs wait in.
pub(crate) const QUEUE: &str = "runs";

/// How many of them run at once.
pub(crate) const RUNNING: usize = 4;

/// How many may wait: those of two scenes.
pub(crate) const QUEUED: usize = 2 * JOBS.len() - RUNNING;

/// For how long a test of the scene may be silent, in seconds, and for how long one is.
const SILENCE_ALLOWED: u64 = 8;
const SILENCE: Duration = Duration::from_secs(11);

/// How long an update is sent again and again, as SQS would.
const PATIENCE: Duration = Duration::from_mins(2);

/// Moves a job from those that wait to those that are active, where there is room.
const TAKE_PLACE: &str = "if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[2]) then return 0 end
    redis.call('LREM', KEYS[1], 1, ARGV[1])
    redis.call('LPUSH', KEYS[2], ARGV[1])
    return 1";

/// How often the places are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Adds to a list the jobs that it lacks.
const KEEP_PLACES: &str = "for _, run in ipairs(ARGV) do
        if not redis.call('LPOS', KEYS[1], run) then redis.call('LPUSH', KEYS[1], run) end
    end";

/// A job of the scene.
struct Job {
    id: &'static str,
    name: &'static str,
    tests: &'static [&'static str],
    incidents: &'static [(usize, Incident)],
    ending: Ending,
    /// In how many parts it runs, one after the other.
    shards: usize,
}

/// What happens to one of a job's tests.
#[derive(Clone, Copy)]
enum Incident {
    /// It fails like this, and passes when it is tried again.
    Flaky(&'static str),
    Skipped,
    /// Nothing is heard of it for a while.
    Silent,
}

#[derive(Clone, Copy, PartialEq)]
enum Ending {
    Passed,
    /// This test fails.
    Failed(usize, &'static str),
    /// Someone stops it at this test.
    Cancelled(usize),
}

const JOBS: [Job; 7] = [
    Job {
        id: "checkout",
        name: "Checkout, end to end",
        tests: &[
            "cart-adds-up",
            "coupon-applies",
            "guest-pays",
            "card-declined",
            "address-is-kept",
            "tax-by-country",
            "stock-runs-out",
            "order-mail-sent",
            "refund-is-booked",
            "gift-card",
            "currency-rounds",
            "double-click-pays-once",
        ],
        incidents: &[
            (
                3,
                Incident::Flaky("TimeoutError: [data-test=declined] did not appear within 5000 ms"),
            ),
            (9, Incident::Skipped),
        ],
        ending: Ending::Passed,
        shards: 1,
    },
    Job {
        id: "api-regression",
        name: "API regression",
        tests: &[
            "login",
            "login-over-sso",
            "token-refresh",
            "list-pages",
            "filter-by-date",
            "rate-limit",
            "webhook-retries",
            "idempotency-key",
            "patch-merges",
            "delete-is-soft",
            "export-csv",
            "unicode-names",
            "etag-matches",
            "cors-preflight",
        ],
        incidents: &[],
        ending: Ending::Failed(
            6,
            "AssertionError: expected status 200, got 503 (webhooks.spec.ts:48)",
        ),
        shards: 1,
    },
    Job {
        id: "mobile-smoke",
        name: "Mobile smoke test",
        tests: &[
            "launch",
            "sign-in",
            "offline-banner",
            "push-opens-order",
            "rotate",
            "sign-out",
        ],
        incidents: &[(3, Incident::Silent)],
        ending: Ending::Passed,
        shards: 1,
    },
    Job {
        id: "visual-diff",
        name: "Visual differences",
        tests: &[
            "home",
            "product",
            "basket",
            "account",
            "search",
            "error-page",
            "dark-mode",
            "print",
            "narrow",
            "wide",
        ],
        incidents: &[],
        ending: Ending::Cancelled(6),
        shards: 1,
    },
    Job {
        id: "nightly-export",
        name: "Nightly export",
        tests: &[
            "orders",
            "customers",
            "invoices",
            "products",
            "returns",
            "ledger",
            "audit-log",
        ],
        incidents: &[],
        ending: Ending::Passed,
        shards: 1,
    },
    Job {
        id: "search-relevance",
        name: "Search relevance",
        tests: &[
            "typos",
            "synonyms",
            "plurals",
            "stop-words",
            "facets",
            "empty-query",
            "ranking",
        ],
        incidents: &[(3, Incident::Skipped)],
        ending: Ending::Passed,
        shards: 1,
    },
    Job {
        id: "accessibility",
        name: "Accessibility",
        tests: &["landmarks", "contrast", "focus-order", "names", "zoom-400"],
        incidents: &[],
        ending: Ending::Passed,
        shards: 2,
    },
];

/// Where a scene is played: the worker, and the queue in Redis.
pub(crate) struct Stage {
    client: reqwest::Client,
    worker: String,
    redis: Option<redis::Client>,
    queue_prefix: String,
    running: Semaphore,
    /// In which of the queue's lists each of its jobs is.
    places: Mutex<BTreeMap<String, &'static str>>,
    /// Makes the ids of this scene's runs its own.
    number: u64,
}

impl Stage {
    /// A stage of the stack at `url`; without a Redis, without a queue.
    pub(crate) fn new(
        url: &str,
        redis_url: Option<&str>,
        queue_prefix: &str,
    ) -> Result<Self, Error> {
        let redis = redis_url.map(redis::Client::open).transpose()?;
        Ok(Stage {
            client: reqwest::Client::new(),
            worker: format!("{url}/2015-03-31/functions/worker/invocations"),
            redis,
            queue_prefix: queue_prefix.to_owned(),
            running: Semaphore::new(RUNNING),
            places: Mutex::default(),
            number: rand::random_range(100_000..1_000_000),
        })
    }

    /// The id of the scene's first run.
    pub(crate) fn first_run(&self) -> String {
        self.run_id(&JOBS[0])
    }

    /// Plays the scene to its end.
    pub(crate) async fn play(&self) -> Result<(), Error> {
        for job in &JOBS {
            let run = self.run_id(job);
            self.send(vec![
                json!({"kind": "job", "id": run, "status": "waiting", "jobId": job.id,
                       "name": job.name, "labels": {"branch": "main", "commit": "3f9c2d1"}}),
            ])
            .await?;
            let mut places = self.places.lock().await;
            places.insert(run, "wait");
            self.keep(&places).await;
        }
        tokio::select! {
            played = try_join_all(JOBS.iter().map(|job| self.run(job))) => played.map(drop),
            () = self.keep_places() => Ok(()),
        }
    }

    async fn run(&self, job: &Job) -> Result<(), Error> {
        let _slot = self.running.acquire().await?;
        sleep(Duration::from_millis(rand::random_range(100..900))).await;
        let run = self.run_id(job);
        self.take_place(&run).await;
        let status = self.run_tests(job, &run).await?;
        self.leave_place(&run).await;
        let over = if status == "passed" {
            "completed"
        } else {
            "failed"
        };
        self.queue(&["ZADD", &self.key(over), &self.number.to_string(), &run])
            .await;
        eprintln!("  {run}: {status}");
        Ok(())
    }

    async fn run_tests(&self, job: &Job, run: &str) -> Result<&'static str, Error> {
        let last_test = job.tests.len() - 1;
        let begun = (1..=job.shards).map(|shard| job.progress(run, shard, 0, "Preparing"));
        let waiting = (0..=last_test).map(|index| job.test(run, index, "waiting"));
        self.send(begun.chain(waiting).collect()).await?;
        for (index, test) in job.tests.iter().enumerate() {
            let shard = job.shard_of(index);
            if let Some(skipped) = job.skipped(run, index) {
                self.send(vec![skipped, job.progress(run, shard, index + 1, test)])
                    .await?;
                continue;
            }
            self.send(vec![
                job.test(run, index, "running"),
                job.progress(run, shard, index, test),
            ])
            .await?;
            a_while().await;
            if job.ending == Ending::Cancelled(index) {
                // It takes along the tests that have not ended.
                let last = json!({"kind": "job", "id": run, "status": "cancelled",
                                  "errorDetails": "Stopped by ada@example.com"});
                self.send(vec![last]).await?;
                return Ok("cancelled");
            }
            self.play_incident(job, run, index).await?;
            self.end_test(job, run, index).await?;
            if index < last_test && job.shard_of(index + 1) != shard {
                self.send(vec![job.part(run, shard, "passed")]).await?;
            }
        }
        let mut last = job.part(run, job.shards, "passed");
        if let Ending::Failed(failing, _) = job.ending {
            last["status"] = json!("failed");
            last["errorDetails"] = json!(format!(
                "1 of {} tests failed: {}",
                job.tests.len(),
                job.tests[failing]
            ));
            self.send(vec![last]).await?;
            return Ok("failed");
        }
        self.send(vec![last]).await?;
        Ok("passed")
    }

    /// What happens to a test before it ends.
    async fn play_incident(&self, job: &Job, run: &str, index: usize) -> Result<(), Error> {
        match job.incident(index) {
            Some(Incident::Flaky(error)) => {
                let mut failed = job.test(run, index, "failed");
                failed["error"] = json!(error);
                failed["willRetry"] = json!(true);
                self.send(vec![failed]).await?;
                a_while().await;
                self.send(vec![job.test(run, index, "running")]).await?;
                a_while().await;
            }
            Some(Incident::Silent) => {
                let mut quiet = job.test(run, index, "running");
                quiet["timeoutSeconds"] = json!(SILENCE_ALLOWED);
                self.send(vec![quiet]).await?;
                sleep(SILENCE).await;
                let mut sign = job.test(run, index, "running");
                if let Some(sign) = sign.as_object_mut() {
                    sign.remove("status");
                }
                sign["alive"] = json!(true);
                // Where Postgres was broken meanwhile, it may have been given up.
                self.deliver(vec![sign]).await?;
                a_while().await;
            }
            Some(Incident::Skipped) | None => {}
        }
        Ok(())
    }

    async fn end_test(&self, job: &Job, run: &str, index: usize) -> Result<(), Error> {
        let mut ended = job.test(run, index, "passed");
        if let Ending::Failed(failing, error) = job.ending
            && failing == index
        {
            ended["status"] = json!("failed");
            ended["error"] = json!(error);
        }
        let progress = job.progress(run, job.shard_of(index), index + 1, job.tests[index]);
        if let Some(Incident::Silent) = job.incident(index) {
            self.deliver(vec![ended]).await?;
            return self.send(vec![progress]).await;
        }
        self.send(vec![ended, progress]).await
    }

    /// Sends updates until the worker takes them.
    async fn send(&self, updates: Vec<Value>) -> Result<(), Error> {
        let rejected = self.deliver(updates).await?;
        if rejected.is_empty() {
            return Ok(());
        }
        Err(format!("the worker rejected {rejected:?}").into())
    }

    /// Sends updates until the worker answers; returns what it rejected.
    async fn deliver(&self, mut updates: Vec<Value>) -> Result<Vec<Value>, Error> {
        for update in &mut updates {
            update["eventId"] = json!(new_event_id());
            update["organizationId"] = json!("demo");
            update["projectId"] = json!("demo");
        }
        let batch = json!({"updates": updates});
        let give_up = Instant::now() + PATIENCE;
        loop {
            let answer = match self.client.post(&self.worker).json(&batch).send().await {
                Ok(response) => response.json().await.unwrap_or_default(),
                Err(error) => json!(error.to_string()),
            };
            match answer.get("rejected").and_then(Value::as_array) {
                Some(rejected) => return Ok(rejected.clone()),
                None if Instant::now() < give_up => sleep(Duration::from_millis(300)).await,
                _ => return Err(format!("the worker answered {answer}").into()),
            }
        }
    }

    /// Waits until a place in the queue is free, and takes it: another scene may be played beside this one.
    async fn take_place(&self, run: &str) {
        let script = redis::Script::new(TAKE_PLACE);
        let give_up = Instant::now() + PATIENCE;
        loop {
            let mut places = self.places.lock().await;
            let is_taken = match self.connection().await {
                Some(mut connection) => {
                    let mut taking = script.prepare_invoke();
                    let taking = taking.key(self.key("wait")).key(self.key("active"));
                    let taking = taking.arg(run).arg(RUNNING);
                    taking.invoke_async(&mut connection).await != Ok(false)
                }
                None => true,
            };
            if is_taken || Instant::now() >= give_up {
                places.insert(run.to_owned(), "active");
                return;
            }
            drop(places);
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn leave_place(&self, run: &str) {
        let mut places = self.places.lock().await;
        places.remove(run);
        self.queue(&["LREM", &self.key("active"), "1", run]).await;
    }

    /// Keeps the jobs in their places, for ever: a Redis that is killed loses them.
    async fn keep_places(&self) {
        loop {
            sleep(LOOK).await;
            let places = self.places.lock().await;
            self.keep(&places).await;
        }
    }

    async fn keep(&self, places: &BTreeMap<String, &str>) {
        let Some(mut connection) = self.connection().await else {
            return;
        };
        let script = redis::Script::new(KEEP_PLACES);
        for list in ["wait", "active"] {
            let mut keeping = script.key(self.key(list));
            for (run, _) in places.iter().filter(|(_, its)| **its == list) {
                keeping.arg(run);
            }
            let _: redis::RedisResult<()> = keeping.invoke_async(&mut connection).await;
        }
    }

    /// Does to the queue what `BullMQ` would. While Redis is away, nothing happens to the queue.
    async fn queue(&self, command: &[&str]) {
        let Some(mut connection) = self.connection().await else {
            return;
        };
        let mut change = redis::cmd(command[0]);
        let _ = change.arg(&command[1..]).exec_async(&mut connection).await;
    }

    /// `None` where there is no queue, or Redis is away.
    async fn connection(&self) -> Option<redis::aio::MultiplexedConnection> {
        let redis = self.redis.as_ref()?;
        redis.get_multiplexed_async_connection().await.ok()
    }

    fn run_id(&self, job: &Job) -> String {
        format!("{}-{}", job.id, self.number)
    }

    /// A key of the queue.
    fn key(&self, name: &str) -> String {
        format!("{}:{QUEUE}:{name}", self.queue_prefix)
    }
}

impl Job {
    fn incident(&self, index: usize) -> Option<Incident> {
        let mut incidents = self.incidents.iter();
        let (_, incident) = incidents.find(|(of, _)| *of == index)?;
        Some(*incident)
    }

    /// The part that a test is of, from 1.
    fn shard_of(&self, index: usize) -> usize {
        index * self.shards / self.tests.len() + 1
    }

    /// An update of the run, by one of its parts.
    fn part(&self, run: &str, shard: usize, status: &str) -> Value {
        let mut part = json!({"kind": "job", "id": run, "status": status});
        if self.shards > 1 {
            part["shard"] = json!({"index": shard, "total": self.shards});
        }
        part
    }

    /// How far a part is when so many of the run's tests have ended.
    fn progress(&self, run: &str, shard: usize, ended: usize, message: &str) -> Value {
        let of_shard = |index: &usize| self.shard_of(*index) == shard;
        let total = (0..self.tests.len()).filter(of_shard).count();
        let completed = (0..ended).filter(of_shard).count();
        let mut part = self.part(run, shard, "running");
        part["progress"] = json!({"completed": completed, "total": total, "message": message});
        part
    }

    fn test(&self, run: &str, index: usize, status: &str) -> Value {
        let test = self.tests[index];
        json!({"kind": "test", "id": format!("{run}_{test}"), "runId": run, "status": status,
               "name": test.replace('-', " "), "suite": self.id,
               "file": format!("e2e/{}.spec.ts", self.id), "line": 14 * index + 9})
    }

    fn skipped(&self, run: &str, index: usize) -> Option<Value> {
        let is_skipped = matches!(self.incident(index), Some(Incident::Skipped));
        is_skipped.then(|| self.test(run, index, "skipped"))
    }
}

async fn a_while() {
    sleep(Duration::from_millis(rand::random_range(250..1400))).await;
}
