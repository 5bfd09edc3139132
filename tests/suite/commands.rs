//! The commands of whoever works with a stack.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Arc, Mutex},
};

use integration::{
    PATIENCE, binary, eventually,
    stack::{Stack, gone, of_run, signal, update},
};
use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
    time::timeout,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A token, as far as one sees without its key.
const TOKEN: &str = "eyJhbGciOiJub25lIn0.e30.c2lnbmF0dXJl";

/// Runs a command without a stack.
async fn runcast(arguments: &[&str]) -> Output {
    let command = Command::new(binary("runcast"))
        .args(arguments)
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, command).await;
    output.unwrap().unwrap()
}

/// A server that gives every request the same answer, and closes; and what it was asked.
async fn server(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            // An answer before the question is none.
            while !is_whole(&text(&request)) && stream.read_buf(&mut request).await.unwrap() > 0 {}
            kept.lock().unwrap().push(text(&request));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

fn is_whole(request: &str) -> bool {
    request.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        let mut lines = head.lines();
        let length = lines.find_map(|line| line.strip_prefix("content-length: "));
        body.len() >= length.map_or(0, |length| length.parse().unwrap())
    })
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
    stack.publish("job", "r", "passed").await;
    let output = stack.runcast(&["publish", "job", "r", "running"]).await;
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let reason = answer["rejected"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("ended"), "{answer}");
}

#[tokio::test]
async fn a_command_without_a_stack_says_what_to_do() {
    for command in [
        &["publish", "job", "r", "running"][..],
        &["tail", "job", "r"],
        &["token", "--org", "o"],
    ] {
        let output = runcast(&[command, &["--url", "http://127.0.0.1:9"]].concat()).await;
        let said = text(&output.stderr);
        let says = "runcast: nothing answers at http://127.0.0.1:9 (Connection refused";
        assert!(said.starts_with(says), "{said}");
        assert!(said.contains("start `runcast up`"), "{said}");
        assert_eq!((said.lines().count(), output.status.code()), (1, Some(1)));
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let (url, asked) = server("").await;
    let output = runcast(&["tail", "job", "r", "--token", TOKEN, "--url", &url]).await;
    let said = text(&output.stderr);
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("runcast: nothing answers at {url} (")),
        "{said}"
    );
    assert!(
        last.ends_with("start `runcast up`, or name it with --url"),
        "{said}"
    );
    assert_eq!(
        (asked.lock().unwrap().len(), output.status.code()),
        (6, Some(1))
    );
}

#[tokio::test]
async fn a_server_that_says_it_is_too_much_is_not_asked_for_ever() {
    let (url, asked) = server(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\n\
         Connection: close\r\n\r\n\
         {\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"status\":429,\
         \"detail\":\"You hold 20 streams:\\nclose one.\",\"requestId\":\"-\"}",
    )
    .await;
    let output = runcast(&["tail", "job", "r", "--token", TOKEN, "--url", &url]).await;
    let said = text(&output.stderr);
    let refusal = "Too Many Requests: You hold 20 streams: close one.";
    let lines: Vec<_> = said.lines().collect();
    let (last, before) = lines.split_last().unwrap();
    assert_eq!(*last, format!("runcast: {refusal}"));
    assert_eq!(before, [refusal; 5]);
    assert_eq!(
        (asked.lock().unwrap().len(), output.status.code()),
        (6, Some(1))
    );
}

#[tokio::test]
async fn a_refusal_is_one_line() {
    let stack = Stack::start().await;
    let elsewhere = stack.token(&["--org", "demo", "--projects", "web"]).await;
    for (arguments, says) in [
        (["tail", "job", "r", "--token", TOKEN], "Unauthorized: "),
        (
            ["tail", "job", "--project=demo", "--token", &elsewhere],
            "Not Found: There is no such",
        ),
    ] {
        let output = stack.runcast(&arguments).await;
        let said = text(&output.stderr);
        assert!(said.starts_with(&format!("runcast: {says}")), "{said}");
        assert!(!said.contains('{'), "{said}");
        assert_eq!((said.lines().count(), output.status.code()), (1, Some(1)));
    }
}

#[tokio::test]
async fn a_server_that_is_no_stack_is_told_apart() {
    let (url, _) = server(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>Hello</p>",
    )
    .await;
    for (command, says) in [
        (&["tail", "job", "r", "--token", TOKEN][..], "no stream"),
        (&["publish", "job", "r", "running"], "no JSON"),
        (&["token", "--org", "o"], "no JSON"),
    ] {
        let output = runcast(&[command, &["--url", &url]].concat()).await;
        let line =
            format!("runcast: {url} is no stack, it answers with {says}: name one with --url\n");
        assert_eq!(text(&output.stderr), line);
        assert_eq!(output.status.code(), Some(1));
    }
}

#[tokio::test]
async fn what_was_not_said_is_not_sent() {
    let (url, asked) = server("").await;
    runcast(&[
        "publish",
        "test",
        "t",
        "timed_out",
        "--event-id",
        "e",
        "--url",
        &url,
    ])
    .await;
    let asked = asked.lock().unwrap().join("");
    let (_, body) = asked.split_once("\r\n\r\n").unwrap();
    let sent: Value = serde_json::from_str(body).unwrap();
    let update = json!({"eventId": "e", "kind": "test", "id": "t", "organizationId": "demo",
                        "projectId": "demo", "status": "timed_out"});
    assert_eq!(sent, json!({"updates": [update]}));
}

#[tokio::test]
async fn what_a_worker_would_leave_out_is_told_before_it_is_sent() {
    let (url, _) = server("").await;
    let publish = ["publish", "job", "r", "passed", "--report-path", "x"];
    let output = runcast(&[&publish[..], &["--url", &url]].concat()).await;
    let said = text(&output.stderr);
    assert!(
        said.contains("reportPath") && said.contains("only a test has one"),
        "{said}"
    );
}

#[tokio::test]
async fn a_message_alone_is_progress() {
    let stack = Stack::start().await;
    let publish = ["publish", "job", "r", "running", "--message", "Building"];
    let output = stack.runcast(&publish).await;
    assert!(output.status.success(), "{output:?}");
    let state = stack.watch("/api/job-status/events/r").await.state().await;
    assert_eq!(state["progress"]["message"], "Building");
}

#[tokio::test]
async fn every_command_has_help_with_examples() {
    let help = async |arguments: &[&str]| {
        let output = Command::new(binary("runcast")).args(arguments).output();
        text(&output.await.unwrap().stdout)
    };
    let all = help(&["--help"]).await;
    let (_, commands) = all.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let commands: Vec<_> = commands
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.contains(&"up"), "{commands:?}");
    for command in commands {
        assert!(
            help(&[command, "--help"]).await.contains("Examples:"),
            "{command}"
        );
    }
}

#[tokio::test]
async fn a_shell_completes_commands_and_their_options() {
    // What bash calls for `runcast pub<Tab>`, and for `runcast publish job r --art<Tab>`.
    let complete = "source <(\"$1\" completions bash)
        COMP_WORDS=(\"${@:2}\") COMP_CWORD=$(($# - 2))
        _runcast runcast \"${COMP_WORDS[COMP_CWORD]}\" && echo \"${COMPREPLY[@]}\"";
    for (words, completed) in [
        (&["runcast", "pub"][..], "publish\n"),
        (
            &["runcast", "publish", "job", "r", "--art"],
            "--artifact-paths\n",
        ),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["-c", complete, "bash"]).arg(binary("runcast"));
        let output = bash.args(words).output().await.unwrap();
        assert_eq!(text(&output.stdout), completed, "{output:?}");
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let output = runcast(&["completions", shell]).await;
        assert!(text(&output.stdout).contains("publish"), "{shell}");
    }
}

#[tokio::test]
async fn all_that_a_producer_may_say_can_be_published() {
    let stack = Stack::start().await;
    let said = [
        ("--job-id", "jobId", "nightly"),
        ("--started-at", "startedAt", "2026-01-31T12:00:00.000Z"),
        ("--completed-at", "completedAt", "2026-01-31T12:01:05.000Z"),
        ("--occurred-at", "occurredAt", "2026-01-31T12:02:00.000Z"),
        ("--error-details", "errorDetails", "none"),
    ];
    let options = said.iter().flat_map(|(option, _, value)| [*option, value]);
    let arguments: Vec<_> = ["publish", "job", "r", "passed"]
        .into_iter()
        .chain(options)
        .collect();
    assert!(stack.runcast(&arguments).await.status.success());
    let state = stack.watch("/api/job-status/events/r").await.state().await;
    for (_, name, value) in said {
        assert_eq!(state[name], value, "{name}");
    }
}

#[tokio::test]
async fn how_old_a_first_state_is_counts_as_no_latency() {
    let stack = Stack::start().await;
    let mut passed = update("job", "r", "passed");
    passed["occurredAt"] = json!("2026-01-31T12:00:00Z");
    stack.send(json!([passed])).await;
    let tail = stack.runcast(&["tail", "job", "r"]).await;
    let summary = text(&tail.stderr);
    assert!(summary.contains("1 frames, 0 gaps"), "{summary}");
    assert!(summary.contains("no latency"), "{summary}");
}

#[tokio::test]
async fn a_tail_shows_every_test_of_a_run() {
    let stack = Stack::start().await;
    for (id, status) in [("a", "failed"), ("b", "passed")] {
        let answer = stack.send(json!([of_run("r", id, status)])).await;
        assert_eq!(answer["accepted"], 1, "{answer}");
    }
    stack.publish("job", "r", "failed").await;
    let tail = stack.runcast(&["tail", "test", "--run", "r"]).await;
    let (told, summary) = (text(&tail.stdout), text(&tail.stderr));
    let told: Vec<_> = told.lines().map(|line| line.chars().next()).collect();
    assert_eq!(told, [Some('a'), Some('b')], "failures first");
    assert!(summary.contains("end: complete"), "{summary}");
    let wrong = runcast(&["tail", "job", "--run", "r"]).await;
    assert!(text(&wrong.stderr).contains("runcast tail test --run r"));
}

#[tokio::test]
async fn what_is_missing_after_its_cursor_fails_a_tail() {
    // A server that loses events: c has gone on from 5 to 6, a from 3 to 7.
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = server.accept().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        let body = "id: 3,9,6\ndata: {\"runId\":\"c\",\"seq\":6}\n\n\
                    id: 7,9,6\ndata: {\"runId\":\"a\",\"seq\":7}\n\n\
                    event: end\ndata: {\"reason\":\"complete\"}\n\n";
        let answer = format!("{head}{body}");
        // An answer before the question is none.
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let tail = Command::new(binary("runcast"))
        .args(["tail", "job", "a", "b", "a", "c"])
        .args(["--last-event-id", "3,9,5", "--token", TOKEN, "--url", &url])
        .kill_on_drop(true)
        .output();
    let (tail, ()) = tokio::join!(timeout(PATIENCE, tail), serve);
    let tail = tail.expect("it ends").unwrap();
    let summary = text(&tail.stderr);
    assert!(
        summary.contains("2 frames, 1 gaps, 0 duplicates"),
        "{summary}"
    );
    assert!(!tail.status.success());
}

#[tokio::test]
async fn a_token_that_would_live_too_long_is_refused() {
    let stack = Stack::start().await;
    let response = reqwest::Client::new()
        .post(format!("{}/_local/token", stack.url))
        .json(&json!({"org": "o", "ttlSeconds": u64::MAX}))
        .send();
    let problem: Value = response.await.unwrap().json().await.unwrap();
    assert_eq!(problem["detail"], "the token would live too long");
}

/// `runcast demo`, whose logs and stacks are in this folder.
fn demo(folder: &Path) -> Command {
    // The server's user enters it too.
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o711)).unwrap();
    let mut demo = Command::new(binary("runcast"));
    demo.arg("demo").env("TMPDIR", folder).kill_on_drop(true);
    demo
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[tokio::test]
async fn a_demo_that_cannot_start_says_why_and_keeps_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = demo(folder.path()).args(["--port", &port]).output();
    let output = timeout(PATIENCE, output).await.expect("it ends").unwrap();
    assert!(!output.status.success());
    let said = text(&output.stderr);
    let why = format!("\nruncast: port {port} cannot be used");
    assert!(said.contains(&why), "{said}");
    let [log] = files(folder.path()).try_into().unwrap();
    assert!(said.contains(log.to_str().unwrap()), "{said}");
}

#[tokio::test]
async fn a_demo_that_is_ended_while_it_starts_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = demo(folder.path());
    let mut demo = demo
        .args(["--port", "0"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("its stack has a folder", async || {
        let folders = files(folder.path())
            .into_iter()
            .filter(|path| path.is_dir());
        (folders.count() == 1).then_some(())
    })
    .await;
    let pid = Pid::from_raw(i32::try_from(demo.id().unwrap()).unwrap());
    signal(pid, Signal::SIGTERM);
    let ended = timeout(PATIENCE, demo.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
    eventually("nothing is left", async || {
        files(folder.path()).is_empty().then_some(())
    })
    .await;
}
