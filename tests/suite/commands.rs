//! The commands, and what a stack leaves behind.

use integration::{
    PATIENCE, binary, eventually,
    stack::{Stack, gone, signal},
};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::process::Command;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn what_is_published_arrives_at_a_tail() {
    let stack = Stack::start().await;
    let tail = stack.runcast(&["tail", "job", "r1"]);
    let publish = async {
        eventually("the tail listens", async || {
            (stack.subscribers("job", "r1").await == 1).then_some(())
        })
        .await;
        for status in ["running", "passed"] {
            let output = stack.runcast(&["publish", "job", "r1", status]).await;
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(
                (output.status.code(), &answer["accepted"]),
                (Some(0), &Value::from(1))
            );
        }
    };
    let (tail, ()) = tokio::join!(tail, publish);
    let (lines, summary) = (text(&tail.stdout), text(&tail.stderr));
    let words: Vec<Vec<_>> = lines
        .lines()
        .map(|line| line.split_whitespace().take(3).collect())
        .collect();
    assert_eq!(
        words,
        [
            ["r1", "0", "waiting"],
            ["r1", "1", "running"],
            ["r1", "2", "passed"]
        ]
    );
    assert!(summary.contains("end: complete"), "{summary}");
    assert!(
        summary.contains("3 frames, 0 gaps, 0 duplicates, 0 reconnects"),
        "{summary}"
    );
    assert!(tail.status.success());
    // A second one is answered from the log.
    let again = stack.runcast(&["tail", "job", "r1", "--json"]).await;
    let state: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        (&state["status"], &state["seq"]),
        (&Value::from("passed"), &Value::from(2))
    );
}

#[tokio::test]
async fn a_tail_comes_back_and_misses_nothing() {
    let stack = Stack::start().await;
    let tail = stack.runcast(&["tail", "job", "r1"]);
    let publish = async {
        let mut killed = Vec::new();
        for _ in 0..3 {
            let pid = eventually("the tail is served", async || {
                let pids = stack.pids("job-status").await;
                pids.into_iter().find(|pid| !killed.contains(pid))
            })
            .await;
            signal(pid, Signal::SIGKILL);
            gone(pid).await;
            killed.push(pid);
            stack.publish("job", "r1", "running").await;
        }
        stack.publish("job", "r1", "passed").await;
    };
    let (tail, ()) = tokio::join!(tail, publish);
    let summary = text(&tail.stderr);
    assert!(tail.status.success(), "{summary}");
    // How many states it saw depends on when it was cut off.
    assert!(summary.contains("end: complete"), "{summary}");
    assert!(
        summary.contains(" 0 gaps, 0 duplicates, 3 reconnects"),
        "{summary}"
    );
}

#[tokio::test]
async fn a_refused_update_fails_the_command_and_says_why() {
    let stack = Stack::start().await;
    let output = stack.runcast(&["publish", "job", "r", "flying"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("unknown status; send waiting, running,"));
}

#[tokio::test]
async fn a_command_without_a_stack_says_what_to_do() {
    let output = Command::new(binary("runcast"))
        .args([
            "publish",
            "job",
            "r",
            "running",
            "--url",
            "http://127.0.0.1:9",
        ])
        .output()
        .await
        .unwrap();
    assert!(
        text(&output.stderr).contains("start `runcast up`"),
        "{}",
        text(&output.stderr)
    );
}

#[tokio::test]
async fn every_command_has_help_with_examples() {
    for command in ["up", "publish", "tail", "token"] {
        let output = Command::new(binary("runcast"))
            .args([command, "--help"])
            .output()
            .await;
        assert!(
            text(&output.unwrap().stdout).contains("Examples:"),
            "{command}"
        );
    }
}

#[tokio::test]
async fn bad_configuration_stops_at_start_with_one_line() {
    for (variable, value) in [
        ("STREAM_WINDOW_SECONDS", "soon"),
        ("DATABASE_IDLE_SECONDS", "0"),
        ("AUTH_JWKS", "{}"),
        ("CORS_ALLOWED_ORIGINS", "example.com"),
    ] {
        // As the stack finds it …
        let up = Command::new(binary("runcast"))
            .args(["up", "--port", "0"])
            .env(variable, value)
            .output();
        let up = tokio::time::timeout(PATIENCE, up)
            .await
            .expect("it stops")
            .unwrap();
        assert_eq!(up.status.code(), Some(1), "{variable}");
        let says = format!("runcast: {variable} ");
        assert!(text(&up.stderr).contains(&says), "{}", text(&up.stderr));
        // … and as Lambda would.
        let function = Command::new(binary("job-status"))
            .env("REDIS_URL", "redis://127.0.0.1:1")
            .env("DATABASE_URL", "postgres://u@127.0.0.1:1/d")
            .env("AUTH_JWKS", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#)
            .env("AUTH_ISSUER", "i")
            .env("AUTH_AUDIENCE", "a")
            .env(variable, value)
            .output();
        let function = tokio::time::timeout(PATIENCE, function)
            .await
            .expect("it stops")
            .unwrap();
        let said = text(&function.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.starts_with(variable) && said.contains("it takes"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn two_stacks_run_beside_each_other() {
    let (one, two) = tokio::join!(Stack::start(), Stack::start());
    one.publish("job", "r", "running").await;
    two.publish("job", "r", "passed").await;
    assert_eq!(
        one.watch("/api/job-status/events/r").await.status().await.0,
        "running"
    );
    assert_eq!(
        two.watch("/api/job-status/events/r").await.status().await.0,
        "passed"
    );
}

#[tokio::test]
async fn a_stack_uses_the_servers_it_is_given() {
    let owner = Stack::start().await;
    let options = [
        "--redis-url",
        &owner.redis_url,
        "--database-url",
        &owner.database_url,
    ];
    let guest = Stack::with(&options, &[]).await;
    let mut viewer = owner.watch("/api/job-status/events/r").await;
    viewer.state().await;
    guest.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await.0, [1]);
}

#[tokio::test]
async fn nothing_is_left_behind_however_a_stack_ends() {
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL];
    for how in signals.map(Some).into_iter().chain([None]) {
        let mut stack = Stack::start().await;
        let mut viewer = stack.watch("/api/job-status/events/r").await;
        viewer.state().await;
        let data = stack.data_directory().await;
        let postgres = stack.postgres().await;
        let backend = postgres.query_one("SELECT pg_backend_pid()", &[]).await;
        let mut processes = stack.pids("job-status").await;
        processes.push(stack.valkey_pid().await);
        processes.push(nix::unistd::Pid::from_raw(backend.unwrap().get(0)));
        match how {
            Some(how) => signal(stack.pid(), how),
            // As where this process had died.
            None => drop(stack.child.stdin.take()),
        }
        for process in processes {
            gone(process).await;
        }
        eventually("the folder is removed", async || {
            (!std::path::Path::new(&data).exists()).then_some(())
        })
        .await;
    }
}
