//! The specification for machines, `docs/openapi.json`: all that is in it is seen, and nothing else.

mod document;
mod worker;

use std::time::Duration;

use document::Document;
use integration::{
    checkout, eventually,
    stack::{Stack, gone, signal, update},
    viewer::Viewer,
};
use nix::sys::signal::Signal;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::{process::Command, time::timeout};

const STATUSES: [&str; 8] = [
    "waiting",
    "running",
    "completed",
    "passed",
    "failed",
    "error",
    "cancelled",
    "skipped",
];

/// A stack, and the specification that its answers are held to.
struct Held {
    stack: Stack,
    document: Document,
}

impl Held {
    /// Asks with a token; `path` as the specification has it, `instead` what to ask for.
    async fn get(&mut self, path: &str, instead: &str, token: Option<&str>) -> Option<Viewer> {
        let answer = ask(&self.stack, Method::GET, instead, token).await;
        self.document.see_answer(path, "get", answer).await
    }

    /// Opens a stream, after a cursor where there is one.
    async fn watch(&mut self, path: &str, instead: &str, last_event_id: Option<&str>) -> Viewer {
        let answer = self.stack.get(instead, last_event_id).await;
        let viewer = self.document.see_answer(path, "get", answer).await;
        viewer.unwrap()
    }

    /// Reads a stream to its end; returns the names of its frames, `end` with its reason.
    async fn rest(&mut self, path: &str, mut viewer: Viewer) -> Vec<String> {
        let mut names = Vec::new();
        while let Some((name, data)) = self.document.see_frame(path, &mut viewer).await {
            let reason = data["reason"].as_str();
            names.push(reason.map_or(name, str::to_owned));
        }
        names
    }

    /// The same for a stream that is closed once there have been so many states.
    async fn close_after(&mut self, states: usize, path: &str, mut viewer: Viewer) -> Vec<String> {
        let (_, opening) = self.document.see_frame(path, &mut viewer).await.unwrap();
        let mut left = states;
        while left > 0 {
            let (name, _) = self.document.see_frame(path, &mut viewer).await.unwrap();
            left -= usize::from(name == "message");
        }
        let (function, _) = path.split_once("/events").unwrap();
        let id = opening["streamId"].as_str().unwrap();
        let close = format!("{function}/streams/{id}/close");
        let closed = ask(&self.stack, Method::POST, &close, None).await;
        let path_of_close = format!("{function}/streams/{{streamId}}/close");
        self.document
            .see_answer(&path_of_close, "post", closed)
            .await;
        self.rest(path, viewer).await
    }
}

async fn ask(stack: &Stack, method: Method, path: &str, token: Option<&str>) -> Response {
    let url = format!("{}{path}", stack.url);
    let request = reqwest::Client::new().request(method, url);
    let request = token
        .into_iter()
        .fold(request, reqwest::RequestBuilder::bearer_auth);
    request.send().await.unwrap()
}

/// An update with all that this kind can have.
fn full(kind: &str, id: &str, status: &str) -> Value {
    let mut full = update(kind, id, status);
    let optional = json!({
        "occurredAt": "2026-01-31T12:00:00.5+01:00", "startedAt": "2026-01-31T11:00:00Z",
        "completedAt": "2026-01-31T11:01:05Z", "durationMs": 65_000,
        "progress": {"completed": 3, "total": 12, "message": "half-way"},
        "name": "a name", "url": "https://ci.example.com/1", "labels": {"branch": "main"},
        "timeoutSeconds": 3600,
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-a0f067aa0ba902b7-01",
    });
    let own = match kind {
        "job" => json!({"jobId": "j", "errorDetails": "no", "artifactPaths": ["a/b.zip"],
                        "rerunOf": "before", "shard": {"index": 1, "total": 2}}),
        _ => {
            json!({"runId": "run", "suite": "a suite", "file": "a.spec.ts", "line": 7, "reportPath": "r.html", "s3Url": "s3://bucket/r", "error": "no"})
        }
    };
    for optional in [optional, own] {
        full.as_object_mut()
            .unwrap()
            .extend(optional.as_object().unwrap().clone());
    }
    full
}

/// Every kind of stream of job runs, or of tests.
async fn see_streams(held: &mut Held, kind: &str, parameter: &str) {
    let many = format!("/api/{kind}-status/events");
    let one = format!("{many}/{{id}}");

    let life = format!("{many}/run");
    let viewer = held.watch(&one, &life, None).await;
    let mut part = update(kind, "run", "running");
    part["progress"] = json!({"completed": 1});
    // A test that names the run gives it counts.
    let test = full("test", &format!("of-{kind}"), "running");
    held.stack
        .send(json!([part, full(kind, "run", "running"), test]))
        .await;
    let of_kind = format!("of-{kind}");
    held.stack.publish("test", &of_kind, "passed").await;
    held.stack.publish(kind, "run", "passed").await;
    let names = held.rest(&one, viewer).await;
    assert_eq!(
        (names[0].as_str(), names.last().unwrap().as_str()),
        ("stream", "complete")
    );
    let again = held.watch(&one, &life, Some("x")).await;
    let names = held.rest(&one, again).await;
    assert_eq!(names, ["stream", "reset", "message", "complete"]);

    // One that was tried again and again, and ended otherwise each time.
    for (attempt, status) in (1..).zip(STATUSES.iter().skip(2).chain(["passed"].iter())) {
        let mut ended = match attempt {
            1 => update(kind, "lived", status),
            _ => full(kind, "lived", status),
        };
        ended["attempt"] = json!(attempt);
        ended.as_object_mut().unwrap().remove("shard");
        assert_eq!(held.stack.send(json!([ended])).await["accepted"], 1);
    }
    let lived = format!("{many}/lived");
    let viewer = held.watch(&one, &lived, None).await;
    assert_eq!(
        held.rest(&one, viewer).await,
        ["stream", "message", "complete"]
    );

    // One in each status.
    for status in STATUSES {
        let ended = update(kind, &format!("in-{status}"), status);
        held.stack.send(json!([ended])).await;
    }
    let ids = STATUSES.map(|status| format!("{parameter}=in-{status}"));
    let all = format!("{many}?{}", ids.join("&"));
    let viewer = held.watch(&many, &all, Some("1")).await;
    let names = held.close_after(8, &many, viewer).await;
    assert_eq!(names, ["closed"]);
    let project = format!("{many}?projectId=demo");
    let viewer = held.watch(&many, &project, None).await;
    held.close_after(8, &many, viewer).await;

    // All was over at these cursors.
    for (path, instead) in [
        (
            &one,
            format!(
                "{life}?lastEventId={}",
                if kind == "job" { "5" } else { "3" }
            ),
        ),
        (
            &many,
            format!("{many}?{parameter}=in-passed&{parameter}=in-error&lastEventId=1,1"),
        ),
    ] {
        let token = held.stack.token.clone();
        assert!(
            held.get(path, &instead, Some(&token)).await.is_none(),
            "{instead}"
        );
    }
}

/// Every answer to a caller's mistake.
async fn see_mistakes(held: &mut Held, kind: &str) {
    let many = format!("/api/{kind}-status/events");
    let one = format!("{many}/{{id}}");
    let good = held.stack.token.clone();
    let narrow = held
        .stack
        .token(&["--org", "demo", "--projects", "other"])
        .await;
    let theirs = format!("{many}/run");
    let project = format!("{many}?projectId=demo");
    for (path, instead, token) in [
        (&one, &theirs, None),
        (&one, &format!("{many}/a%3Ab"), Some(&good)),
        (&one, &theirs, Some(&narrow)),
        (&many, &project, None),
        (&many, &many, Some(&good)),
        (&many, &project, Some(&narrow)),
    ] {
        let token = token.map(String::as_str);
        assert!(held.get(path, instead, token).await.is_none(), "{instead}");
    }
}

/// What every function has; another method than the specified one is refused.
async fn see_common(held: &mut Held) {
    for (path, method) in held.document.operations() {
        let instead = path.replace("{id}", "run").replace("{streamId}", "s");
        let other = ask(&held.stack, Method::DELETE, &instead, None).await;
        held.document.see_answer(&path, &method, other).await;
        if path.ends_with("/health") || path.ends_with("/ready") {
            held.get(&path, &instead, None).await;
        }
        if path.ends_with("/close") {
            let unreadable = path.replace("{streamId}", "%FF");
            let refused = ask(&held.stack, Method::POST, &unreadable, None).await;
            held.document.see_answer(&path, &method, refused).await;
        }
    }
}

/// Every answer to who sends updates, but those of faults and limits.
async fn see_updates(held: &mut Held) {
    let path = "/api/updates";
    let token = held.stack.write_token.clone();
    let mut odd = update("job", "sent", "running");
    odd["line"] = json!([]);
    odd["durationMs"] = json!("soon");
    let updates = json!([odd, odd, update("job", "sent", "flying"), {}]);
    let answer = held.stack.post(&updates).await;
    held.document.see_answer(path, "post", answer).await;
    for (token, encoding, body) in [
        (token.as_str(), "identity", b"[]".to_vec()),
        ("none", "identity", b"{}".to_vec()),
        (&token, "identity", vec![b' '; 5 * 1024 * 1024 + 1]),
        (&token, "br", b"{}".to_vec()),
    ] {
        let request = held.stack.post_request(token).body(body);
        let request = request.header("Content-Encoding", encoding);
        let answer = request.send().await.unwrap();
        held.document.see_answer(path, "post", answer).await;
    }
}

/// Every answer to who reads runs or artifacts, but those of faults and limits.
async fn see_runs(held: &mut Held) {
    let (list, one) = ("/api/runs", "/api/runs/{id}");
    let artifact = "/api/test-status/artifacts/{id}";
    let good = held.stack.token.clone();
    let narrow = held
        .stack
        .token(&["--org", "demo", "--projects", "other"])
        .await;
    // More events than a page has.
    let events: Vec<_> = (0..200).map(|_| update("job", "long", "running")).collect();
    held.stack.send(json!(events)).await;
    for (path, instead, token) in [
        (list, "/api/runs?projectId=demo&limit=1", Some(&good)),
        (list, "/api/runs?projectId=demo&search=nothing", Some(&good)),
        (list, "/api/runs?projectId=demo&limit=0", Some(&good)),
        (list, "/api/runs?projectId=demo", Some(&narrow)),
        (list, "/api/runs", None),
        (one, "/api/runs/run", Some(&good)),
        (one, "/api/runs/long?history=true", Some(&good)),
        (one, "/api/runs/run?history=true", Some(&good)),
        (one, "/api/runs/a%3Ab", Some(&good)),
        (one, "/api/runs/run", Some(&narrow)),
        (one, "/api/runs/run", None),
        (artifact, "/api/test-status/artifacts/run", Some(&good)),
        (
            artifact,
            "/api/test-status/artifacts/in-passed",
            Some(&good),
        ),
        (artifact, "/api/test-status/artifacts/a%3Ab", Some(&good)),
        (artifact, "/api/test-status/artifacts/run", None),
    ] {
        let token = token.map(String::as_str);
        assert!(held.get(path, instead, token).await.is_none(), "{instead}");
    }
    for (path, instead) in [
        (list, "/api/runs?projectId=demo&search=nothing"),
        (one, "/api/runs/run"),
    ] {
        let first = held.stack.get(instead, None).await;
        let etag = first.headers()["etag"].clone();
        let request = reqwest::Client::new().get(format!("{}{instead}", held.stack.url));
        let request = request.bearer_auth(&good).header("If-None-Match", etag);
        let same = request.send().await.unwrap();
        held.document.see_answer(path, "get", same).await;
    }
}

/// What is answered where Postgres refuses, then without Redis.
async fn see_faults(held: &mut Held) {
    let postgres = held.stack.postgres().await;
    let refuse = "REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM runcast_reader";
    postgres.batch_execute(refuse).await.unwrap();
    let token = held.stack.token.clone();
    for kind in ["job", "test"] {
        let many = format!("/api/{kind}-status/events");
        let one = format!("{many}/{{id}}");
        held.get(&one, &format!("{many}/run"), Some(&token)).await;
        held.get(&many, &format!("{many}?projectId=demo"), Some(&token))
            .await;
    }
    held.get("/api/runs", "/api/runs?projectId=demo", Some(&token))
        .await;
    for path in ["/api/runs/{id}", "/api/test-status/artifacts/{id}"] {
        held.get(path, &path.replace("{id}", "run"), Some(&token))
            .await;
    }
    held.stack.worker_may_commit(false).await;
    let updates = json!([update("job", "not-sent", "running")]);
    let refused = held.stack.post(&updates).await;
    held.document
        .see_answer("/api/updates", "post", refused)
        .await;
    let valkey = held.stack.valkey_pid().await;
    signal(valkey, Signal::SIGKILL);
    gone(valkey).await;
    let queues = "/api/queue-stats/events";
    held.get(queues, queues, Some(&token)).await;
    for function in ["job-status", "test-status", "queue-stats", "updates"] {
        let ready = format!("/api/{function}/ready");
        held.get(&ready, &ready, None).await;
    }
}

/// What is answered to who asks too often.
async fn see_limits(held: Held) -> Held {
    let variables = [
        ("CONNECTS_PER_MINUTE", "1"),
        ("UPDATES_PER_MINUTE", "1"),
        ("STREAMS_PER_SUBJECT", "1"),
    ];
    let stack = Stack::with(&[], &variables).await;
    let mut held = Held {
        stack,
        document: held.document,
    };
    let token = held.stack.token.clone();
    for (path, method) in held.document.operations() {
        let instead = match path.as_str() {
            "/api/job-status/events" | "/api/test-status/events" | "/api/runs" => {
                format!("{path}?projectId=demo")
            }
            _ => path.replace("{id}", "run"),
        };
        if ["/events", "/runs", "/artifacts"]
            .iter()
            .any(|limited| path.contains(limited))
        {
            let too_often = eventually("it is too often", async || {
                let answer = ask(&held.stack, Method::GET, &instead, Some(&token)).await;
                (answer.status() == 429).then_some(answer)
            });
            let refused = too_often.await;
            held.document.see_answer(&path, &method, refused).await;
        }
    }
    let updates = json!([update("job", "sent", "running")]);
    held.stack.post(&updates).await;
    let refused = held.stack.post(&updates).await;
    held.document
        .see_answer("/api/updates", "post", refused)
        .await;
    held
}

#[tokio::test]
async fn all_that_is_specified_is_seen_and_nothing_else() {
    // Longer than the shortest token lives.
    let variables = [
        ("QUEUE_NAMES", "imports"),
        ("STREAM_WINDOW_SECONDS", "8"),
        ("ARTIFACTS_BUCKET", "bucket"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let stack = Stack::with(&[], &variables).await;
    let mut held = Held {
        stack,
        document: Document::read(),
    };
    let one = "/api/test-status/events/{id}";
    let nobodys = "/api/test-status/events/nobodys";
    let rotates = held.watch(one, nobodys, None).await;
    let short = held.stack.token(&["--org", "demo", "--ttl", "3"]).await;
    let expires = held.get(one, nobodys, Some(&short)).await.unwrap();

    see_streams(&mut held, "job", "runId").await;
    see_streams(&mut held, "test", "testId").await;
    let queues = "/api/queue-stats/events";
    let viewer = held.watch(queues, queues, None).await;
    assert_eq!(held.close_after(1, queues, viewer).await, ["closed"]);
    held.get(queues, queues, None).await;
    let evicted = format!("{queues}?lastEventId=evicted");
    let token = held.stack.token.clone();
    held.get(queues, &evicted, Some(&token)).await;
    see_mistakes(&mut held, "job").await;
    see_mistakes(&mut held, "test").await;
    see_updates(&mut held).await;
    see_runs(&mut held).await;
    see_common(&mut held).await;
    assert_eq!(
        held.rest(one, expires).await,
        ["stream", "message", "expired"]
    );
    assert_eq!(
        held.rest(one, rotates).await,
        ["stream", "message", "rotate"]
    );
    see_faults(&mut held).await;
    let held = see_limits(held).await;
    let operations = held.document.operations();
    held.document.assert_all_seen(&operations, &[]);
}

/// A program that `make setup-tests` installs.
fn python(arguments: &[&str]) -> Command {
    let python = checkout(".venv-producers/bin/python");
    assert!(
        python.exists(),
        "Python's tools are missing: run `make setup-tests`"
    );
    let mut command = Command::new(python);
    // Neither a cache of examples nor a report is left in the checkout.
    let folder = std::env::temp_dir();
    command
        .args(arguments)
        .current_dir(folder)
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn the_specification_is_valid_openapi() {
    let document = checkout("docs/openapi.json");
    let mut check = python(&["-m", "openapi_spec_validator", document.to_str().unwrap()]);
    let said = check.output().await.unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stdout)
    );
}

#[tokio::test]
async fn schemathesis_finds_nothing() {
    let seed = std::env::var("SCHEMATHESIS_SEED");
    let seed = seed.unwrap_or_else(|_| rand::random::<u32>().to_string());
    println!("SCHEMATHESIS_SEED={seed}");
    // Streams end soon, by themselves.
    let stack = Stack::with(&[], &[("STREAM_WINDOW_SECONDS", "1"), ("QUEUE_NAMES", "q")]).await;
    let scope = "status:read,status:write";
    let token = stack.token(&["--org", "demo", "--scope", scope]).await;
    let authorization = format!("Authorization: Bearer {token}");
    // Its generator of any JSON at all is not safe in threads: what has a body is asked by one.
    for options in [
        ["--exclude-operation-id", "sendUpdates", "--workers", "4"],
        ["--include-operation-id", "sendUpdates", "--workers", "1"],
    ] {
        schemathesis(&stack, &authorization, &seed, &options).await;
    }
}

async fn schemathesis(stack: &Stack, authorization: &str, seed: &str, options: &[&str]) {
    let document = checkout("docs/openapi.json");
    let settings = checkout("tests/schemathesis.toml");
    let mut run = python(&["-m", "schemathesis.cli", "--no-color"]);
    run.arg("--config-file")
        .arg(settings)
        .arg("run")
        .arg(document);
    run.args(["--url", &stack.url, "--header", authorization]);
    run.args(["--seed", seed]).args(options);
    let said = timeout(Duration::from_mins(2), run.output()).await;
    let said = said.unwrap().unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stdout)
    );
}
