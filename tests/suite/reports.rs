//! `runcast run` and `runcast import`: what producers do that need no code.

mod files;
mod follow;
mod run;

use std::{
    path::Path,
    process::{Output, Stdio},
};

use integration::{PATIENCE, binary, stack::Stack};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// What CIs say, which this test may itself run in.
const CI: [&str; 6] = [
    "GITHUB_RUN_ID",
    "GITLAB_CI",
    "JENKINS_URL",
    "CIRCLECI",
    "BUILDKITE",
    "TF_BUILD",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `runcast` with these arguments, for the stack at this address.
fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("runcast"));
    command.args(arguments).env("RUNCAST_URL", url);
    for variable in CI {
        command.env_remove(variable);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn finished(mut command: Command) -> Output {
    let output = timeout(2 * PATIENCE, command.output()).await;
    output.unwrap().unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap())
}

/// The whole state of a run.
async fn run_state(stack: &Stack, run_id: &str) -> Value {
    let mut viewer = stack
        .watch_owned(format!("/api/job-status/events/{run_id}"))
        .await;
    viewer.state().await
}

/// The tests of a run by name, as they stand.
async fn tests(stack: &Stack, run_id: &str) -> Vec<Value> {
    let query = "SELECT state FROM executions WHERE kind = 'test' AND run_id = $1";
    let rows = stack
        .postgres()
        .await
        .query(query, &[&run_id])
        .await
        .unwrap();
    let mut tests: Vec<Value> = rows
        .iter()
        .map(|row| serde_json::from_str(row.get(0)).unwrap())
        .collect();
    tests.sort_by_key(|test| test["name"].as_str().unwrap().to_owned());
    tests
}

/// Name, status, attempt, flaky; and whether it says what went wrong.
fn told(tests: &[Value]) -> Vec<(String, String, u64, bool, bool)> {
    let told = |test: &Value| {
        let text = |name: &str| test[name].as_str().unwrap().to_owned();
        let (attempt, flaky) = (test["attempt"].as_u64().unwrap(), test["flaky"].as_bool());
        (
            text("name"),
            text("status"),
            attempt,
            flaky.unwrap(),
            !test["error"].is_null(),
        )
    };
    tests.iter().map(told).collect()
}

/// Imports a file as a run of its own; returns its output.
async fn import(stack: &Stack, run_id: &str, file: &Path) -> Output {
    let file = file.display().to_string();
    finished(command(&stack.url, &["import", "--run", run_id, &file])).await
}
