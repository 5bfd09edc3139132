//! The examples of producers, each run as it stands in `infra/producers`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use integration::{
    PATIENCE,
    bull::Bull,
    checkout, eventually, free_port,
    stack::{Stack, update},
    viewer::Viewer,
};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::timeout,
};

#[path = "../../infra/producers/rust/send.rs"]
#[expect(unreachable_pub, reason = "an example shows a public function")]
mod send;

/// A program that `make setup-tests` installs.
fn tool(path: &str) -> PathBuf {
    let path = checkout(path);
    assert!(
        path.exists(),
        "{} is missing: run `make setup-tests`",
        path.display()
    );
    path
}

/// A command with what every AWS SDK asks for. Nothing here checks it.
fn command(program: impl AsRef<Path>, stack: &Stack) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_DEFAULT_REGION", "eu-central-1")
        .env("RUNCAST_URL", &stack.url)
        .kill_on_drop(true);
    command
}

/// Runs a command to its end; returns whether it succeeded, and what it wrote.
async fn run(command: &mut Command, input: &str) -> (bool, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn python(stack: &Stack) -> Command {
    let mut python = command(tool(".venv-producers/bin/python"), stack);
    python.arg(checkout("infra/producers/python/send.py"));
    python
}

/// The life of a run, as a producer has it.
fn life(id: &str) -> [Value; 3] {
    ["waiting", "running", "passed"].map(|status| update("job", id, status))
}

fn lines(updates: &[Value]) -> String {
    let lines: Vec<_> = updates.iter().map(Value::to_string).collect();
    lines.join("\n")
}

#[tokio::test]
async fn pythons_updates_arrive_and_its_failure_shows() {
    let stack = Stack::start().await;
    let updates = lines(&life("py"));
    let (succeeded, said) = run(&mut python(&stack), &updates).await;
    assert!(succeeded, "{said}");
    assert_eq!(
        serde_json::from_str::<Value>(&said).unwrap()["accepted"],
        3,
        "{said}"
    );
    let path = "/api/job-status/events/py";
    assert_eq!(
        stack.resume(path, Some("0")).await.rest().await.0,
        [1, 2, 3]
    );
    // Sent again, nothing changes.
    let (_, said) = run(&mut python(&stack), &updates).await;
    assert!(said.contains("\"duplicates\": 3"), "{said}");
    stack.worker_may_commit(false).await;
    let (succeeded, said) = run(&mut python(&stack), &lines(&life("other"))).await;
    assert!(
        !succeeded && said.contains("send the same ones again"),
        "{said}"
    );
}

#[tokio::test]
async fn the_aws_clis_updates_arrive_and_its_failure_shows() {
    let stack = Stack::start().await;
    let aws = tool(".venv-producers/bin/aws");
    let path = format!(
        "{}:{}",
        aws.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = || {
        let mut script = command(checkout("infra/producers/aws-cli.sh"), &stack);
        script.arg(file.path()).env("PATH", &path);
        script
    };
    std::fs::write(file.path(), json!({"updates": life("cli")}).to_string()).unwrap();
    let (succeeded, said) = run(&mut script(), "").await;
    assert!(succeeded && said.contains("\"accepted\":3"), "{said}");
    let path = "/api/job-status/events/cli";
    assert_eq!(
        stack.resume(path, Some("0")).await.rest().await.0,
        [1, 2, 3]
    );
    stack.worker_may_commit(false).await;
    std::fs::write(file.path(), json!({"updates": life("other")}).to_string()).unwrap();
    let (succeeded, said) = run(&mut script(), "").await;
    assert!(
        !succeeded && said.contains("send the same ones again"),
        "{said}"
    );
}

#[tokio::test]
async fn rusts_updates_arrive_and_its_failure_shows() {
    let stack = Stack::start().await;
    let client = reqwest::Client::new();
    let answer = send::send(&client, &stack.url, &life("rs")).await.unwrap();
    assert_eq!(answer["accepted"], 3, "{answer}");
    let path = "/api/job-status/events/rs";
    assert_eq!(
        stack.resume(path, Some("0")).await.rest().await.0,
        [1, 2, 3]
    );
    stack.worker_may_commit(false).await;
    let failed = send::send(&client, &stack.url, &life("other")).await;
    let said = failed.unwrap_err().to_string();
    assert!(said.contains("send the same ones again"), "{said}");
}

/// An emulated SQS.
struct Sqs {
    url: String,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Sqs {
    async fn start(stack: &Stack) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = command(tool(".venv-producers/bin/ministack"), stack)
            .envs([("SERVICES", "sqs"), ("BIND_HOST", "127.0.0.1")])
            .envs([("LOG_LEVEL", "ERROR"), ("PYTHONUNBUFFERED", "1")])
            .env("GATEWAY_PORT", port.to_string())
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sqs = Sqs {
            url: format!("http://127.0.0.1:{port}/"),
            _child: child,
            _folder: folder,
        };
        eventually("SQS answers", async || {
            sqs.try_call("ListQueues", json!({})).await
        })
        .await;
        sqs
    }

    async fn call(&self, action: &str, body: Value) -> Value {
        self.try_call(action, body).await.unwrap()
    }

    async fn try_call(&self, action: &str, body: Value) -> Option<Value> {
        let request = reqwest::Client::new()
            .post(&self.url)
            .header("Content-Type", "application/x-amz-json-1.0")
            .header("X-Amz-Target", format!("AmazonSQS.{action}"))
            // The emulator finds the service in the signature's scope.
            .header(
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=local/20260101/eu-central-1/sqs/aws4_request, \
                 SignedHeaders=host, Signature=00",
            )
            .body(body.to_string());
        let response = request.send().await.ok()?.error_for_status().ok()?;
        Some(response.json().await.unwrap_or_default())
    }

    /// What the event source mapping does: takes messages to the worker, and deletes those that it
    /// does not hand back. Returns the messages it took.
    async fn relay(&self, queue: &str, stack: &Stack) -> Vec<Value> {
        let ask = json!({"QueueUrl": queue, "MaxNumberOfMessages": 10, "AttributeNames": ["All"]});
        let answer = self.call("ReceiveMessage", ask).await;
        let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
        let record = |message: &Value| {
            json!({"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"],
                   "body": message["Body"], "attributes": message["Attributes"],
                   "messageAttributes": {}, "md5OfBody": message["MD5OfBody"],
                   "eventSource": "aws:sqs", "awsRegion": "eu-central-1",
                   "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:updates.fifo"})
        };
        let records: Vec<_> = messages.iter().map(record).collect();
        let answer = stack.invoke("worker", &json!({"Records": records})).await;
        let failures = answer["batchItemFailures"].as_array().unwrap();
        for message in &messages {
            let is_this = |failure: &Value| failure["itemIdentifier"] == message["MessageId"];
            if !failures.iter().any(is_this) {
                let receipt = &message["ReceiptHandle"];
                let done = json!({"QueueUrl": queue, "ReceiptHandle": receipt});
                self.call("DeleteMessage", done).await;
            }
        }
        messages
    }
}

#[tokio::test]
async fn pythons_updates_arrive_through_sqs_in_order_and_once() {
    let stack = Stack::start().await;
    let sqs = Sqs::start(&stack).await;
    let create = json!({"QueueName": "updates.fifo", "Attributes": {"FifoQueue": "true"}});
    let created = sqs.call("CreateQueue", create).await;
    let queue = created["QueueUrl"].as_str().unwrap();
    let updates = lines(&life("q"));
    for _ in 0..2 {
        let mut python = python(&stack);
        python
            .env("QUEUE_URL", queue)
            .env("AWS_ENDPOINT_URL_SQS", &sqs.url);
        let (succeeded, said) = run(&mut python, &updates).await;
        assert!(succeeded, "{said}");
    }
    let mut viewer = stack.resume("/api/job-status/events/q", Some("0")).await;
    let messages = sqs.relay(queue, &stack).await;
    // The queue itself has dropped what was sent twice.
    let groups: Vec<_> = messages
        .iter()
        .map(|message| message["Attributes"]["MessageGroupId"].as_str().unwrap())
        .collect();
    assert_eq!(groups, ["job:q"; 3]);
    let mut states = Vec::new();
    for _ in 0..4 {
        states.push(viewer.status().await);
    }
    // The first is that nobody has reported it.
    let states: Vec<_> = states
        .iter()
        .map(|(status, seq)| (status.as_str(), *seq))
        .collect();
    assert_eq!(
        states,
        [
            ("waiting", 0),
            ("waiting", 1),
            ("running", 2),
            ("passed", 3)
        ]
    );
    let left = json!({"QueueUrl": queue, "AttributeNames": ["All"]});
    let left = sqs.call("GetQueueAttributes", left).await;
    let left = |name: &str| left["Attributes"][name].clone();
    assert_eq!(left("ApproximateNumberOfMessages"), "0");
    assert_eq!(left("ApproximateNumberOfMessagesNotVisible"), "0");
}

/// Runs the forwarder as one has it: beside its own modules.
fn forward(folder: &Path, stack: &Stack) -> Child {
    let script = folder.join("forward.mjs");
    let modules = folder.join("node_modules");
    if !script.exists() {
        std::fs::copy(checkout("infra/producers/node/forward.mjs"), &script).unwrap();
        std::os::unix::fs::symlink(tool("tests/node/node_modules"), &modules).unwrap();
    }
    command("node", stack)
        .arg(script)
        .args(["imports", "demo", "demo"])
        .env("REDIS_URL", &stack.redis_url)
        .spawn()
        .unwrap_or_else(|error| {
            panic!("node does not start ({error}): install Node 20.19 or newer")
        })
}

/// Waits until the forwarder has come to the last event.
async fn all_is_forwarded(stack: &Stack) {
    let mut redis = stack.redis().await;
    let mut events = redis::cmd("XREVRANGE");
    let events = events.arg(&["bull:imports:events", "+", "-", "COUNT", "1"]);
    let events: Vec<(String, Vec<String>)> = events.query_async(&mut redis).await.unwrap();
    let last = events.first().unwrap();
    eventually("all is forwarded", async || {
        let mut get = redis::cmd("GET");
        let get = get.arg("runcast:forwarded:imports");
        let position: Option<String> = get.query_async(&mut redis.clone()).await.unwrap();
        (position.as_ref() == Some(&last.0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_bullmq_services_jobs_are_runs_whose_whole_life_is_seen() {
    let stack = Stack::start().await;
    let mut viewer = stack.watch("/api/job-status/events?projectId=demo").await;
    let folder = tempfile::tempdir().unwrap();
    let mut forwarder = forward(folder.path(), &stack);
    let mut service = command("node", &stack);
    service.arg(tool("tests/node/service.mjs"));
    service.args([stack.redis_url.as_str(), "imports"]);
    let (succeeded, said) = run(&mut service, "").await;
    assert!(succeeded, "{said}");

    let mut good = Vec::new();
    let mut bad = Vec::new();
    let mut scheduled = Vec::new();
    let is_over = |states: &[Value]| {
        let last = states.last().map(|state| state["status"].as_str().unwrap());
        matches!(last, Some("completed" | "failed"))
    };
    while !(is_over(&good) && is_over(&bad) && is_over(&scheduled)) {
        let state = viewer.state().await;
        match state["runId"].as_str() {
            Some("imports-good") => good.push(state),
            Some("imports-bad") => bad.push(state),
            _ => scheduled.push(state),
        }
    }
    let parts = |state: &Value| {
        (
            state["status"].clone(),
            state["progress"]["completed"].clone(),
        )
    };
    let seen: Vec<_> = good.iter().map(parts).collect();
    let expected = [
        ("waiting", Value::Null),
        ("running", Value::Null),
        ("running", json!(1)),
        ("running", json!(2)),
        ("running", json!(3)),
        ("completed", json!(3)),
    ];
    assert_eq!(seen, expected.map(|(status, done)| (json!(status), done)));
    assert_eq!(good[5]["progress"]["message"], "importing");
    let seen: Vec<_> = bad.iter().map(|state| state["status"].clone()).collect();
    assert_eq!(seen, ["waiting", "running", "waiting", "running", "failed"]);
    assert_eq!(bad[4]["errorDetails"], "nothing to import");
    let attempts: Vec<_> = bad.iter().map(|state| state["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 1, 2, 2, 2]);
    assert_eq!(bad[2]["attempts"][0]["status"], "failed");
    assert_eq!(bad[2]["attempts"][0]["error"], "nothing to import");
    // A colon is not in an id, and progress that is no count is none.
    assert_eq!(scheduled[0]["runId"], "imports-repeat_3anightly_3a1");
    let seen: Vec<_> = scheduled.iter().map(parts).collect();
    let expected = ["waiting", "running", "running", "completed"];
    assert_eq!(seen, expected.map(|status| (json!(status), Value::Null)));

    // Sent once more from the beginning, each event is the one it was.
    all_is_forwarded(&stack).await;
    forwarder.kill().await.unwrap();
    let mut redis = stack.redis().await;
    let forget = redis::cmd("DEL")
        .arg("runcast:forwarded:imports")
        .to_owned();
    forget.exec_async(&mut redis).await.unwrap();
    let again = forward(folder.path(), &stack);
    all_is_forwarded(&stack).await;
    drop(again);
    let count = "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM rejected_updates)";
    assert_eq!(stack.number(count).await, 15);
}

/// A queue whose jobs are forwarded, and what a viewer of the project sees of them.
struct Forwarded {
    stack: Stack,
    bull: Bull,
    viewer: Viewer,
    folder: tempfile::TempDir,
    forwarder: Child,
}

impl Forwarded {
    async fn start() -> Self {
        let stack = Stack::start().await;
        let folder = tempfile::tempdir().unwrap();
        Forwarded {
            bull: Bull::start(&stack.redis_url, "bull"),
            viewer: stack.watch("/api/job-status/events?projectId=demo").await,
            forwarder: forward(folder.path(), &stack),
            folder,
            stack,
        }
    }

    async fn run(&mut self, command: &str) {
        self.bull.run("imports", command).await;
    }

    async fn add(&mut self, job_id: &str, mut options: Value) {
        options["jobId"] = json!(job_id);
        let order = json!({"queue": "imports", "do": "add", "options": options});
        self.bull.order(&order).await;
    }

    /// Ends the forwarder, once it has written down how far it came.
    async fn leave(&mut self) {
        all_is_forwarded(&self.stack).await;
        self.forwarder.kill().await.unwrap();
    }

    /// Reads until a run has this status; returns its state.
    async fn until(&mut self, run: &str, status: &str) -> Value {
        loop {
            let state = self.viewer.state().await;
            if state["runId"] == run && state["status"] == status {
                return state;
            }
        }
    }
}

#[tokio::test]
async fn a_job_that_goes_before_its_end_is_cancelled() {
    let mut queue = Forwarded::start().await;
    for command in ["remove", "drain", "clean", "obliterate"] {
        queue.add(command, json!({})).await;
        let run = format!("imports-{command}");
        queue.until(&run, "waiting").await;
        let order = json!({"queue": "imports", "do": command, "state": "wait"});
        queue.bull.order(&order).await;
        queue.until(&run, "cancelled").await;
    }
    // Also while nobody forwards.
    queue.add("away", json!({"delay": 3_600_000})).await;
    queue.until("imports-away", "waiting").await;
    queue.leave().await;
    queue.run("obliterate").await;
    queue.forwarder = forward(queue.folder.path(), &queue.stack);
    queue.until("imports-away", "cancelled").await;
    let rejected = "SELECT count(*) FROM rejected_updates";
    assert_eq!(queue.stack.number(rejected).await, 0);
}

#[tokio::test]
async fn what_ended_is_not_cancelled_when_it_goes() {
    let mut queue = Forwarded::start().await;
    for command in ["complete", "fail"] {
        queue
            .add(
                command,
                json!({"removeOnComplete": true, "removeOnFail": true}),
            )
            .await;
        queue.run("take").await;
        queue.run(command).await;
    }
    queue.until("imports-complete", "completed").await;
    queue.until("imports-fail", "failed").await;
    // What it was told too late to see, it finds: events that are gone, of jobs that are there.
    queue.add("missed", json!({})).await;
    queue.until("imports-missed", "waiting").await;
    queue.leave().await;
    queue.run("take").await;
    queue.run("fail").await;
    let mut redis = queue.stack.redis().await;
    let trim = redis::cmd("XTRIM")
        .arg(&["bull:imports:events", "MAXLEN", "0"])
        .to_owned();
    trim.exec_async(&mut redis).await.unwrap();
    queue.forwarder = forward(queue.folder.path(), &queue.stack);
    let missed = queue.until("imports-missed", "failed").await;
    assert_eq!(missed["errorDetails"], "it broke");
    let cancelled = "SELECT count(*) FROM events WHERE status = 'cancelled'";
    assert_eq!(queue.stack.number(cancelled).await, 0);
}

#[tokio::test]
async fn a_job_that_waits_for_others_and_one_that_stalled_are_waiting() {
    let mut queue = Forwarded::start().await;
    queue.run("flow").await;
    queue.until("imports-parent", "waiting").await;
    queue.run("take").await;
    queue.run("complete").await;
    queue.until("imports-child", "completed").await;
    queue.run("die").await;
    queue.until("imports-parent", "running").await;
    queue.run("stall").await;
    queue.until("imports-parent", "waiting").await;
    queue.run("take").await;
    queue.run("complete").await;
    queue.until("imports-parent", "completed").await;
}

#[tokio::test]
async fn no_two_jobs_are_one_run() {
    let mut queue = Forwarded::start().await;
    let long = "x".repeat(300);
    let longer = "x".repeat(301);
    for job_id in ["a:b:c", "a_b_c", "a-b-c", "ä", &long, &longer] {
        queue.add(job_id, json!({})).await;
    }
    let mut runs = Vec::new();
    for _ in 0..6 {
        let state = queue.viewer.state().await;
        runs.push(state["runId"].as_str().unwrap().to_owned());
    }
    let escaped = [
        "imports-a_3ab_3ac",
        "imports-a_5fb_5fc",
        "imports-a-b-c",
        "imports-_c3_a4",
    ];
    assert_eq!(runs[..4], escaped);
    assert_ne!(runs[4], runs[5]);
    assert_eq!((runs[4].len(), runs[5].len()), (123, 123));
}

#[tokio::test]
async fn a_job_that_is_tried_again_is_its_runs_next_attempt() {
    let mut queue = Forwarded::start().await;
    let attempt = |state: &Value| state["attempt"].as_u64().unwrap();
    queue.add("again", json!({"attempts": 2})).await;
    // By BullMQ, …
    queue.run("take").await;
    queue.until("imports-again", "running").await;
    queue.run("fail").await;
    let state = queue.until("imports-again", "waiting").await;
    assert_eq!(attempt(&state), 2);
    assert_eq!(state["attempts"][0]["error"], "it broke");
    queue.run("take").await;
    queue.run("fail").await;
    let state = queue.until("imports-again", "failed").await;
    assert_eq!(attempt(&state), 2);
    // … after its end, …
    queue.run("retry all").await;
    let state = queue.until("imports-again", "waiting").await;
    assert_eq!(attempt(&state), 3);
    queue.run("take").await;
    queue.run("complete").await;
    let state = queue.until("imports-again", "completed").await;
    assert_eq!(attempt(&state), 3);
    // … and as a new job.
    queue.run("clean").await;
    queue.add("again", json!({})).await;
    let state = queue.until("imports-again", "waiting").await;
    assert_eq!(attempt(&state), 4);
    let rejected = "SELECT count(*) FROM rejected_updates";
    assert_eq!(queue.stack.number(rejected).await, 0);
}
