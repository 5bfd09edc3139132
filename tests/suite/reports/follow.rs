//! Files of results that grow, by `runcast import --follow`; and what a producer kept.

use std::{io::Write, time::Duration};

use integration::{
    PATIENCE, checkout, eventually,
    stack::{Stack, gone, signal},
};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::timeout;

use super::{command, import, pid, run_state, tests, text};

#[tokio::test]
async fn a_log_that_grows_is_followed_to_its_end() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    let file = path.display().to_string();
    let arguments = ["import", "--follow", "--run", "r", &file];
    let child = command(&stack.url, &arguments).spawn().unwrap();
    let mut log = std::fs::File::create(&path).unwrap();
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    let line = |when: &str| {
        format!(
            "{{\"$report_type\":\"TestReport\",\"nodeid\":\"a.py::t\",\"when\":\"{when}\",\"outcome\":\"passed\"}}\n"
        )
    };
    log.write_all(line("setup").as_bytes()).unwrap();
    let status = async || {
        Some(
            tests(&stack, "r").await.first()?["status"]
                .as_str()?
                .to_owned(),
        )
    };
    eventually("it runs", async || {
        (status().await? == "running").then_some(())
    })
    .await;
    let call = line("call") + &line("teardown");
    // A line comes in two pieces.
    let (one, two) = call.split_at(30);
    log.write_all(one.as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    log.write_all(two.as_bytes()).unwrap();
    eventually("it has ended", async || {
        (status().await? == "passed").then_some(())
    })
    .await;
    log.write_all(b"{\"$report_type\":\"SessionFinish\",\"exitstatus\":0}\n")
        .unwrap();
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(viewer.rest().await.1.unwrap(), "complete");
}

#[tokio::test]
async fn a_folder_that_fills_is_followed_until_somebody_ends_it() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let pattern = folder.path().display().to_string();
    let arguments = ["import", "--follow", "--run", "r", &pattern];
    let child = command(&stack.url, &arguments).spawn().unwrap();
    for (file, total) in [
        ("gradle.xml", 3),
        ("surefire.xml", 7),
        ("gotestsum.xml", 11),
    ] {
        std::fs::copy(
            checkout("tests/results").join(file),
            folder.path().join(file),
        )
        .unwrap();
        eventually("its tests are there", async || {
            (tests(&stack, "r").await.len() == total).then_some(())
        })
        .await;
    }
    let process = pid(&child);
    signal(process, Signal::SIGINT);
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    gone(process).await;
    assert_eq!(run_state(&stack, "r").await["status"], "failed");
}

#[tokio::test]
async fn what_a_producer_kept_is_sent_as_it_is() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.jsonl");
    let update = |status: &str| json!({"eventId": status, "kind": "job", "id": "kept", "projectId": "demo", "status": status});
    let lines = [update("running"), update("passed")].map(|update| update.to_string() + "\n");
    std::fs::write(&path, lines.concat()).unwrap();
    let output = import(&stack, "r", &path).await;
    assert_eq!(
        text(&output.stdout),
        "2 updates accepted, 0 known already, 0 rejected\n"
    );
    assert_eq!(run_state(&stack, "kept").await["status"], "passed");
    assert_eq!(stack.number("SELECT count(*) FROM executions").await, 1);
}
