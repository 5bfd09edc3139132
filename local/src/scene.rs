//! A lively scene to look at: several job runs with their tests, and the queue that they wait in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{Error, client::publish::new_event_id};

/// The queue that the scene's jobs wait in.
pub(crate) const QUEUE: &str = "runs";

/// How many of them run at once.
pub(crate) const RUNNING: usize = 4;

/// How many may wait.
pub(crate) const QUEUED: usize = 8;

/// How long an update is sent again and again, as SQS would.
const PATIENCE: Duration = Duration::from_mins(2);

/// A job of the scene.
struct Job {
    id: &'static str,
    tests: &'static [&'static str],
    ending: Ending,
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
        ending: Ending::Passed,
    },
    Job {
        id: "api-regression",
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
        ending: Ending::Failed(
            6,
            "AssertionError: expected status 200, got 503 (webhooks.spec.ts:48)",
        ),
    },
    Job {
        id: "mobile-smoke",
        tests: &[
            "launch",
            "sign-in",
            "offline-banner",
            "push-opens-order",
            "rotate",
            "sign-out",
        ],
        ending: Ending::Passed,
    },
    Job {
        id: "visual-diff",
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
        ending: Ending::Cancelled(6),
    },
    Job {
        id: "nightly-export",
        tests: &[
            "orders",
            "customers",
            "invoices",
            "products",
            "returns",
            "ledger",
            "audit-log",
        ],
        ending: Ending::Passed,
    },
    Job {
        id: "search-relevance",
        tests: &[
            "typos",
            "synonyms",
            "plurals",
            "stop-words",
            "facets",
            "empty-query",
            "ranking",
        ],
        ending: Ending::Passed,
    },
    Job {
        id: "accessibility",
        tests: &["landmarks", "contrast", "focus-order", "names", "zoom-400"],
        ending: Ending::Passed,
    },
];

/// Where a scene is played: the worker, and the queue in Redis.
pub(crate) struct Stage {
    client: reqwest::Client,
    worker: String,
    redis: Option<redis::Client>,
    queue_prefix: String,
    running: Semaphore,
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Stage {
            client: reqwest::Client::new(),
            worker: format!("{url}/2015-03-31/functions/worker/invocations"),
            redis,
            queue_prefix: queue_prefix.to_owned(),
            running: Semaphore::new(RUNNING),
            number: now.as_secs() % 1_000_000,
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
                json!({"kind": "job", "id": run, "status": "waiting", "jobId": job.id}),
            ])
            .await?;
            self.queue(&["LPUSH", &self.key("wait"), &run]).await;
        }
        try_join_all(JOBS.iter().map(|job| self.run(job))).await?;
        Ok(())
    }

    async fn run(&self, job: &Job) -> Result<(), Error> {
        let _slot = self.running.acquire().await?;
        sleep(Duration::from_millis(rand::random_range(100..900))).await;
        let run = self.run_id(job);
        self.queue(&["LREM", &self.key("wait"), "1", &run]).await;
        self.queue(&["LPUSH", &self.key("active"), &run]).await;
        let status = self.run_tests(job, &run).await?;
        self.queue(&["LREM", &self.key("active"), "1", &run]).await;
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
        let tests: Vec<_> = job
            .tests
            .iter()
            .map(|test| format!("{run}-{test}"))
            .collect();
        let progress = |completed: usize, message: &str| {
            json!({"kind": "job", "id": run, "status": "running", "progress":
                   {"completed": completed, "total": tests.len(), "message": message}})
        };
        let waiting = tests.iter().map(|test| test_update(test, run, "waiting"));
        self.send(
            [progress(0, "Preparing")]
                .into_iter()
                .chain(waiting)
                .collect(),
        )
        .await?;
        for (index, test) in tests.iter().enumerate() {
            let name = job.tests[index];
            self.send(vec![
                test_update(test, run, "running"),
                progress(index, name),
            ])
            .await?;
            sleep(Duration::from_millis(rand::random_range(250..1400))).await;
            if job.ending == Ending::Cancelled(index) {
                let left = tests[index..]
                    .iter()
                    .map(|test| test_update(test, run, "cancelled"));
                let last = json!({"kind": "job", "id": run, "status": "cancelled",
                                  "errorDetails": "Stopped by ada@example.com"});
                self.send(left.chain([last]).collect()).await?;
                return Ok("cancelled");
            }
            let mut ended = test_update(test, run, "passed");
            if let Ending::Failed(failing, error) = job.ending
                && failing == index
            {
                ended["status"] = json!("failed");
                ended["error"] = json!(error);
            }
            self.send(vec![ended, progress(index + 1, name)]).await?;
        }
        let mut last = json!({"kind": "job", "id": run, "status": "passed"});
        if let Ending::Failed(failing, _) = job.ending {
            last["status"] = json!("failed");
            last["errorDetails"] = json!(format!(
                "1 of {} tests failed: {}",
                tests.len(),
                job.tests[failing]
            ));
            self.send(vec![last]).await?;
            return Ok("failed");
        }
        self.send(vec![last]).await?;
        Ok("passed")
    }

    /// Sends updates until the worker takes them.
    async fn send(&self, mut updates: Vec<Value>) -> Result<(), Error> {
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
                Some(rejected) if rejected.is_empty() => return Ok(()),
                None if Instant::now() < give_up => sleep(Duration::from_millis(300)).await,
                _ => return Err(format!("the worker answered {answer}").into()),
            }
        }
    }

    /// Does to the queue what `BullMQ` would. While Redis is away, nothing happens to the queue.
    async fn queue(&self, command: &[&str]) {
        let Some(redis) = &self.redis else {
            return;
        };
        let Ok(mut connection) = redis.get_multiplexed_async_connection().await else {
            return;
        };
        let mut change = redis::cmd(command[0]);
        let _ = change.arg(&command[1..]).exec_async(&mut connection).await;
    }

    fn run_id(&self, job: &Job) -> String {
        format!("{}-{}", job.id, self.number)
    }

    /// A key of the queue.
    fn key(&self, name: &str) -> String {
        format!("{}:{QUEUE}:{name}", self.queue_prefix)
    }
}

fn test_update(id: &str, run_id: &str, status: &str) -> Value {
    json!({"kind": "test", "id": id, "runId": run_id, "status": status})
}
