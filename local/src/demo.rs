//! `runcast demo`: the whole stack, and a lively scene to look at.

use std::{process::ExitCode, process::Stdio, time::Duration};

use futures_util::future::join_all;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::sleep,
};

use crate::Error;

/// How long the audience may look at the end of a scene.
const INTERMISSION: Duration = Duration::from_secs(15);

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  runcast demo
  runcast demo --port 8788 --once")]
pub(crate) struct Options {
    /// Where the dashboard is served; 0 takes a free port
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// End after one scene
    #[arg(long)]
    once: bool,
}

/// A job of the scene.
struct Job {
    id: &'static str,
    tests: u64,
    ending: Ending,
}

#[derive(Clone, Copy, PartialEq)]
enum Ending {
    Passed,
    /// One test fails.
    Failed,
    /// Someone stops it half-way.
    Cancelled,
}

const JOBS: [Job; 5] = [
    Job {
        id: "checkout",
        tests: 18,
        ending: Ending::Passed,
    },
    Job {
        id: "api-regression",
        tests: 24,
        ending: Ending::Failed,
    },
    Job {
        id: "mobile-smoke",
        tests: 9,
        ending: Ending::Passed,
    },
    Job {
        id: "visual-diff",
        tests: 14,
        ending: Ending::Cancelled,
    },
    Job {
        id: "nightly-export",
        tests: 12,
        ending: Ending::Passed,
    },
];

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    let log = tempfile::Builder::new()
        .prefix("runcast-demo-")
        .suffix(".log")
        .tempfile()?;
    eprintln!(
        "starting Valkey, Postgres and five functions (log: {})",
        log.path().display()
    );
    let mut up = Command::new(std::env::current_exe()?)
        .args(["up", "--port", &options.port.to_string()])
        .stdout(Stdio::piped())
        .stderr(log.reopen()?)
        .kill_on_drop(true)
        .spawn()?;
    let stdout = up.stdout.take().ok_or("no output")?;
    let Some(line) = BufReader::new(stdout).lines().next_line().await? else {
        let said = std::fs::read_to_string(log.path())?;
        return Err(said
            .lines()
            .last()
            .unwrap_or("the stack did not start")
            .into());
    };
    let ready: Value = serde_json::from_str(&line)?;
    let text = |name: &str| ready.get(name).and_then(Value::as_str).unwrap_or_default();
    let (url, token) = (text("url").to_owned(), text("token").to_owned());
    tokio::select! {
        result = play(&url, &token, options.once) => result?,
        _ = tokio::signal::ctrl_c() => {}
        status = up.wait() => return Err(format!("the stack ended ({})", status?).into()),
    }
    // The stack ends with its parent's signal, or its guard ends it.
    if let Ok(pid) = crate::process::pid(&up) {
        crate::process::signal(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = up.wait().await;
    }
    Ok(ExitCode::SUCCESS)
}

async fn play(url: &str, token: &str, once: bool) -> Result<(), Error> {
    let stage = Stage {
        client: reqwest::Client::new(),
        worker: format!("{url}/2015-03-31/functions/worker/invocations"),
    };
    for scene in 1.. {
        eprintln!(
            "scene {scene}: {} job runs; watch them at {url}",
            JOBS.len()
        );
        let runs = JOBS.iter().enumerate().map(async |(index, job)| {
            sleep(Duration::from_millis(400) * u32::try_from(index)?).await;
            stage.run(job, scene).await
        });
        for result in join_all(runs).await {
            result?;
        }
        eprintln!(
            "\nDashboard:  {url}\nOne run:    curl -N -H 'Authorization: Bearer {token}' \
             {url}/api/job-status/events/{}-{scene}\n",
            JOBS[0].id
        );
        if once {
            break;
        }
        eprintln!(
            "another scene follows in {} s; Ctrl-C ends",
            INTERMISSION.as_secs()
        );
        sleep(INTERMISSION).await;
    }
    Ok(())
}

/// Where the scene is played: the worker.
struct Stage {
    client: reqwest::Client,
    worker: String,
}

impl Stage {
    async fn run(&self, job: &Job, scene: u32) -> Result<(), Error> {
        let id = format!("{}-{scene}", job.id);
        let tests: Vec<_> = (1..=job.tests)
            .map(|number| format!("{id}-t{number}"))
            .collect();
        let waiting = tests.iter().map(|test| test_update(test, &id, "waiting"));
        let first = json!({"kind": "job", "id": id, "status": "running", "jobId": job.id,
                           "progress": {"completed": 0, "total": job.tests}});
        self.send([first].into_iter().chain(waiting).collect())
            .await?;
        for (number, test) in (1..).zip(&tests) {
            self.send(vec![test_update(test, &id, "running")]).await?;
            sleep(Duration::from_millis(rand::rng().random_range(80..700))).await;
            if job.ending == Ending::Cancelled && number > job.tests / 2 {
                let left = tests.iter().skip(usize::try_from(number)? - 1);
                let left = left.map(|test| test_update(test, &id, "cancelled"));
                let last = json!({"kind": "job", "id": id, "status": "cancelled",
                                  "errorDetails": "stopped by ada@example.com"});
                self.send(left.chain([last]).collect()).await?;
                return {
                    eprintln!("  {id}: cancelled");
                    Ok(())
                };
            }
            let failed = job.ending == Ending::Failed && number == job.tests / 3;
            let mut ended = test_update(test, &id, if failed { "failed" } else { "passed" });
            if failed {
                ended["error"] = json!("expected 200, got 503");
            }
            let progress = json!({"kind": "job", "id": id, "status": "running",
                "progress": {"completed": number, "total": job.tests, "message": test}});
            self.send(vec![ended, progress]).await?;
        }
        let verdict = if job.ending == Ending::Failed {
            "failed"
        } else {
            "passed"
        };
        self.send(vec![json!({"kind": "job", "id": id, "status": verdict})])
            .await?;
        eprintln!("  {id}: {verdict}");
        Ok(())
    }

    async fn send(&self, mut updates: Vec<Value>) -> Result<(), Error> {
        for update in &mut updates {
            update["eventId"] = json!(format!("{:032x}", rand::random::<u128>()));
            update["organizationId"] = json!("demo");
            update["projectId"] = json!("demo");
        }
        let sent = self
            .client
            .post(&self.worker)
            .json(&json!({"updates": updates}))
            .send();
        let answer: Value = sent.await?.json().await?;
        match answer.get("rejected").and_then(Value::as_array) {
            Some(rejected) if rejected.is_empty() => Ok(()),
            _ => Err(format!("the worker answered {answer}").into()),
        }
    }
}

fn test_update(id: &str, run_id: &str, status: &str) -> Value {
    json!({"kind": "test", "id": id, "runId": run_id, "status": status})
}
