//! What the worker takes and answers, and what the specification says of it.

use futures_util::StreamExt;
use integration::{
    PATIENCE,
    stack::{Stack, update, with},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{document::Document, full};

/// Values of every sort, right and wrong, for any field.
fn values() -> Vec<Value> {
    let numbers = json!([0, -1, 1.5, 1e30, u64::MAX]);
    let lists = json!([[], [1], ["a"], [null]]);
    let objects = json!([
        {}, {"completed": 1}, {"completed": -1}, {"completed": 1e30}, {"total": 1},
        {"completed": 1, "total": null, "message": null, "more": 1},
        {"completed": 1, "total": u64::MAX}, {"completed": 1, "total": -1},
        {"completed": 1, "message": 1},
    ]);
    let long = ["x".repeat(128), "x".repeat(129)];
    let words = json!([
        "",
        " ",
        "x",
        "ä",
        "a:b",
        "a b",
        "a_b-C9",
        "\u{0}",
        "x\n",
        "job",
        "test",
        "Job",
        "running",
        "RUNNING",
        "In_Progress",
        "in-progress",
        "timed_out",
        "OK",
        "running ",
        "flying",
        "PAUſED",
    ]);
    let times = json!([
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00Z",
        "+2026-01-31T12:00:00Z",
        "2026-01-31t12:00:00.123456z",
        "2026-01-31T23:59:59.999999999-23:59",
        "2026-01-31T12:00:00-00:00",
        "2026-01-31T12:00:00+0100",
        "2026-01-31T12:00:00,5Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2016-12-31T23:59:60Z",
    ]);
    let lists = [
        json!([null, true]),
        numbers,
        lists,
        objects,
        json!(long),
        words,
        times,
    ];
    let lists = lists.iter().filter_map(Value::as_array);
    lists.flatten().cloned().collect()
}

/// A full update of each kind with another value in one field, or without it; and what was done.
fn mutations() -> Vec<(String, Value)> {
    let mut mutations = Vec::new();
    for kind in ["job", "test"] {
        let mut fields = full("job", "r", "running");
        let others = full("test", "r", "running");
        let fields = fields.as_object_mut().unwrap();
        fields.extend(others.as_object().unwrap().clone());
        for field in fields.keys() {
            let changes = values().into_iter().map(Some).chain([None]);
            for (index, change) in changes.enumerate() {
                // Each an execution of its own: only its form is judged.
                let mut update = full(kind, &format!("{field}-{index}"), "running");
                update["runId"] = json!(format!("of-{field}-{index}"));
                let what = format!("a {kind} with {field} {change:?}");
                let members = update.as_object_mut().unwrap();
                match change {
                    Some(value) => members.insert(field.clone(), value),
                    None => members.remove(field),
                };
                mutations.push((what, update));
            }
        }
    }
    mutations
}

/// Reads a project's states until its cursor comes: each is one that is specified.
async fn see_project(stack: &Stack, document: &mut Document, kind: &str) -> usize {
    let path = format!("/api/{kind}-status/events");
    let mut viewer = stack.watch(&format!("{path}?projectId=demo")).await;
    let mut states = 0;
    while viewer.last_event_id.is_none() {
        document.see_frame(&path, &mut viewer).await;
        states += 1;
    }
    states
}

#[tokio::test]
async fn the_worker_takes_what_is_specified_and_nothing_else() {
    let stack = Stack::start().await;
    let mut document = Document::read();
    // Who it is, whose, and how it stands: that is strict. All else may be read in other ways than the
    // specified one, or is left out with a warning, and costs no status.
    let strict = [
        "eventId",
        "kind",
        "id",
        "organizationId",
        "projectId",
        "status",
    ];
    let mutations = mutations();
    let mut wrong = Vec::new();
    for part in mutations.chunks(500) {
        let updates: Vec<_> = part.iter().map(|(_, update)| update).collect();
        let answer = stack.send(json!(updates)).await;
        document.see("InvocationAnswer", &answer);
        let rejected = answer["rejected"].as_array().unwrap();
        for (index, (what, update)) in part.iter().enumerate() {
            let rejection = rejected.iter().find(|one| one["index"] == index);
            let is_strict = strict
                .iter()
                .any(|field| what.contains(&format!(" with {field} ")));
            let is_right = match (document.allows("Update", update), is_strict) {
                (false, true) => rejection.is_some(),
                _ => rejection.is_none(),
            };
            if !is_right {
                wrong.push(format!("{what}: {rejection:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());

    // What is taken beside: a space for the T, as Python writes it, and a second 60.
    for time in ["2026-01-31 12:00:00+00:00", "2026-01-31T12:00:60Z"] {
        let mut beside = update("job", "beside", "running");
        beside["startedAt"] = json!(time);
        beside["occurredAt"] = json!(time);
        assert!(!document.allows("Update", &beside));
        assert_eq!(stack.send(json!([beside])).await["accepted"], 1);
    }
    let states = see_project(&stack, &mut document, "job").await;
    let states = states + see_project(&stack, &mut document, "test").await;
    assert!(states > 500, "{states}");
}

#[tokio::test]
async fn the_worker_takes_and_answers_batches_as_specified() {
    let stack = Stack::start().await;
    let mut document = Document::read();
    for payload in [
        json!({}),
        json!([]),
        json!(null),
        json!("x"),
        json!({"updates": {}}),
        json!([[]]),
        json!({"updates": null}),
        json!({"updates": []}),
        json!({"updates": [update("job", "r", "running")], "more": 1}),
    ] {
        let answer = stack.invoke_raw("worker", payload.to_string()).await;
        let is_taken = !answer.headers().contains_key("x-amz-function-error");
        assert_eq!(
            is_taken,
            document.allows("Invocation", &payload),
            "{payload}"
        );
        if is_taken {
            document.see("InvocationAnswer", &answer.json().await.unwrap());
        }
    }
    let known = update("job", "r", "flying");
    let answer = stack.send(json!([known, {"status": "no more"}])).await;
    document.see("InvocationAnswer", &answer);

    let record = json!({"messageId": "m", "body": update("job", "r", "running").to_string(),
                        "eventSource": "aws:sqs"});
    let records = json!({"Records": [record]});
    document.see("BatchAnswer", &stack.invoke("worker", &records).await);
    stack.worker_may_commit(false).await;
    let handed_back = stack.invoke("worker", &records).await;
    assert_eq!(handed_back["batchItemFailures"][0]["itemIdentifier"], "m");
    document.see("BatchAnswer", &handed_back);
    document.assert_all_seen(&[], &["InvocationAnswer", "BatchAnswer"]);
}

#[tokio::test]
async fn messages_in_redis_are_as_specified() {
    let stack = Stack::start().await;
    let mut document = Document::read();
    let restored = json!({"action": "restored"});
    stack.invoke("migrate", &restored).await;
    let client = redis::Client::open(stack.redis_url.as_str()).unwrap();
    let mut redis = client.get_async_pubsub().await.unwrap();
    redis.psubscribe("*").await.unwrap();
    // The test's two events are one of the run: it is one batch.
    let updates = json!([full("test", "t", "running"), full("test", "t", "passed")]);
    assert_eq!(stack.send(updates).await["accepted"], 2);
    let traceparent = full("job", "run", "done")["traceparent"].take();
    let end = with(
        update("job", "run", "done"),
        json!({"traceparent": traceparent}),
    );
    let end = json!([end]);
    assert_eq!(stack.send(end).await["accepted"], 1);
    let mut messages = redis.on_message();
    let mut seen = Vec::new();
    while seen.len() < 10 {
        let message = timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
        let payload: String = message.get_payload().unwrap();
        let mut state: Value = serde_json::from_str(&payload).unwrap();
        let channel = message.get_channel_name().to_owned();
        let (mut members, schema) = if channel.starts_with("project:") {
            (vec!["projectSeq"], "ProjectMessageEnvelope")
        } else if channel.starts_with("run:") {
            (vec!["runSeq"], "RunMessageEnvelope")
        } else {
            (Vec::new(), "MessageEnvelope")
        };
        members.extend([
            "organizationId",
            "projectId",
            "epoch",
            "traceparent",
            "publishedAt",
        ]);
        let members = members.into_iter().map(|member| {
            let taken = state.as_object_mut().unwrap().remove(member);
            (member.to_owned(), taken.unwrap_or_default())
        });
        let envelope: serde_json::Map<_, _> = members.collect();
        document.see(schema, &envelope.into());
        let kind = state["kind"].as_str().unwrap();
        let named = if kind == "job" {
            "JobState"
        } else {
            "TestState"
        };
        document.see(named, &state);
        seen.push(channel);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(
        seen,
        [
            "job:run:complete",
            "job:run:status",
            "project:demo:demo:job",
            "project:demo:demo:test",
            "run:demo:run",
            "test:t:complete",
            "test:t:status",
        ]
    );
    let envelopes = [
        "MessageEnvelope",
        "ProjectMessageEnvelope",
        "RunMessageEnvelope",
    ];
    document.assert_all_seen(&[], &envelopes);
}
