//! `runcast demo`: the whole stack, and a lively scene to look at.

use std::{process::ExitCode, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
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
    let log = tempfile::Builder::new()
        .prefix("runcast-demo-")
        .suffix(".log")
        .tempfile()?;
    eprintln!(
        "starting Valkey, Postgres and five functions (log: {})",
        log.path().display()
    );
    let mut up = Command::new(std::env::current_exe()?);
    // The queue of the scene, where nothing else was configured.
    for (name, value) in [
        ("QUEUE_NAMES", QUEUE.to_owned()),
        ("RUNNING_CAPACITY", RUNNING.to_string()),
        ("QUEUED_CAPACITY", QUEUED.to_string()),
    ] {
        if std::env::var_os(name).is_none() {
            up.env(name, value);
        }
    }
    let mut up = up
        .args(["up", "--port", &options.port.to_string()])
        // It ends with this process, however that ends.
        .arg("--end-with-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log.reopen()?)
        .kill_on_drop(true)
        .spawn()?;
    // Waiting for a child closes its stdin.
    let open = up.stdin.take();
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
    let (url, token, redis_url) = (text("url"), text("token"), text("redisUrl"));
    tokio::select! {
        result = play(url, token, redis_url, options.once) => result?,
        _ = tokio::signal::ctrl_c() => {}
        status = up.wait() => return Err(format!("the stack ended ({})", status?).into()),
    }
    drop(open);
    let _ = up.wait().await;
    Ok(ExitCode::SUCCESS)
}

async fn play(url: &str, token: &str, redis_url: &str, once: bool) -> Result<(), Error> {
    for number in 1.. {
        let stage = Stage::new(url, Some(redis_url))?;
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
