//! `runcast demo`: the whole stack, and a lively scene to look at.

use std::{
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use shared::config;
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{
    Error,
    scene::{QUEUE, QUEUED, RUNNING, Stage},
};

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

pub(crate) async fn run(options: Options) -> Result<ExitCode, Error> {
    // Before there is a log: it is removed however this ends.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let log = tempfile::Builder::new()
        .prefix("runcast-demo-")
        .suffix(".log")
        .tempfile()?;
    eprintln!(
        "starting Valkey, Postgres and five functions (log: {})",
        log.path().display()
    );
    let mut up = up(options.port, &log)?;
    // Waiting for a child closes its stdin.
    let open = up.stdin.take();
    let stdout = up.stdout.take().ok_or("no output")?;
    let result = tokio::select! {
        result = play(stdout, options.once) => result,
        status = up.wait() => Err(ended(status?, log)?),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    drop(open);
    let _ = up.wait().await;
    result.map(|()| ExitCode::SUCCESS)
}

/// Starts the stack.
fn up(port: u16, log: &NamedTempFile) -> Result<Child, Error> {
    let env = config::Env::of_process();
    let mut up = Command::new(std::env::current_exe()?);
    // The queue of the scene, where nothing else was configured.
    for (name, value) in [
        ("QUEUE_NAMES", QUEUE.to_owned()),
        ("RUNNING_CAPACITY", RUNNING.to_string()),
        ("QUEUED_CAPACITY", QUEUED.to_string()),
    ] {
        if env.get(name).is_none() {
            up.env(name, value);
        }
    }
    let up = up
        .args(["up", "--port", &port.to_string()])
        // It ends with this process, however that ends.
        .arg("--end-with-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.reopen()?)
        .kill_on_drop(true)
        .spawn();
    Ok(up?)
}

/// Why the stack has ended, as it said last; the log is kept.
fn ended(status: ExitStatus, log: NamedTempFile) -> Result<Error, Error> {
    let said = std::fs::read_to_string(log.path())?;
    let last = said.rfind("\nruncast: ").map_or(0, |end| end + 1);
    let (_, path) = log.keep()?;
    let (path, why) = (path.display(), said[last..].trim_end());
    Ok(format!("the stack ended ({status}); its log is {path}:\n{why}").into())
}

async fn play(stdout: ChildStdout, once: bool) -> Result<(), Error> {
    let line = BufReader::new(stdout).lines().next_line().await?;
    let Some(line) = line else {
        // It has ended: whoever waits for it learns why.
        return std::future::pending().await;
    };
    let ready: Value = serde_json::from_str(&line)?;
    let text = |name: &str| ready.get(name).and_then(Value::as_str).unwrap_or_default();
    let (url, token, redis_url) = (text("url"), text("token"), text("redisUrl"));
    let env = config::Env::of_process().with([("REDIS_URL".to_owned(), redis_url.to_owned())]);
    let queues = config::Queues::from_env(&env)?;
    for number in 1.. {
        let stage = Stage::new(url, Some(redis_url), &queues.prefix)?;
        eprintln!("scene {number}; watch it at {url}");
        stage.play().await?;
        eprintln!(
            "\nDashboard:  {url}\nOne run:    curl -N -H 'Authorization: Bearer {token}' \
             {url}/api/job-status/events/{}\n",
            stage.first_run()
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
