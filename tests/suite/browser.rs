//! A real browser: the native `EventSource`, and the dashboard.

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

#[tokio::test]
async fn the_native_event_source_sees_the_same_bytes() {
    let stack = Stack::start().await;
    stack.publish("job", "r1", "waiting").await;
    stack.publish("job", "r1", "running").await;
    let mut page = Page::open(&stack, "/?run=r1");
    let mut viewer = stack.watch("/api/job-status/events/r1").await;
    // Once both have the current state, all that follows is live.
    page.wait("document.querySelector('#frames').textContent")
        .await;
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

    let mut expected = String::new();
    let reason = loop {
        let event = viewer.event().await.unwrap();
        match event.event.as_str() {
            "message" => expected.push_str(&format!("{} {}\n", event.id, event.data)),
            "end" => break event.data,
            _ => {}
        }
    };
    assert_eq!(reason, r#"{"reason":"complete"}"#);
    page.wait("document.title === 'complete'").await;
    let shown = page.wait("document.querySelector('#frames').textContent");
    assert_eq!(shown.await.as_str().unwrap(), expected);
    assert_eq!(expected.lines().count(), 22, "{expected}");
    page.close().await;
}

#[tokio::test]
async fn the_native_event_source_comes_back_by_itself() {
    let stack = Stack::with(&[], &[("STREAM_WINDOW_SECONDS", "1")]).await;
    stack.publish("job", "r1", "running").await;
    let mut page = Page::open(&stack, "/?run=r1");
    let frames = "document.querySelector('#frames').textContent";
    page.wait(&format!("{frames}.startsWith('1 ')")).await;
    for round in 1..=3 {
        // The window is over, and the browser has come back with the last id it saw.
        let reconnects = "Number(document.querySelector('#reconnects').textContent)";
        page.wait(&format!("{reconnects} >= {round}")).await;
        let status = if round == 3 { "passed" } else { "running" };
        stack.publish("job", "r1", status).await;
    }
    page.wait("document.title === 'complete'").await;
    let text = page.wait(frames).await;
    let ids: Vec<_> = text
        .as_str()
        .unwrap()
        .lines()
        .map(|line| &line[..2])
        .collect();
    assert_eq!(ids, ["1 ", "2 ", "3 ", "4 "]);
    page.close().await;
}

#[tokio::test]
async fn the_dashboard_shows_a_run_from_its_begin_to_its_verdict() {
    let stack = Stack::start().await;
    let mut page = Page::open(&stack, "/");
    page.wait("document.querySelector('#state').textContent === 'live'")
        .await;
    page.wait("document.body.innerText.includes('No run is in progress')")
        .await;

    let mut running = update("job", "r1", "running");
    running["progress"] = json!({"completed": 3, "total": 10, "message": "<b>Building</b>"});
    stack.send(json!([running])).await;
    let mut test = update("test", "t1", "failed");
    test["runId"] = json!("r1");
    stack.send(json!([test])).await;
    let card = page
        .wait("(text => /1\\s+failed/.test(text) && text)(document.querySelector('#running').innerText)")
        .await;
    for shown in ["r1", "running", "<b>Building</b>", "3 of 10"] {
        assert!(card.as_str().unwrap().contains(shown), "{shown} in {card}");
    }
    let listed = page
        .wait("document.querySelector('#tests').innerText")
        .await;
    assert!(listed.as_str().unwrap().contains("t1"), "{listed}");

    stack.publish("job", "r1", "failed").await;
    let row = page
        .wait("document.querySelector('#finished tr')?.innerText")
        .await;
    let row = row.as_str().unwrap();
    assert!(row.starts_with("failed") && row.contains("r1"), "{row}");
    page.wait("document.querySelector('#running').childElementCount === 0")
        .await;
    let told = page.wait("document.querySelector('#finishes').textContent");
    assert!(told.await.as_str().unwrap().starts_with("r1: failed"));
    page.close().await;
}

/// A page in a real browser.
struct Page {
    node: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Page {
    /// Opens a path of the stack.
    fn open(stack: &Stack, path: &str) -> Self {
        let browser = checkout("tests/browser");
        let chromium = std::env::var("CHROMIUM").unwrap_or("/usr/bin/chromium".to_owned());
        for needed in [
            browser.join("node_modules/playwright-core/package.json"),
            chromium.into(),
        ] {
            let shown = needed.display();
            assert!(needed.exists(), "{shown} is missing: run `make setup`");
        }
        let mut node = Command::new("node")
            .arg(browser.join("page.mjs"))
            .arg(format!("{}{path}", stack.url))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node does not start ({error}): run `make setup`"));
        Page {
            ask: node.stdin.take().unwrap(),
            answers: BufReader::new(node.stdout.take().unwrap()).lines(),
            node,
        }
    }

    /// Waits until an expression is true of the page; returns its value.
    async fn wait(&mut self, expression: &str) -> Value {
        let question = format!("{expression}\n");
        // Where it fails, there is no answer either.
        let _ = self.ask.write_all(question.as_bytes()).await;
        let answer = self.answers.next_line().await.unwrap();
        let answer = answer.unwrap_or_else(|| panic!("in vain: {expression}; why, stands above"));
        serde_json::from_str(&answer).unwrap()
    }

    /// Closes the browser.
    async fn close(self) {
        let Page { mut node, ask, .. } = self;
        drop(ask);
        assert!(node.wait().await.unwrap().success());
    }
}
