//! What is wrong with a command's options is told before anything is sent or started.

use std::process::Output;

use integration::{PATIENCE, binary};
use tokio::{process::Command, time::timeout};

const ADDRESS: &str = "an address looks like http://127.0.0.1:8787";
const ID: &str = "an id is 1 to 128 of the characters";
const KIND: &str = "kind is \"test\" or \"job\"";
const TIME: &str = "a time is RFC 3339, like 2026-01-31T12:00:00.000Z";
const TOKEN: &str = "a token has three parts";
const ABOVE_0: &str = "a number above 0";

async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let command = Command::new(binary("runcast"))
        .args(arguments)
        .envs(variables.iter().copied())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, command).await;
    output.unwrap().unwrap()
}

/// Asserts that the command says so in its first line, shows no secret, and exits as one that was
/// used wrongly.
fn assert_wrong(arguments: &[&str], output: &Output, says: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or_default();
    assert!(first.contains(says), "{arguments:?}: {said}");
    assert!(!said.contains("secret") && said.ends_with('\n'), "{said}");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
}

/// Each is wrong because of what follows the command.
async fn all_are_wrong(command: &[&str], cases: &[(&[&str], &str)]) {
    for (options, says) in cases {
        let arguments = [command, options].concat();
        assert_wrong(&arguments, &run(&arguments, &[]).await, says);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_tail_is_told() {
    let cases: [(&[&str], &str); 7] = [
        (&["r", "--url", "x"], ADDRESS),
        (&["r", "--url", "localhost:8787"], ADDRESS),
        (&["a b"], ID),
        (&["--project", "a/b"], ID),
        (&["r", "--org", ""], ID),
        (&["r", "--last-event-id", "x"], "the number of an event"),
        (&["r", "--token", "secret\n"], TOKEN),
    ];
    all_are_wrong(&["tail", "job"], &cases).await;
    all_are_wrong(&["tail"], &[(&["cron", "r"], KIND)]).await;
    let many: Vec<_> = (0..51).map(|number| format!("r{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    all_are_wrong(&["tail", "job"], &[(&many, "unexpected value 'r50'")]).await;
    for (variable, value, says) in [
        ("RUNCAST_URL", "127.0.0.1:8787", ADDRESS),
        ("RUNCAST_TOKEN", "", TOKEN),
    ] {
        let tail = ["tail", "job", "r"];
        assert_wrong(&tail, &run(&tail, &[(variable, value)]).await, says);
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_update_is_told() {
    let status = "unknown status; send waiting, running";
    let cases: [(&[&str], &str); 3] = [
        (&["cron", "r", "running"], KIND),
        (&["job", "r:1", "running"], ID),
        (&["job", "r", "flying"], status),
    ];
    all_are_wrong(&["publish"], &cases).await;
    let exact = "is not in 0..=9007199254740992";
    let cases: [(&[&str], &str); 13] = [
        (&["--url", "http://"], ADDRESS),
        (&["--org", "ö"], ID),
        (&["--project", ""], ID),
        (&["--event-id", "a b"], "1 to 128 visible ASCII"),
        (&["--occurred-at", "yesterday"], TIME),
        (&["--started-at", "12:00"], TIME),
        (&["--completed-at", ""], TIME),
        (&["--job-id", "a b"], ID),
        (&["--run-id", "a b"], ID),
        (&["--completed", "half"], "invalid digit"),
        (&["--completed", "9007199254740993"], exact),
        (&["--total", "3"], "arguments were not provided"),
        (&["--duration-ms", "5s"], "invalid digit"),
    ];
    all_are_wrong(&["publish", "job", "r", "running"], &cases).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_told() {
    let endless = u64::MAX.to_string();
    let cases: [(&[&str], &str); 5] = [
        (&["--org", "o", "--url", "ftp://h"], ADDRESS),
        (&["--org", "a b"], ID),
        (&["--org", "o", "--ttl", "0"], "0 is not in 1..="),
        (&["--org", "o", "--ttl", &endless], "is not in 1..="),
        (&["--org", "o", "--projects", "a,,b"], ID),
    ];
    all_are_wrong(&["token"], &cases).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_stack_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    let postgres = "mysql://u:secret@h/d";
    let cases: [(&[&str], &str); 7] = [
        (&["--port", "70000"], "70000 is not in 0..=65535"),
        (&["--redis-url", "http://:secret@h"], "it takes redis://"),
        (&["--database-url", postgres], "it takes postgres://"),
        (&["--state-dir", file], "it is no folder"),
        (&["--timeout-seconds", "0"], "0 is not in 1..=900"),
        (&["--max-environments", "0"], "0 is not in 1.."),
        (&["--managed", "1"], "1 is not in 2..=1600"),
    ];
    all_are_wrong(&["up"], &cases).await;
    all_are_wrong(&["demo"], &[(&["--port", "x"], "invalid digit")]).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_cost_is_told() {
    let cases: [(&[&str], &str); 4] = [
        (&["--viewers", "0", "--minutes", "1"], "0 is not in 1.."),
        (&["--viewers", "1", "--minutes", "nan"], ABOVE_0),
        (
            &["--viewers", "1", "--minutes", "1", "--batch", "0"],
            ABOVE_0,
        ),
        (
            &["--viewers", "1", "--minutes", "1", "--frame-bytes=-1"],
            "from 0 on",
        ),
    ];
    all_are_wrong(&["cost"], &cases).await;
}
