//! `runcast run` and `runcast import`: what producers do that need no code.

use std::{
    io::Write,
    path::Path,
    process::{Output, Stdio},
    time::{Duration, SystemTime},
};

use integration::{
    PATIENCE, binary, checkout, eventually, free_port, memory,
    proxy::{Mode, Proxy},
    stack::{Stack, gone, signal},
};
use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::{Instant, timeout},
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
    tokio::time::sleep(Duration::from_millis(500)).await;
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

/// Imports a file as a run of its own; returns its output.
async fn import(stack: &Stack, run_id: &str, file: &Path) -> Output {
    let file = file.display().to_string();
    finished(command(&stack.url, &["import", "--run", run_id, &file])).await
}

/// A test's name, status, attempt, and whether it is flaky.
type Told = (&'static str, &'static str, u64, bool);

/// What tools have written, how its run ends, and its tests.
/// Those that begin with `real` are as Surefire 2.22.3, Gradle 4.4.1 and gotestsum wrote them.
const FILES: [(&str, &str, &[Told]); 16] = [
    (
        "real-surefire.xml",
        "failed",
        &[
            ("assumes", "skipped", 1, false),
            ("errors", "error", 3, false),
            ("errorsWithCause", "error", 3, false),
            ("expectsAnException", "failed", 3, false),
            ("fails", "failed", 3, false),
            ("failsThenErrors", "error", 3, false),
            ("failsWithoutMessage", "failed", 3, false),
            ("flaky", "passed", 2, true),
            ("flakyError", "passed", 3, true),
            ("größe_ünïcode_漢字", "passed", 1, false),
            ("ignored", "skipped", 1, false),
            ("ignoredSilently", "skipped", 1, false),
            ("passes", "passed", 1, false),
            ("saysMuch", "passed", 1, false),
            ("timesOut", "error", 3, false),
        ],
    ),
    (
        "real-gradle.xml",
        "failed",
        &[
            ("assumes", "skipped", 1, false),
            ("errors", "failed", 3, false),
            ("fails", "failed", 3, false),
            ("failsWithoutMessage", "failed", 3, false),
            ("flaky", "passed", 2, true),
            ("flakyTwice", "passed", 3, true),
            ("größe_漢字", "passed", 1, false),
            ("ignored", "skipped", 1, false),
            ("passes", "passed", 1, false),
            ("timesOut", "failed", 3, false),
        ],
    ),
    (
        "real-gradle-parametrised.xml",
        "failed",
        &[
            ("isOdd[5 €]", "passed", 1, false),
            ("isOdd[<x> & \"y\"]", "passed", 1, false),
            ("isOdd[a/b]", "passed", 1, false),
            ("isOdd[same]", "failed", 1, false),
            ("isOdd[same]", "passed", 1, false),
            ("isOdd[same]", "passed", 1, false),
            ("isOdd[漢字]", "passed", 1, false),
        ],
    ),
    (
        "real-surefire-parametrised.xml",
        "passed",
        &[
            ("isOdd[5 €]", "passed", 1, false),
            ("isOdd[<x> & \"y\"]", "passed", 1, false),
            ("isOdd[a/b]", "passed", 1, false),
            // Surefire has those of one name as tries of one.
            ("isOdd[same]", "passed", 4, true),
            ("isOdd[漢字 😀]", "passed", 1, false),
        ],
    ),
    (
        "real-surefire-jupiter.xml",
        "failed",
        &[
            ("assumes", "skipped", 1, false),
            ("disabled", "skipped", 1, false),
            ("errors", "error", 1, false),
            // And those of an inner class, where they fail.
            ("fails", "failed", 2, false),
            ("made[1]", "failed", 1, false),
            ("made[2]", "passed", 1, false),
            ("multiple", "failed", 1, false),
            ("named{String}[1]", "passed", 1, false),
            ("named{String}[2]", "failed", 1, false),
            ("named{String}[3]", "passed", 1, false),
            ("one", "passed", 1, false),
            ("passes", "passed", 1, false),
            ("passes", "passed", 1, false),
            ("prices{String}[1]", "passed", 1, false),
            ("prices{String}[2]", "failed", 1, false),
            ("prices{String}[3]", "passed", 1, false),
            ("prices{String}[4]", "passed", 1, false),
            ("prices{String}[5]", "passed", 1, false),
            ("prices{String}[6]", "passed", 1, false),
            ("repeated[1]", "failed", 1, false),
            ("repeated[2]", "passed", 1, false),
            ("two", "failed", 1, false),
        ],
    ),
    (
        "real-surefire-hooks.xml",
        "failed",
        &[
            // A test that fails, and whose teardown does, fails twice in each of its tries.
            ("fails", "error", 6, false),
            ("one", "error", 3, false),
            ("shop.TeardownTest", "error", 3, false),
        ],
    ),
    (
        "real-gradle-hooks.xml",
        "failed",
        &[
            ("classMethod", "failed", 1, false),
            ("fails", "failed", 1, false),
            ("passes", "failed", 1, false),
        ],
    ),
    (
        "real-gotestsum.xml",
        "failed",
        &[
            ("ExampleHello", "passed", 1, false),
            ("ExampleWrong", "failed", 3, false),
            ("TestEach", "passed", 1, false),
            ("TestEach/#00", "passed", 1, false),
            ("TestEach/<x>_&_\"y\"", "passed", 1, false),
            ("TestEach/a/b", "passed", 1, false),
            ("TestEach/a_b", "passed", 1, false),
            ("TestEach/same", "passed", 1, false),
            ("TestEach/same#01", "passed", 1, false),
            ("TestEach/漢字_ü", "passed", 1, false),
            ("TestErrors", "failed", 3, false),
            ("TestFails", "failed", 3, false),
            ("TestFlaky", "passed", 2, true),
            ("TestFlakyTwice", "passed", 3, true),
            ("TestGröße漢字", "passed", 1, false),
            ("TestParallel", "passed", 1, false),
            ("TestParallel/p", "passed", 1, false),
            ("TestParallel/p#01", "passed", 1, false),
            ("TestParallel/p#02", "passed", 1, false),
            ("TestPasses", "passed", 1, false),
            ("TestSays", "failed", 3, false),
            ("TestSkipped", "skipped", 1, false),
            ("TestSkippedSilently", "skipped", 1, false),
            ("TestTree", "passed", 4, true),
            ("TestTree/fails", "failed", 3, false),
            ("TestTree/flaky", "passed", 2, true),
            ("TestTree/passes", "passed", 1, false),
            ("TestTree/skipped", "skipped", 1, false),
        ],
    ),
    (
        "surefire.xml",
        "failed",
        &[
            ("bad", "failed", 2, false),
            ("flaky", "passed", 3, true),
            ("off", "skipped", 1, false),
            ("ok", "passed", 1, false),
        ],
    ),
    (
        "gradle.xml",
        "passed",
        &[
            ("flaky()", "passed", 2, true),
            ("passes()", "passed", 1, false),
            ("skipped()", "skipped", 1, false),
        ],
    ),
    (
        "gotestsum.xml",
        "passed",
        &[
            ("TestEach/a_b", "passed", 1, false),
            ("TestFlaky", "passed", 2, true),
            ("TestPasses", "passed", 1, false),
            ("TestSkipped", "skipped", 1, false),
        ],
    ),
    (
        "pytest.xml",
        "failed",
        &[
            ("test_each[\\u6f22]", "passed", 1, false),
            ("test_each[\\xe9]", "passed", 1, false),
            ("test_each[a b]", "passed", 1, false),
            ("test_each[a/b]", "passed", 1, false),
            ("test_fails", "failed", 1, false),
            // pytest's XML does not say that it failed first.
            ("test_flaky", "passed", 1, false),
            ("test_never", "failed", 1, false),
            ("test_passes", "passed", 1, false),
            ("test_setup", "error", 1, false),
            ("test_skipped", "skipped", 1, false),
            ("test_teardown", "error", 1, false),
            ("test_xfail", "skipped", 1, false),
        ],
    ),
    (
        "pytest.jsonl",
        "failed",
        &[
            ("TestA::test_fails", "failed", 1, false),
            ("TestA::test_passes", "passed", 1, false),
            ("test_each[\\u6f22]", "passed", 1, false),
            ("test_each[\\xe9]", "passed", 1, false),
            ("test_each[a b]", "passed", 1, false),
            ("test_each[a/b]", "passed", 1, false),
            ("test_flaky", "passed", 2, true),
            ("test_never", "failed", 2, false),
            ("test_setup", "error", 1, false),
            ("test_skipped", "skipped", 1, false),
            ("test_teardown", "error", 1, false),
            ("test_xfail", "skipped", 1, false),
        ],
    ),
    (
        "pytest-ctrf.json",
        "failed",
        &[
            ("test_sample.py::TestA::test_fails", "failed", 1, false),
            ("test_sample.py::TestA::test_passes", "passed", 1, false),
            ("test_sample.py::test_each[\\u6f22]", "passed", 1, false),
            ("test_sample.py::test_each[\\xe9]", "passed", 1, false),
            ("test_sample.py::test_each[a b]", "passed", 1, false),
            ("test_sample.py::test_each[a/b]", "passed", 1, false),
            ("test_sample.py::test_flaky", "passed", 2, true),
            ("test_sample.py::test_never", "failed", 2, false),
            ("test_sample.py::test_setup", "failed", 1, false),
            ("test_sample.py::test_skipped", "skipped", 1, false),
            ("test_sample.py::test_teardown", "failed", 1, false),
            ("test_sample.py::test_xfail", "skipped", 1, false),
        ],
    ),
    (
        "jest-junit.xml",
        "failed",
        &[
            ("a > b each a/b", "passed", 1, false),
            ("a > b each 漢", "passed", 1, false),
            ("a > b fails", "failed", 1, false),
            ("a > b hook in hook", "failed", 1, false),
            ("a > b passes", "passed", 1, false),
            ("a > b skipped", "skipped", 1, false),
            ("a > b slow", "failed", 1, false),
            ("a > b the same", "failed", 1, false),
            ("a > b the same", "passed", 1, false),
            ("a > b todo", "passed", 1, false),
            ("flaky", "passed", 1, false),
        ],
    ),
    (
        "jest-ctrf.json",
        "failed",
        &[
            ("a > b each a/b", "passed", 1, false),
            ("a > b each 漢", "passed", 1, false),
            ("a > b fails", "failed", 3, false),
            ("a > b hook in hook", "failed", 1, false),
            ("a > b passes", "passed", 1, false),
            ("a > b skipped", "skipped", 1, false),
            ("a > b slow", "failed", 3, false),
            ("a > b the same", "failed", 3, false),
            ("a > b the same", "passed", 1, false),
            ("a > b todo", "completed", 1, false),
            ("flaky", "passed", 2, true),
        ],
    ),
];

#[tokio::test]
async fn what_tools_write_is_shown_as_they_meant_it() {
    let stack = Stack::start().await;
    for (file, status, expected) in FILES {
        let run_id = file.replace('.', "-");
        let path = checkout("tests/results").join(file);
        let output = import(&stack, &run_id, &path).await;
        assert_eq!(
            output.status.code(),
            Some(0),
            "{file}: {}",
            text(&output.stderr)
        );
        assert_eq!(text(&output.stderr), "", "{file}");
        let tests = tests(&stack, &run_id).await;
        let mut told: Vec<_> = told(&tests)
            .into_iter()
            .map(|(name, status, attempt, flaky, _)| (name, status, attempt, flaky))
            .collect();
        told.sort();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, status, attempt, flaky)| {
                ((*name).to_owned(), (*status).to_owned(), *attempt, *flaky)
            })
            .collect();
        assert_eq!(told, expected, "{file}");
        let state = run_state(&stack, &run_id).await;
        assert_eq!(state["status"], status, "{file}");
        assert_eq!(state["tests"]["total"], tests.len(), "{file}");
        for test in &tests {
            let status = test["status"].as_str().unwrap();
            let says = !test["error"].is_null();
            assert!(
                says || !["failed", "error"].contains(&status),
                "{file}: {test}"
            );
        }
        // The same once more is the same.
        let again = import(&stack, &run_id, &path).await;
        assert!(
            text(&again.stdout).contains("\n0 updates accepted"),
            "{again:?}"
        );
        assert_eq!(again.status.code(), Some(0));
    }
}

#[tokio::test]
async fn what_cannot_be_read_to_its_end_is_not_shown_at_all() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(checkout("tests/results/surefire.xml")).unwrap();
    let ctrf = std::fs::read(checkout("tests/results/jest-ctrf.json")).unwrap();
    let laughs = "<?xml version=\"1.0\"?>\n<!DOCTYPE lolz [<!ENTITY lol \"lol\">\n\
                  <!ENTITY lol2 \"&lol;&lol;&lol;&lol;\">]>\n\
                  <testsuite><testcase name=\"&lol2;\"/></testsuite>";
    let mut attributes = String::new();
    for number in 0..1_000_000 {
        attributes.push_str(&format!("a{number}='' "));
    }
    let attributes = format!("<testsuite>\n<testcase {attributes}/></testsuite>");
    let cases: [(&str, &[u8], &str); 9] = [
        (
            "cut.xml",
            &whole[..whole.len() - 20],
            "line 14: the file breaks off here",
        ),
        (
            "cut.json",
            &ctrf[..ctrf.len() / 2],
            "the file breaks off here",
        ),
        ("laughs.xml", laughs.as_bytes(), "line 2: a document type"),
        (
            "attributes.xml",
            attributes.as_bytes(),
            "line 2: a tag of more than 1 MB",
        ),
        (
            "latin1.xml",
            b"<testsuite>\n<testcase name='\xfc'/></testsuite>",
            "line 2: not UTF-8",
        ),
        ("empty.xml", b" \n", "line 1: it is empty"),
        ("other.txt", b"PASS\n", "line 1: neither JUnit XML"),
        ("other.json", b"{\"a\": [1]}\n", "no CTRF"),
        (
            "broken.jsonl",
            b"{\"$report_type\":\"SessionStart\"}\n{]}\n",
            "line 2: not a report",
        ),
    ];
    let mut files = vec![checkout("tests/results/gradle.xml").display().to_string()];
    for (name, content, says) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let output = import(&stack, "r", &path).await;
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let said = text(&output.stderr);
        assert!(
            said.contains(&format!("{}: ", path.display())) && said.contains(says),
            "{said}"
        );
        assert!(said.ends_with("runcast: nothing was sent\n"), "{said}");
        files.push(path.display().to_string());
    }
    // Nor what is beside it.
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let arguments = [&["import", "--run", "r"], &files[..]].concat();
    assert_eq!(
        finished(command(&stack.url, &arguments))
            .await
            .status
            .code(),
        Some(1)
    );
    assert_eq!(stack.number("SELECT count(*) FROM executions").await, 0);
    let missing = finished(command(&stack.url, &["import", "no-such-*.xml"])).await;
    assert!(text(&missing.stderr).contains("no file is named no-such-*.xml"));
}

#[tokio::test]
async fn what_is_not_understood_is_named_with_its_line() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.xml");
    let odd = "<testsuites>\n<testsuite name='s'>\n<testcase name='a' time='soon'>\n<wat>x</wat></testcase>\n\
               <testcase/>\n</testsuite></testsuites>";
    std::fs::write(&path, odd).unwrap();
    let output = import(&stack, "r", &path).await;
    assert_eq!(output.status.code(), Some(0));
    let path = path.display();
    assert_eq!(
        text(&output.stderr).lines().collect::<Vec<_>>(),
        [
            format!("runcast: {path}: line 3: time=\"soon\" is no number of seconds"),
            format!("runcast: {path}: line 4: <wat> is not known; passed over"),
            format!("runcast: {path}: line 5: a testcase has no name"),
        ]
    );
    assert_eq!(tests(&stack, "r").await.len(), 2);
}

#[tokio::test]
async fn a_package_that_does_not_build_is_an_error_of_the_run() {
    let stack = Stack::start().await;
    let path = checkout("tests/results/real-gotestsum-build.xml");
    let output = import(&stack, "r", &path).await;
    assert_eq!(output.status.code(), Some(0));
    let says = "line 9: errors=\"1\", and the report says none: the run counts as error\n";
    assert!(text(&output.stderr).ends_with(says), "{output:?}");
    let state = run_state(&stack, "r").await;
    assert_eq!(
        (&state["status"], &state["tests"]["passed"]),
        (&json!("error"), &json!(1))
    );
}

#[tokio::test]
async fn a_large_file_takes_little_memory() {
    let stack = Stack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.xml");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    file.write_all(b"<testsuites><testsuite name='s'>\n")
        .unwrap();
    let line = "x".repeat(1023) + "\n";
    for number in 0..2000 {
        write!(
            file,
            "<testcase classname='c' name='t{number}'><system-out><![CDATA["
        )
        .unwrap();
        file.write_all(line.repeat(50).as_bytes()).unwrap();
        file.write_all(b"]]></system-out></testcase>\n").unwrap();
    }
    // And one of 100 MB in a single piece.
    file.write_all(b"<system-out>").unwrap();
    for _ in 0..100 {
        file.write_all(line.repeat(1024).as_bytes()).unwrap();
    }
    file.write_all(b"</system-out></testsuite></testsuites>")
        .unwrap();
    file.flush().unwrap();
    assert!(path.metadata().unwrap().len() > 200_000_000);
    let file = path.display().to_string();
    let arguments = ["import", "--run", "r", &file];
    let child = command(&stack.url, &arguments).spawn().unwrap();
    let process = pid(&child);
    let watched = tokio::spawn(async move {
        let mut peak = 0;
        loop {
            let now = memory::peak(process);
            if now == 0 {
                return peak;
            }
            peak = now;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let started = Instant::now();
    let output = timeout(4 * PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let peak = watched.await.unwrap();
    println!("200 MB in {:?}, {peak} KB at most", started.elapsed());
    assert!(peak < 100_000, "{peak}");
    assert_eq!(run_state(&stack, "r").await["tests"]["passed"], 2000);
}

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
