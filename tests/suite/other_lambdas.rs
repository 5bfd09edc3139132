//! The sample payloads in `infra/events`, in three runtimes: Runcast's own local Lambda, `cargo
//! lambda watch`, and AWS's Runtime Interface Emulator. What passes in all three depends on no
//! peculiarity of one.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use integration::{
    PATIENCE, binary, checkout, children, eventually, free_port,
    stack::{SHARED_TOKEN, Stack, gone, signal},
    viewer::Viewer,
};
use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

/// Which function takes which payload, in an order in which every stream finds what it shows.
const SAMPLES: [(&str, &str); 8] = [
    ("migrate", "migrate"),
    ("worker", "sqs-batch"),
    ("worker", "direct-invocation"),
    ("ingest", "updates"),
    ("test-status", "test-status"),
    ("job-status", "job-status"),
    ("queue-stats", "queue-stats"),
    ("migrate", "prune"),
];

/// Statistics never end by themselves: a short window makes a stream of them rotate.
const SHORT: [(&str, &str); 1] = [("STREAM_WINDOW_SECONDS", "1")];

/// How long `cargo lambda` may take: where sources have changed since the build, it compiles.
const COMPILER_PATIENCE: Duration = Duration::from_mins(5);

/// A sample payload as a user sends it: with a token.
fn sample(name: &str, token: &str) -> String {
    let path = checkout(&format!("infra/events/{name}.json"));
    let text = std::fs::read_to_string(path).unwrap();
    text.replace("\"TOKEN\"", &format!("\"{token}\""))
}

/// Asserts the answer to a sample payload; a stream's is given without its prelude.
fn assert_answer(name: &str, answer: &str) {
    let json = || serde_json::from_str::<Value>(answer).unwrap_or_default();
    let (shows, ends) = match name {
        // The stack has migrated already, and nothing is old enough to go.
        "migrate" => return assert_eq!(json(), json!({"applied": []}), "{answer}"),
        "prune" => {
            let nothing = json!({"prunedEvents": 0, "prunedRejectedUpdates": 0});
            return assert_eq!(json(), nothing, "{answer}");
        }
        "sqs-batch" => return assert_eq!(json(), json!({"batchItemFailures": []}), "{answer}"),
        "direct-invocation" | "updates" => {
            let accepted = json!({"accepted": 2, "duplicates": 0, "rejected": [], "warnings": []});
            return assert_eq!(json(), accepted, "{answer}");
        }
        "test-status" => (r#""status":"passed","seq":2,"attempt":2"#, "complete"),
        // What its tests did in a batch is one event of the run, too.
        "job-status" => (r#""status":"passed","seq":4,"attempt":1"#, "complete"),
        _ => (r#""running":0,"runningCapacity":5"#, "rotate"),
    };
    assert!(answer.starts_with("retry: "), "{name}: {answer}");
    assert!(answer.contains(shows), "{name}: {answer}");
    let end = format!("event: end\ndata: {{\"reason\":\"{ends}\"}}");
    assert!(answer.trim_end().ends_with(&end), "{name}: {answer}");
}

/// The body of a streamed answer whose prelude is right; any other answer as it is.
fn without_prelude(answer: &str) -> &str {
    let Some((prelude, body)) = answer.split_once("\0\0\0\0\0\0\0\0") else {
        return answer;
    };
    let prelude: Value = serde_json::from_str(prelude).unwrap();
    assert_eq!(prelude["statusCode"], 200, "{prelude}");
    let content_type = prelude["headers"]["content-type"].as_str().unwrap();
    assert!(["text/event-stream", "application/json"].contains(&content_type));
    body
}

/// A tool that `make setup-tests` installs.
fn tool(pattern: &str, path: Option<PathBuf>) -> PathBuf {
    let path = path.filter(|path| path.exists());
    path.unwrap_or_else(|| panic!("{pattern} is missing: run `make setup-tests`"))
}

fn cargo_lambda() -> PathBuf {
    tool("cargo-lambda", Some(checkout(".venv/bin/cargo-lambda")))
}

/// The emulator as AWS SAM's wheel carries it; the folder's name has Python's version in it.
fn interface_emulator() -> PathBuf {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    };
    let name = format!("aws-lambda-rie-{architecture}");
    let inside = format!("site-packages/samcli/local/rapid/{name}");
    let pythons = std::fs::read_dir(checkout(".venv/lib"))
        .into_iter()
        .flatten();
    let mut candidates = pythons.flatten().map(|python| python.path().join(&inside));
    tool(&name, candidates.find(|path| path.exists()))
}

/// A runtime that runs functions. Dropped, it ends.
struct Runtime {
    port: u16,
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Runtime {
    /// Starts a runtime, and waits until it listens.
    async fn start(mut command: Command, port: u16) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        // Opened once: two openings would write over each other.
        let out = log.reopen().unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let runtime = Runtime { port, child, log };
        eventually("the runtime listens", async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        runtime
    }

    /// `cargo lambda watch`, which takes the binaries that are built unless sources have changed.
    async fn cargo_lambda(stack: &Stack, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = Command::new(cargo_lambda());
        command
            .args(["lambda", "watch", "--ignore-changes"])
            .args(["--invoke-address", "127.0.0.1", "--invoke-port"])
            .arg(port.to_string())
            .envs(stack.variables())
            .envs(settings.iter().copied())
            .current_dir(checkout(""));
        Self::start(command, port).await
    }

    /// AWS's emulator around one function.
    async fn interface_emulator(stack: &Stack, function: &str) -> Self {
        let (port, api) = (free_port(), free_port());
        let mut command = Command::new(interface_emulator());
        command
            .args(["--runtime-interface-emulator-address"])
            .arg(format!("127.0.0.1:{port}"))
            .args(["--runtime-api-address"])
            .arg(format!("127.0.0.1:{api}"))
            .arg(binary(function))
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .envs(stack.variables())
            .envs(SHORT);
        Self::start(command, port).await
    }

    /// Ends the runtime as Ctrl-C does, and asserts that it leaves no function behind.
    async fn stop(mut self) {
        let pid = self.pid().unwrap();
        let functions = children(pid);
        assert!(!functions.is_empty(), "a function runs");
        signal(pid, Signal::SIGINT);
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap().unwrap();
        for function in functions {
            gone(function).await;
        }
    }

    fn pid(&self) -> Option<Pid> {
        let pid = self.child.id()?;
        i32::try_from(pid).ok().map(Pid::from_raw)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            signal(pid, Signal::SIGTERM);
        }
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.log.path());
            eprintln!("the runtime said:\n{}", said.unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn every_sample_payload_works_in_runcasts_own_lambda() {
    let stack = Stack::with(&[], &SHORT).await;
    for (function, name) in SAMPLES {
        let token = match function {
            "ingest" => &stack.write_token,
            _ => &stack.token,
        };
        let payload = sample(name, token);
        let answer = stack.invoke_raw(function, payload).await;
        assert!(!answer.headers().contains_key("x-amz-function-error"));
        let answer = answer.text().await.unwrap();
        let streams = function != "migrate" && function != "worker";
        assert_eq!(answer.contains('\0'), streams, "{name}: {answer}");
        assert_answer(name, without_prelude(&answer));
    }
}

#[tokio::test]
async fn every_sample_payload_works_in_cargo_lambda() {
    let stack = Stack::start().await;
    let runtime = Runtime::cargo_lambda(&stack, &SHORT).await;
    let folder = tempfile::tempdir().unwrap();
    for (function, name) in SAMPLES {
        let file = folder.path().join("payload.json");
        std::fs::write(&file, sample(name, SHARED_TOKEN)).unwrap();
        let command = Command::new(cargo_lambda())
            .args(["lambda", "invoke", function])
            .args(["--invoke-address", "127.0.0.1", "--invoke-port"])
            .arg(runtime.port.to_string())
            .arg("--data-file")
            .arg(&file)
            .kill_on_drop(true)
            .output();
        let output: Output = timeout(COMPILER_PATIENCE, command).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        // It takes the prelude away.
        assert_answer(name, &String::from_utf8_lossy(&output.stdout));
    }
    runtime.stop().await;
}

/// Its deadlines are in 1970: a stream that took them at their word would end at once.
#[tokio::test]
async fn a_stream_is_live_through_cargo_lambdas_function_urls() {
    let stack = Stack::start().await;
    let runtime = Runtime::cargo_lambda(&stack, &[]).await;
    let path = "lambda-url/job-status/api/job-status/events/r";
    let request = reqwest::Client::new()
        .get(format!("http://127.0.0.1:{}/{path}", runtime.port))
        .header("X-Auth-Token", SHARED_TOKEN)
        .send();
    let response = timeout(COMPILER_PATIENCE, request).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    let mut viewer = Viewer::new(response);
    assert_eq!(viewer.status().await, ("waiting".to_owned(), 0));
    for (seq, status) in [(1, "running"), (2, "passed")] {
        stack.publish("job", "r", status).await;
        assert_eq!(viewer.status().await, (status.to_owned(), seq));
    }
    assert_eq!(viewer.rest().await.1.as_deref(), Some("complete"));
    runtime.stop().await;
}

/// The emulator cannot stream: it collects an answer, prelude and all, and passes it on once the
/// function has ended it (aws-lambda-runtime-interface-emulator, issue 175).
#[tokio::test]
async fn every_sample_payload_works_in_awss_interface_emulator() {
    let stack = Stack::start().await;
    for (function, name) in SAMPLES {
        let runtime = Runtime::interface_emulator(&stack, function).await;
        let path = "2015-03-31/functions/function/invocations";
        let answer = reqwest::Client::new()
            .post(format!("http://127.0.0.1:{}/{path}", runtime.port))
            .body(sample(name, SHARED_TOKEN))
            .timeout(PATIENCE)
            .send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200, "{name}");
        let answer = answer.text().await.unwrap();
        assert_answer(name, without_prelude(&answer));
        runtime.stop().await;
    }
}
