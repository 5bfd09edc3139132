//! `runcast-client/react` in an application in Next.js (App Router), in `tests/next`.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use integration::{PATIENCE, checkout, free_port, stack::Stack};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::browser::Browser;

/// How long Next.js may compile: the machine may be busy with other tests.
const COMPILER_PATIENCE: Duration = Duration::from_mins(5);

#[tokio::test]
async fn the_provider_in_a_layout_builds_and_a_page_opens_one_stream() {
    install_client().await;
    let built = timeout(COMPILER_PATIENCE, next(&["build"]).output()).await;
    succeeded(&built.expect("it ends").unwrap());
    // What is built mounts a component once; the development server (StrictMode) twice.
    for (mode, effects) in [("start", 1), ("dev", 2)] {
        let port = free_port();
        let origin = format!("http://127.0.0.1:{port}");
        let stack = Stack::with(&[], &[("CORS_ALLOWED_ORIGINS", &origin)]).await;
        stack.publish("job", "r1", "running").await;
        let server = Server::start(mode, port, &stack).await;
        server.is_ready(&format!("{origin}/runs/r1")).await;
        let mut page = Browser::at(&origin, "/runs/r1").await;
        page.shows("#run", &["running"]).await;
        page.wait(&format!("window.effects === {effects}")).await;
        stack.publish("job", "r1", "passed").await;
        page.shows("#run", &["passed"]).await;
        stack.all_frozen("job-status").await;
        let opened = stack.said().matches("\"stream ended\"").count();
        assert_eq!(opened, 1, "{mode}");
        page.quit().await;
    }
}

/// Puts the built client where the application finds it.
async fn install_client() {
    let installed = app().join("node_modules/runcast-client");
    std::fs::create_dir_all(&installed).unwrap();
    std::fs::copy(checkout("web/package.json"), installed.join("package.json")).unwrap();
    let vite = Command::new("node")
        .arg(checkout("web/node_modules/vite/bin/vite.js"))
        .args(["build", "--config", "vite.client.config.ts"])
        .args(["--logLevel", "warn", "--emptyOutDir", "--outDir"])
        .arg(installed.join("dist-client"))
        .current_dir(checkout("web"))
        .kill_on_drop(true)
        .output();
    let vite = timeout(PATIENCE, vite).await;
    succeeded(&vite.unwrap().unwrap());
}

fn app() -> PathBuf {
    let app = checkout("tests/next");
    let installed = app.join("node_modules/next");
    let shown = installed.display();
    assert!(
        installed.exists(),
        "{shown} is missing: run `make setup-tests`"
    );
    app
}

/// A command of Next.js.
fn next(arguments: &[&str]) -> Command {
    let mut next = Command::new("node");
    next.arg("node_modules/next/dist/bin/next")
        .args(arguments)
        .current_dir(app())
        .env("NEXT_TELEMETRY_DISABLED", "1")
        .kill_on_drop(true);
    next
}

fn succeeded(output: &Output) {
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
}

/// The application, served. Dropped, it ends, with all that it has started.
struct Server {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Server {
    async fn start(mode: &str, port: u16, stack: &Stack) -> Self {
        let token = stack.token(&["--org", "demo"]).await;
        let log = tempfile::NamedTempFile::new().unwrap();
        let port = port.to_string();
        let child = next(&[mode, "--hostname", "127.0.0.1", "--port", &port])
            .env("RUNCAST_URL", &stack.url)
            .env("RUNCAST_TOKEN", token)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.reopen().unwrap())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Server { child, log }
    }

    /// Waits until it has compiled the page.
    async fn is_ready(&self, url: &str) {
        let give_up = Instant::now() + COMPILER_PATIENCE;
        loop {
            let answer = reqwest::get(url).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let said = std::fs::read_to_string(self.log.path()).unwrap();
            assert!(Instant::now() < give_up, "the page does not come:\n{said}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
