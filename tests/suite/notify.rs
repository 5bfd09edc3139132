//! Others are told of what has happened: a webhook, and `EventBridge`; each event at least once, in
//! order, however long they are away.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, Ordering},
};

use integration::{
    eventually,
    stack::{Stack, of_run, update, with},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Who is told: what came, head and body, and the status that it answers with.
#[derive(Clone)]
struct Receiver {
    url: String,
    told: Arc<Mutex<Vec<(String, Value)>>>,
    status: Arc<AtomicU16>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let receiver = Receiver {
            url: format!("http://{}", listener.local_addr().unwrap()),
            told: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
        };
        let serving = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        receiver
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut read = Vec::new();
        while let Some((head, body)) = next(&mut stream, &mut read).await {
            let status = self.status.load(Ordering::Relaxed);
            if status == 200 {
                self.told.lock().unwrap().push((head, body));
            }
            let answer = r#"{"FailedEntryCount":0,"Entries":[]}"#;
            let response = format!(
                "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Waits until it was told so many things; returns them.
    async fn has(&self, count: usize) -> Vec<(String, Value)> {
        let told = async || {
            let told = self.told.lock().unwrap().clone();
            (told.len() >= count).then_some(told)
        };
        eventually("it is told", told).await
    }
}

/// The next request of a connection.
async fn next(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, Value)> {
    loop {
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let mut headers = head.lines().filter_map(|line| line.split_once(": "));
            let length = headers.find(|(name, _)| *name == "content-length");
            let length: usize = length.unwrap().1.parse().unwrap();
            if body.len() >= length {
                let body = serde_json::from_str(&body[..length]).unwrap();
                read.drain(..head.len() + 4 + length);
                return Some((head, body));
            }
        }
        if stream.read_buf(read).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// Waits until the sinks are known to the log: what happens from now on, they are told.
async fn begun(stack: &Stack, sinks: i64) {
    eventually("the sinks begin", async || {
        let begun = "SELECT count(*) FROM sinks WHERE organization_id = ''";
        (stack.number(begun).await == sinks).then_some(())
    })
    .await;
}

async fn accept(stack: &Stack, updates: Vec<Value>) {
    let sent = updates.len();
    let answer = stack.send(json!(updates)).await;
    assert_eq!(answer["accepted"], sent, "{answer}");
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    headers.find(|(it, _)| *it == name).unwrap().1
}

#[tokio::test]
async fn the_ends_of_runs_are_told_to_a_webhook() {
    let receiver = Receiver::start().await;
    let url = format!("{}/hook", receiver.url);
    let variables = [("WEBHOOK_URL", url.as_str()), ("WEBHOOK_SECRET", SECRET)];
    let stack = Stack::with(&[], &variables).await;
    begun(&stack, 1).await;
    accept(
        &stack,
        vec![
            update("job", "r", "running"),
            of_run("r", "a", "running"),
            update("job", "r", "failed"),
        ],
    )
    .await;
    // Its counts are to be the last.
    accept(&stack, vec![of_run("r", "a", "failed")]).await;
    let told = receiver.has(1).await;
    let (head, event) = &told[0];
    assert!(head.starts_with("post /hook "), "{head}");
    let content_type = "application/cloudevents+json; charset=utf-8";
    assert_eq!(header(head, "content-type"), content_type);
    assert_eq!(header(head, "webhook-id"), "/runcast/demo/demo/job:r:3");
    assert!(header(head, "webhook-signature").starts_with("v1,"));
    let data = &event["data"];
    assert_eq!(
        json!({
            "specversion": event["specversion"], "id": event["id"], "source": event["source"],
            "type": event["type"], "subject": event["subject"], "time": event["time"],
            "status": data["status"], "failed": data["tests"]["failed"], "running": data["tests"]["running"],
        }),
        json!({
            "specversion": "1.0", "id": "job:r:3", "source": "/runcast/demo/demo",
            "type": "runcast.job.ended", "subject": "job/r", "time": data["occurredAt"],
            "status": "failed", "failed": 1, "running": 0,
        })
    );

    // Facts that come after the end are no end; that of the next attempt is.
    let late = json!({"artifactPaths": ["a.zip"]});
    let second = json!({"attempt": 2});
    accept(
        &stack,
        vec![
            with(update("job", "r", "failed"), late),
            with(update("job", "r", "passed"), second),
            update("job", "other", "passed"),
        ],
    )
    .await;
    let told = receiver.has(3).await;
    let subjects: Vec<_> = told
        .iter()
        .map(|(_, event)| (&event["subject"], &event["data"]["attempt"]))
        .collect();
    assert_eq!(
        subjects,
        [
            (&json!("job/r"), &json!(1)),
            (&json!("job/r"), &json!(2)),
            (&json!("job/other"), &json!(1))
        ]
    );
}

#[tokio::test]
async fn a_sink_that_is_away_loses_nothing_and_holds_up_no_other() {
    let (webhook, bridge) = (Receiver::start().await, Receiver::start().await);
    let variables = [
        ("WEBHOOK_URL", webhook.url.as_str()),
        ("WEBHOOK_SECRET", SECRET),
        ("EVENT_BUS", "ci"),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", bridge.url.as_str()),
        ("NOTIFY_CHANGES", "all"),
    ];
    let stack = Stack::with(&[], &variables).await;
    begun(&stack, 2).await;
    webhook.answer(503);
    for n in 0..30 {
        let project = json!({"projectId": format!("p{}", n % 3)});
        let run = with(update("job", &format!("r{n}"), "running"), project.clone());
        let test = with(
            of_run(&format!("r{n}"), &format!("t{n}"), "passed"),
            project.clone(),
        );
        let end = with(update("job", &format!("r{n}"), "passed"), project);
        accept(&stack, vec![run, test, end]).await;
    }
    let entries = async || {
        let told = bridge.told.lock().unwrap().clone();
        let entries = told
            .iter()
            .flat_map(|(_, body)| body["Entries"].as_array().unwrap().clone());
        let entries: Vec<Value> = entries.collect();
        (entries.len() >= 120).then_some(entries)
    };
    let entries = eventually("EventBridge has all of it", entries).await;
    assert_eq!(
        (&entries[0]["Source"], &entries[0]["EventBusName"]),
        (&json!("runcast"), &json!("ci"))
    );
    let head = bridge.told.lock().unwrap()[0].0.clone();
    assert_eq!(header(&head, "x-amz-target"), "awsevents.putevents");
    assert!(header(&head, "authorization").contains("/events/aws4_request"));
    assert!(webhook.told.lock().unwrap().is_empty());

    webhook.answer(200);
    let told = webhook.has(120).await;
    // Of each project and kind all events, in order; what its test did is an event of the run, too.
    for project in 0..3 {
        for (kind, expected) in [("job", 30), ("test", 10)] {
            let source = format!("/runcast/demo/p{project}");
            let of = |event: &Value| {
                let subject = event["subject"].as_str().unwrap();
                (event["source"] == source && subject.starts_with(kind))
                    .then(|| (subject.to_owned(), event["data"]["seq"].as_u64().unwrap()))
            };
            let hooked: Vec<_> = told.iter().filter_map(|(_, event)| of(event)).collect();
            let details = entries
                .iter()
                .map(|entry| entry["Detail"].as_str().unwrap());
            let bridged: Vec<_> = details
                .filter_map(|detail| of(&serde_json::from_str(detail).unwrap()))
                .collect();
            assert_eq!(hooked, bridged, "{source} {kind}");
            assert_eq!(hooked.len(), expected, "{source} {kind}");
        }
    }
}
