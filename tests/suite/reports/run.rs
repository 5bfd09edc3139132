//! A command under `runcast run`.

use std::time::{Duration, SystemTime};

use integration::{
    PATIENCE, checkout, eventually, free_port,
    proxy::{Mode, Proxy},
    stack::{Stack, signal},
};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

use super::{command, finished, pid, run_state, tests, text};

#[tokio::test]
async fn a_command_is_a_run_that_ends_as_it_does() {
    let stack = Stack::start().await;
    for (script, status, code, details) in [
        ("exit 0", "passed", 0, None),
        ("exit 3", "failed", 3, Some("exit code 3")),
        ("kill -9 $$", "error", 137, Some("ended by SIGKILL")),
        ("kill -15 $$", "cancelled", 143, Some("ended by SIGTERM")),
    ] {
        let run_id = format!("r-{code}");
        let script = format!("echo out; echo err >&2; {script}");
        let arguments = [
            "run",
            "--run",
            &run_id,
            "--job",
            "nightly",
            "--name",
            "Nightly ü",
            "--",
        ];
        let arguments = [&arguments[..], &["sh", "-c", &script]].concat();
        let output = finished(command(&stack.url, &arguments)).await;
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(text(&output.stdout), "out\n");
        let said = text(&output.stderr);
        let watch = format!("runcast: watch this run at {}/#/runs/{run_id}\n", stack.url);
        assert!(
            said.starts_with(&watch) && said.ends_with("err\n"),
            "{said}"
        );
        let state = run_state(&stack, &run_id).await;
        assert_eq!(state["status"], status, "{script}");
        assert_eq!(state["errorDetails"].as_str(), details);
        assert_eq!(
            (&state["jobId"], &state["name"]),
            (&json!("nightly"), &json!("Nightly ü"))
        );
    }
    let missing = finished(command(
        &stack.url,
        &["run", "--run", "m", "--", "/no/such"],
    ))
    .await;
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(run_state(&stack, "m").await["status"], "error");
}

#[tokio::test]
async fn what_asks_a_command_to_end_is_passed_on() {
    let stack = Stack::start().await;
    for (number, how) in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .enumerate()
    {
        let run_id = format!("r{number}");
        let script =
            "trap 'echo cleaned; exit 4' INT TERM HUP; echo on; while :; do sleep 0.05; done";
        let arguments = ["run", "--run", &run_id, "--", "sh", "-c", script];
        let child = command(&stack.url, &arguments).spawn().unwrap();
        eventually("it runs", async || {
            let query = format!("SELECT count(*) FROM executions WHERE id = '{run_id}'");
            (stack.number(&query).await == 1).then_some(())
        })
        .await;
        signal(pid(&child), how);
        let output = timeout(PATIENCE, child.wait_with_output())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(text(&output.stdout), "on\ncleaned\n", "{how}");
        assert_eq!(output.status.code(), Some(4));
        assert_eq!(run_state(&stack, &run_id).await["status"], "cancelled");
    }
}

#[tokio::test]
async fn without_a_server_a_command_runs_as_it_would() {
    let stack = Stack::start().await;
    // One that takes connections and never answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let away = format!("http://127.0.0.1:{}", free_port());
    let token = stack.token(&["--org", "demo"]).await;
    let token = ["--token", &token, "--project", "demo"];
    for (url, options) in [
        (&away, &[][..]),
        (&silent_url, &[]),
        (&away, &token),
        (&silent_url, &token),
        // It lacks status:write.
        (&stack.url, &token),
    ] {
        let script = "echo out; sleep 0.5; exit 7";
        let arguments = [&["run"], options, &["--", "sh", "-c", script]].concat();
        let started = Instant::now();
        let output = finished(command(url, &arguments)).await;
        let took = started.elapsed();
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(text(&output.stdout), "out\n");
        let said = text(&output.stderr);
        assert!(
            said.contains("runcast: not everything could be sent: "),
            "{said}"
        );
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(took < Duration::from_millis(3500), "{took:?}");
    }
}

#[tokio::test]
async fn a_server_that_comes_back_learns_all_of_it_once() {
    let stack = Stack::start().await;
    let (proxy, url) = Proxy::before(&format!("{}/", stack.url)).await;
    proxy.set(Mode::Refuse);
    let arguments = ["run", "--run", "r", "--", "sh", "-c", "sleep 4"];
    let child = command(&url, &arguments).spawn().unwrap();
    proxy.has_refused().await;
    proxy.set(Mode::Pass);
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text(&output.stderr).lines().count(), 1, "{output:?}");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(viewer.rest().await.0, [0, 1, 2]);
}

#[tokio::test]
async fn a_run_is_named_by_the_ci_and_its_command_knows() {
    let stack = Stack::start().await;
    let mut run = command(
        &stack.url,
        &[
            "run",
            "--",
            "sh",
            "-c",
            "echo $RUNCAST_RUN_ID $RUNCAST_RUN_BY",
        ],
    );
    for (variable, value) in [
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_REPOSITORY", "acme/web"),
        ("GITHUB_RUN_ID", "17"),
        ("GITHUB_RUN_ATTEMPT", "2"),
        ("GITHUB_JOB", "e2e"),
        ("GITHUB_WORKFLOW", "Tests"),
        ("GITHUB_SHA", "c0ffee"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_REF_NAME", "main"),
    ] {
        run.env(variable, value);
    }
    run.env_remove("GITHUB_HEAD_REF")
        .env_remove("RUNCAST_RUN_ID");
    let output = finished(run).await;
    assert_eq!(text(&output.stdout), "github-17-2-e2e runcast-run\n");
    let state = run_state(&stack, "github-17-2-e2e").await;
    assert_eq!(state["rerunOf"], "github-17-e2e");
    assert_eq!(
        state["url"],
        "https://github.com/acme/web/actions/runs/17/attempts/2"
    );
    assert_eq!(
        state["labels"],
        json!({"branch": "main", "ci": "github", "commit": "c0ffee"})
    );
    assert_eq!(state["name"], "Tests / e2e");
}

#[tokio::test]
async fn eight_shards_are_one_run_that_ends_as_the_worst() {
    let stack = Stack::start().await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    let shards = (1..=8).map(|index| {
        let shard = format!("{index}/8");
        let script = format!("sleep 0.{index}; exit {}", u8::from(index == 3));
        let arguments = [
            "run", "--run", "r", "--shard", &shard, "--", "sh", "-c", &script,
        ];
        finished(command(&stack.url, &arguments))
    });
    futures_util::future::join_all(shards).await;
    viewer.rest().await;
    let state = run_state(&stack, "r").await;
    assert_eq!(state["status"], "failed");
    assert_eq!(state["shards"], json!({"total": 8, "ended": 8}));
}

#[tokio::test]
async fn what_a_command_writes_is_told_while_it_runs() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let reports = folder.path().join("reports");
    std::fs::create_dir(&reports).unwrap();
    // Of the run before.
    let old = reports.join("old.xml");
    std::fs::write(&old, "<testsuite><testcase name='old'/></testsuite>").unwrap();
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    let file = std::fs::File::options().write(true).open(&old).unwrap();
    file.set_modified(hour_ago).unwrap();
    let go = folder.path().join("go");
    let script = format!(
        "cp {}/gradle.xml {}; while ! [ -e {} ]; do sleep 0.05; done; cp {}/surefire.xml {}; exit 1",
        checkout("tests/results").display(),
        reports.display(),
        go.display(),
        checkout("tests/results").display(),
        reports.display(),
    );
    let pattern = reports.join("*.xml").display().to_string();
    let arguments = [
        "run", "--run", "r", "--junit", &pattern, "--", "sh", "-c", &script,
    ];
    let child = command(&stack.url, &arguments).spawn().unwrap();
    eventually("the first tests are there", async || {
        (tests(&stack, "r").await.len() == 3).then_some(())
    })
    .await;
    std::fs::write(&go, "").unwrap();
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let state = run_state(&stack, "r").await;
    assert_eq!(state["status"], "failed");
    let counts = &state["tests"];
    assert_eq!(
        (&counts["total"], &counts["failed"], &counts["flaky"]),
        (&json!(7), &json!(1), &json!(2))
    );
}
