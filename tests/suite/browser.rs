//! A real browser: the native `EventSource`, and the dashboard with the stack; `tests/browser` has what the
//! dashboard does.

use std::process::Stdio;

use integration::{
    checkout, eventually,
    stack::{Stack, update},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// The page's budget, in bytes, each file compressed.
const BUDGET: u64 = 150 * 1024;

#[tokio::test]
async fn the_native_event_source_sees_the_same_bytes() {
    let stack = Stack::start().await;
    stack.publish("job", "r1", "waiting").await;
    stack.publish("job", "r1", "running").await;
    let mut page = Browser::open(&stack, "/config.json").await;
    page.listen(&stack, "r1").await;
    let mut viewer = stack.watch("/api/job-status/events/r1").await;
    // Once both have the current state, all that follows is live.
    page.wait("shown.length").await;
    eventually("the browser and the viewer listen", async || {
        (stack.subscribers("job", "r1").await == 2).then_some(())
    })
    .await;

    for completed in 1..=20 {
        let mut running = update("job", "r1", "running");
        let message = format!("Größe {completed} — \"ok\" \\ <b>&amp;</b> \u{2028} 🚀");
        running["progress"] = json!({"completed": completed, "total": 20, "message": message});
        stack.send(json!([running])).await;
    }
    let mut passed = update("job", "r1", "passed");
    passed["artifactPaths"] = json!(["s3://bucket/ä.zip", ""]);
    stack.send(json!([passed])).await;

    let mut expected = Vec::new();
    let reason = loop {
        let event = viewer.event().await.unwrap();
        match event.event.as_str() {
            "message" => expected.push(format!("{} {}", event.id, event.data)),
            "end" => break event.data,
            _ => {}
        }
    };
    assert_eq!(reason, r#"{"reason":"complete"}"#);
    page.wait("document.title === 'complete'").await;
    assert_eq!(page.wait("shown").await, json!(expected));
    assert_eq!(expected.len(), 22, "{expected:?}");
    page.quit().await;
}

#[tokio::test]
async fn the_native_event_source_comes_back_by_itself() {
    let stack = Stack::with(&[], &[("STREAM_WINDOW_SECONDS", "1")]).await;
    stack.publish("job", "r1", "running").await;
    let mut page = Browser::open(&stack, "/config.json").await;
    page.listen(&stack, "r1").await;
    page.wait("shown.length").await;
    for round in 1..=3 {
        // The window is over, and the browser has come back with the last id it saw.
        page.wait(&format!("opened > {round}")).await;
        let status = if round == 3 { "passed" } else { "running" };
        stack.publish("job", "r1", status).await;
    }
    page.wait("document.title === 'complete'").await;
    let ids = page.wait("shown.map((frame) => frame.slice(0, 2))").await;
    assert_eq!(ids, json!(["1 ", "2 ", "3 ", "4 "]));
    page.quit().await;
}

#[tokio::test]
async fn ten_tabs_hold_one_environment_of_each_kind_and_free_it_when_they_close() {
    let stack = Stack::start().await;
    let mut page = Browser::open(&stack, "/").await;
    page.is_live().await;
    for _ in 1..10 {
        page.ask(json!({"do": "open", "path": "/"})).await;
    }
    stack.publish("job", "r1", "running").await;
    for tab in 0..10 {
        let expression = "document.querySelector('#running')?.innerText.includes('r1')";
        page.ask(json!({"do": "wait", "tab": tab, "expression": expression}))
            .await;
    }
    // A project's runs, and the queues.
    assert_eq!(busy(&stack).await, [1, 0, 1]);
    // The first one holds the streams; another takes them over.
    page.ask(json!({"do": "close", "tab": 0})).await;
    stack.publish("job", "r1", "passed").await;
    for tab in 1..10 {
        let expression = "document.querySelector('#finished')?.innerText.includes('r1')";
        page.ask(json!({"do": "wait", "tab": tab, "expression": expression}))
            .await;
    }
    eventually("one environment of each kind", async || {
        (busy(&stack).await == [1, 0, 1]).then_some(())
    })
    .await;
    let is_live = "document.querySelector('#connection').dataset.state === 'open'";
    page.ask(json!({"do": "wait", "tab": 1, "expression": is_live}))
        .await;
    // Locks are granted in the order in which tabs asked: the second one leads, and closes last. A
    // stream that was not told its id yet, in a tab that goes, runs to the end of its window.
    for tab in (1..10).rev() {
        page.ask(json!({"do": "close", "tab": tab})).await;
    }
    eventually("every environment is free", async || {
        (busy(&stack).await == [0, 0, 0]).then_some(())
    })
    .await;
    page.quit().await;
}

#[tokio::test]
async fn axe_finds_nothing_serious_in_light_and_dark() {
    let stack = Stack::start().await;
    for (run, status) in [("r1", "passed"), ("r2", "error"), ("r3", "cancelled")] {
        stack.publish("job", run, status).await;
    }
    stack.publish("job", "r4", "running").await;
    let mut test = update("test", "r4-t1", "failed");
    (test["runId"], test["error"]) = (json!("r4"), json!("expected 200, got 503"));
    (test["willRetry"], test["labels"]) = (json!(true), json!({"branch": "main"}));
    test["url"] = json!("https://ci.example.com/1");
    stack.send(json!([test])).await;
    let mut retried = update("test", "r4-t1", "passed");
    retried["runId"] = json!("r4");
    stack.send(json!([retried])).await;
    progress(&stack, "r4", 2).await;
    let mut page = Browser::open(&stack, "/").await;
    page.shows("#running", &["2 of 9"]).await;
    page.shows("#finished", &["error"]).await;
    page.ask(json!({"do": "open", "path": "/#/runs/r4"})).await;
    let expression = "document.querySelector('#tests')?.innerText.includes('t1')";
    page.ask(json!({"do": "wait", "tab": 1, "expression": expression}))
        .await;
    for (tab, scheme) in [(0, "light"), (0, "dark"), (1, "light"), (1, "dark")] {
        let found = page.ask(json!({"do": "axe", "tab": tab, "scheme": scheme}));
        assert_eq!(found.await, json!([]), "tab {tab}, {scheme}");
    }
    page.quit().await;
}

#[tokio::test]
async fn the_page_is_light_and_soon_shows_a_state() {
    let stack = Stack::start().await;
    stack.publish("job", "r1", "running").await;
    let mut page = Browser::open(&stack, "/").await;
    page.shows("#running", &["r1"]).await;
    let weight = page.ask(json!({"do": "weight"})).await;
    // The machine may be busy with other tests: the best of some.
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let first = json!({"do": "first", "path": "/", "selector": "#running"});
        best = best.min(page.ask(first).await.as_f64().unwrap());
    }
    eprintln!(
        "the page has {weight} bytes, compressed; the first state stands there after {best:.0} ms"
    );
    assert!(weight.as_u64().unwrap() < BUDGET, "{weight} bytes");
    assert!(best < 1000.0, "{best} ms");
    page.quit().await;
}

#[tokio::test]
async fn only_the_stacks_own_page_may_break_its_servers_and_invoke_its_functions() {
    let stack = Stack::start().await;
    let press = async |path: &str, origin: &str| {
        let request = reqwest::Client::new().post(format!("{}{path}", stack.url));
        request
            .header("Origin", origin)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    for path in [
        "/_local/scene",
        "/_local/faults/redis",
        "/_local/faults/postgres",
        "/_local/token",
        "/2015-03-31/functions/worker/invocations",
    ] {
        let status = press(path, "https://elsewhere.example").await;
        assert_eq!(status, 403, "{path}");
    }
    assert_eq!(
        press("/_local/faults/redis?seconds=0", &stack.url).await,
        400
    );
    let guest = Stack::beside(&stack.redis_url, &stack.database_url, &[]).await;
    let url = format!("{}/_local/faults/redis", guest.url);
    let response = reqwest::Client::new().post(url).send().await.unwrap();
    assert_eq!(response.status(), 409, "what was given is not broken");
}

/// How many environments serve a stream now: of job-status, test-status, queue-stats.
async fn busy(stack: &Stack) -> [usize; 3] {
    let report = stack.report().await;
    ["job-status", "test-status", "queue-stats"].map(|function| {
        let processes = report["functions"][function]["processes"]
            .as_array()
            .unwrap();
        processes
            .iter()
            .filter(|process| process["state"] == "busy")
            .count()
    })
}

async fn progress(stack: &Stack, run: &str, completed: u64) {
    let mut running = update("job", run, "running");
    running["progress"] = json!({"completed": completed, "total": 9, "message": null});
    let answer = stack.send(json!([running])).await;
    assert_eq!(answer["accepted"], 1, "{answer}");
}

/// Tabs of a real browser; the first one is open from the start.
pub(super) struct Browser {
    node: Child,
    input: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Browser {
    /// Opens a path of the stack.
    async fn open(stack: &Stack, path: &str) -> Self {
        Self::at(&stack.url, path).await
    }

    /// Opens a path of any server.
    pub(super) async fn at(url: &str, path: &str) -> Self {
        let browser = checkout("tests/browser");
        let chromium = std::env::var("CHROMIUM").unwrap_or("/usr/bin/chromium".to_owned());
        for needed in [
            browser.join("node_modules/playwright-core/package.json"),
            checkout("web/dist/index.html"),
            chromium.into(),
        ] {
            let shown = needed.display();
            assert!(
                needed.exists(),
                "{shown} is missing: run `make build setup-tests`"
            );
        }
        let mut node = Command::new("node")
            .arg(browser.join("page.mjs"))
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("node does not start ({error}): install Node 20.19 or newer")
            });
        let mut browser = Browser {
            input: node.stdin.take().unwrap(),
            answers: BufReader::new(node.stdout.take().unwrap()).lines(),
            node,
        };
        browser.ask(json!({"do": "open", "path": path})).await;
        browser
    }

    /// Gives a command; returns its answer.
    async fn ask(&mut self, command: Value) -> Value {
        let line = format!("{command}\n");
        // Where it fails, there is no answer either.
        let _ = self.input.write_all(line.as_bytes()).await;
        let answer = self.answers.next_line().await.unwrap();
        let answer = answer.unwrap_or_else(|| panic!("in vain: {command}; why, stands above"));
        serde_json::from_str(&answer).unwrap()
    }

    /// Waits until an expression is true of the first tab; returns its value.
    pub(super) async fn wait(&mut self, expression: &str) -> Value {
        self.ask(json!({"do": "wait", "tab": 0, "expression": expression}))
            .await
    }

    /// Waits until the texts stand in what a selector finds.
    pub(super) async fn shows(&mut self, selector: &str, texts: &[&str]) {
        let expression = format!(
            "(shown => shown !== undefined && {}.every((text) => shown.includes(text)))\
             (document.querySelector('{selector}')?.innerText)",
            json!(texts)
        );
        self.wait(&expression).await;
    }

    async fn is_live(&mut self) {
        self.wait("document.querySelector('#connection')?.dataset.state === 'open'")
            .await;
    }

    /// Opens a native `EventSource`; what it shows is in `shown`, how often it opened in `opened`.
    async fn listen(&mut self, stack: &Stack, run: &str) {
        let token = stack.token(&["--org", "demo", "--ttl", "300"]).await;
        let path = format!("/api/job-status/events/{run}?token={token}");
        let expression = format!(
            "Object.assign(window, {{ shown: [], opened: 0, source: new EventSource('{path}') }}) && (
                source.onopen = () => {{ opened += 1; }},
                source.onmessage = ({{ lastEventId, data }}) => shown.push(`${{lastEventId}} ${{data}}`),
                source.addEventListener('end', ({{ data }}) => {{
                    if (JSON.parse(data).reason !== 'complete') return;
                    source.close();
                    document.title = 'complete';
                }}), true)"
        );
        self.wait(&expression).await;
    }

    /// Closes the browser.
    pub(super) async fn quit(self) {
        let Browser {
            mut node, input, ..
        } = self;
        drop(input);
        assert!(node.wait().await.unwrap().success());
    }
}
