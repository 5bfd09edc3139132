//! `runcast up`: how a stack starts, and what it leaves behind.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use integration::{
    PATIENCE, binary, children, eventually,
    stack::{Stack, gone, signal},
};
use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{process::Command, time::timeout};

/// A command on its own; returns its output.
async fn run(command: &mut Command) -> Output {
    let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    output.unwrap().unwrap()
}

/// `runcast up` in this folder.
fn up(state_dir: &Path) -> Command {
    let mut up = Command::new(binary("runcast"));
    up.args(["up", "--port", "0", "--state-dir"]).arg(state_dir);
    up.kill_on_drop(true);
    up
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn bad_configuration_stops_at_start_with_one_line() {
    for (variable, value) in [
        ("STREAM_WINDOW_SECONDS", "soon"),
        ("DATABASE_IDLE_SECONDS", "0"),
        ("AUTH_JWKS", "{}"),
        ("AUTH_JWKS", "not JSON"),
        ("CORS_ALLOWED_ORIGINS", "https://*.example.com"),
        ("CORS_ALLOWED_ORIGINS", "example.com"),
        ("STREAMS_PER_SUBJECT", "abc"),
    ] {
        // As the stack finds it …
        let mut up = Command::new(binary("runcast"));
        let up = run(up.args(["up", "--port", "0"]).env(variable, value)).await;
        assert_eq!(up.status.code(), Some(1), "{variable}");
        let says = format!("runcast: {variable} ");
        assert!(text(&up.stderr).contains(&says), "{}", text(&up.stderr));
        // … and as Lambda would.
        let mut function = Command::new(binary("job-status"));
        function
            .env("REDIS_URL", "redis://127.0.0.1:1")
            .env("DATABASE_URL", "postgres://u@127.0.0.1:1/d")
            .env(
                "AUTH_JWKS",
                r#"{"keys":[{"kty":"oct","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]}"#,
            )
            .env("AUTH_ISSUER", "i")
            .env("AUTH_AUDIENCE", "a")
            .env(variable, value);
        let said = text(&run(&mut function).await.stderr);
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
    let guest = Stack::beside(&owner.redis_url, &owner.database_url, &[]).await;
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
        processes.push(Pid::from_raw(backend.unwrap().get(0)));
        match how {
            Some(how) => signal(stack.pid(), how),
            // As where this process had died.
            None => drop(stack.child.stdin.take()),
        }
        for process in processes {
            gone(process).await;
        }
        eventually("the folder is removed", async || {
            (!Path::new(&data).exists()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_second_stack_does_not_take_the_folder_of_a_running_one() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path();
    let stack = Stack::with(&["--state-dir", state_dir.to_str().unwrap()], &[]).await;
    let config = || std::fs::read(state_dir.join("valkey/valkey.conf")).unwrap();
    let before = config();
    let second = run(&mut up(state_dir)).await;
    assert!(!second.status.success());
    let said = text(&second.stderr);
    assert!(said.contains("another `runcast up` uses "), "{said}");
    // The first one has lost nothing.
    assert_eq!(config(), before);
    stack.publish("job", "r", "passed").await;
    assert_eq!(
        stack.watch("/api/job-status/events/r").await.rest().await.0,
        [1]
    );
}

#[tokio::test]
async fn a_reaper_ends_no_process_that_is_not_its_stacks() {
    // What a crash leaves behind, whose pid has become another's.
    let mut other = Command::new("sleep")
        .arg("600")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("postgres/data");
    std::fs::create_dir_all(&data).unwrap();
    let pid = other.id().unwrap().to_string();
    std::fs::write(data.join("postmaster.pid"), pid).unwrap();
    let mut reaper = Command::new(binary("runcast"));
    reaper.arg("reaper").arg(folder.path());
    run(reaper.stdin(Stdio::null()).process_group(0)).await;
    assert!(other.try_wait().unwrap().is_none(), "it was ended");
}

#[tokio::test]
async fn a_start_that_was_broken_off_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path();
    let mut first = up(state_dir).stderr(Stdio::null()).spawn().unwrap();
    let begun = state_dir.join("postgres/data.part");
    eventually("the database is being created", async || {
        begun.exists().then_some(())
    })
    .await;
    let pid = Pid::from_raw(i32::try_from(first.id().unwrap()).unwrap());
    let started = children(pid);
    first.kill().await.unwrap();
    for process in started {
        gone(process).await;
    }
    let stack = Stack::with(&["--state-dir", state_dir.to_str().unwrap()], &[]).await;
    stack.publish("job", "r", "passed").await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("valkey");
    std::fs::write(&file, "no folder").unwrap();
    for (state_dir, says) in [
        (file.as_path(), "it is no folder"),
        (folder.path(), "Valkey does not start in "),
    ] {
        let output = run(&mut up(state_dir)).await;
        let said = text(&output.stderr);
        assert!(said.contains(says), "{said}");
        assert!(said.contains(folder.path().to_str().unwrap()), "{said}");
    }
}

#[tokio::test]
async fn the_dashboard_comes_packed_and_a_stream_does_not() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "passed").await;
    let encoding = async |path: &str| {
        let request = reqwest::Client::new().get(format!("{}{path}", stack.url));
        let request = request.bearer_auth(&stack.token);
        let response = request.header("Accept-Encoding", "gzip").send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let encoding = response.headers().get("content-encoding").cloned();
        encoding.map(|it| it.to_str().unwrap().to_owned())
    };
    assert_eq!(encoding("/").await.as_deref(), Some("gzip"));
    assert_eq!(encoding("/api/job-status/events/r").await, None);
}

#[tokio::test]
async fn what_is_held_back_arrives_all_the_same() {
    let stack = Stack::with(&["--hold-chunks"], &[]).await;
    stack.publish("job", "r", "waiting").await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.status().await, ("waiting".to_owned(), 1));
    stack.publish("job", "r", "running").await;
    // Nothing else is sent: a second brings it.
    assert_eq!(viewer.status().await, ("running".to_owned(), 2));
    stack.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await, (vec![3], Some("complete".to_owned())));
}

#[tokio::test]
async fn a_comment_follows_what_is_sent_where_one_is_asked_for() {
    let size = ("STREAM_FLUSH_BYTES", "4096");
    let stack = Stack::with(&["--hold-chunks=4096"], &[size]).await;
    stack.publish("job", "r", "running").await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
    stack.publish("job", "r", "passed").await;
    viewer.closed().await;
    let text = viewer.text();
    let (_, rest) = text.split_once(r#""status":"running""#).unwrap();
    let (_, rest) = rest.split_once("\n\n").unwrap();
    let comment = format!(":{}\n\n", " ".repeat(4093));
    assert!(rest.starts_with(&comment), "{rest}");
}
