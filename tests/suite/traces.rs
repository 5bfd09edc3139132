//! Traces, as an OTLP receiver is sent them.

use std::time::Duration;

use integration::{
    eventually,
    otlp::{Received, Receiver},
    served::{Served, shared_token},
    stack::{NO_POLL, Stack, update, with},
    viewer::Viewer,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A trace and a span of a producer's.
fn traceparent() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

/// Another one.
fn other(digit: char) -> (String, String) {
    let (trace, span) = (digit.to_string().repeat(32), digit.to_string().repeat(16));
    let traceparent = format!("00-{trace}-{span}-01");
    (traceparent, trace)
}

/// A stack that traces, and where it sends them.
async fn traced(variables: &[(&str, &str)]) -> (Stack, Receiver) {
    let receiver = Receiver::start().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url.as_str());
    let stack = Stack::with(&[], &[&[NO_POLL, endpoint], variables].concat()).await;
    (stack, receiver)
}

/// Sends updates over HTTP, as part of a trace.
async fn post(stack: &Stack, updates: Value, traceparent: &str) -> Response {
    let request = stack.post_request(&stack.write_token);
    let request = request.header("traceparent", traceparent);
    let body = json!({"updates": updates}).to_string();
    request.body(body).send().await.unwrap()
}

/// A batch as SQS brings it: each message with its update, and its attribute.
fn batch(messages: &[(Value, Option<&str>)]) -> Value {
    let record = |(index, (update, traceparent)): (usize, &(Value, Option<&str>))| {
        let attribute = |value: &str| json!({"stringValue": value, "dataType": "String"});
        json!({
            "messageId": format!("m{index}"), "body": update.to_string(),
            "eventSource": "aws:sqs",
            "messageAttributes": match traceparent {
                Some(value) => json!({"traceparent": attribute(value)}),
                None => json!({}),
            },
        })
    };
    let records: Vec<_> = messages.iter().enumerate().map(record).collect();
    json!({"Records": records})
}

/// Whether these follow one another, each the child of the one before.
fn is_line(spans: &[&Received]) -> bool {
    let is_child = |pair: &[&Received]| pair[1].parent == pair[0].id;
    spans.windows(2).all(is_child) && spans.iter().all(|span| span.trace == spans[0].trace)
}

#[tokio::test]
async fn an_update_over_http_is_one_trace_from_its_producer_to_its_viewer() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20it"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=ci"),
    ];
    let (stack, receiver) = traced(&variables).await;
    let request = reqwest::Client::new().get(format!("{}/api/job-status/events/r", stack.url));
    let (of_viewer, viewers_trace) = other('5');
    let request = request
        .bearer_auth(&stack.token)
        .header("traceparent", of_viewer);
    let mut viewer = Viewer::new(request.send().await.unwrap());
    viewer.state().await;
    let update = with(update("job", "r", "passed"), json!({"jobId": "nightly"}));
    let answer = post(&stack, json!([update]), &traceparent()).await;
    assert_eq!(answer.status(), 200);
    let state = viewer.state().await;
    assert!(!state.to_string().contains(TRACE), "{state}");
    viewer.closed().await;

    let server = receiver.span("POST /api/updates").await;
    let process = receiver.span("process updates").await;
    let commit = receiver.span("commit").await;
    let publish = receiver.span("publish").await;
    let deliver = receiver.span("deliver").await;
    assert_eq!(
        (server.trace.as_str(), server.parent.as_str()),
        (TRACE, SPAN)
    );
    for child in [&commit, &publish] {
        assert!(is_line(&[&server, &process, child]), "{child:?}");
    }
    assert!(is_line(&[&server, &deliver]), "{deliver:?}");
    assert_eq!(deliver.links[0].0, viewers_trace);
    let kinds = [&server, &process, &commit, &publish, &deliver].map(|span| span.kind);
    let expected = [
        SpanKind::Server,
        SpanKind::Consumer,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ];
    assert_eq!(kinds, expected);

    assert_eq!(server.attributes["http.response.status_code"], "200");
    assert_eq!(server.attributes["http.route"], "/api/updates");
    assert_eq!(server.attributes["faas.trigger"], "http");
    assert_eq!(process.attributes["cicd.pipeline.run.id"], "r");
    assert_eq!(commit.attributes["db.system.name"], "postgresql");
    assert_eq!(publish.attributes["messaging.system"], "redis");
    assert_eq!(deliver.attributes["cicd.pipeline.name"], "nightly");
    assert_eq!(deliver.attributes["cicd.pipeline.result"], "success");
    assert_eq!(server.resource["service.name"], "ingest");
    assert_eq!(server.resource["faas.name"], "ingest");
    assert_eq!(deliver.resource["service.name"], "job-status");
    assert_eq!(server.resource["deployment.environment.name"], "ci");
    assert_eq!(server.authorization, "Bearer it");
    // What the function logs, names its request as before.
    assert!(!stack.said().contains("runcast::traces"));
}

#[tokio::test]
async fn the_field_counts_more_than_the_attribute_and_an_invalid_one_not_at_all() {
    let (stack, receiver) = traced(&[]).await;
    let mut viewer = stack.watch("/api/job-status/events?projectId=demo").await;
    let (field, of_field) = other('a');
    let (attribute, of_attribute) = other('b');
    let both = with(
        update("job", "both", "running"),
        json!({"traceparent": field}),
    );
    let one = update("job", "one", "running");
    let invalid = with(
        update("job", "invalid", "running"),
        json!({"traceparent": "00-1"}),
    );
    for (update, traces) in [
        (both, [of_field.as_str(), of_field.as_str()]),
        (one, [of_attribute.as_str(), of_attribute.as_str()]),
        (invalid, [of_attribute.as_str(), of_attribute.as_str()]),
    ] {
        let seen = receiver.spans().len();
        let sent = batch(&[(update, Some(&attribute))]);
        let answer = stack.invoke("worker", &sent).await;
        assert_eq!(answer, json!({"batchItemFailures": []}));
        viewer.state().await;
        let found = eventually("it is processed and delivered", async || {
            let spans = receiver.spans().split_off(seen);
            let named = |name| spans.iter().find(|span| span.name == name).cloned();
            Some([named("process updates")?, named("deliver")?])
        });
        let found = found.await;
        assert_eq!(found.each_ref().map(|span| span.trace.as_str()), traces);
        assert_eq!(found[0].attributes["messaging.system"], "aws_sqs");
        assert_eq!(found[0].attributes["faas.trigger"], "pubsub");
    }
}

#[tokio::test]
async fn a_batch_of_several_traces_links_to_each_and_what_is_not_kept_is_not_traced() {
    let (stack, receiver) = traced(&[]).await;
    let mut viewer = stack.watch("/api/job-status/events?projectId=demo").await;
    let ((a, of_a), (b, of_b)) = (other('a'), other('b'));
    let sent = batch(&[
        (update("job", "a", "running"), Some(&a)),
        (update("job", "b", "running"), Some(&b)),
        (
            update("job", "c", "running"),
            Some(&a.replace("-01", "-00")),
        ),
        (update("job", "d", "running"), None),
    ]);
    stack.invoke("worker", &sent).await;
    let process = receiver.span("process updates").await;
    let mut linked: Vec<_> = process.links.iter().map(|(trace, _)| trace).collect();
    linked.sort();
    linked.dedup();
    assert_eq!(linked, [&of_a, &of_b]);
    assert_eq!(process.parent, "");
    for _ in 0..4 {
        viewer.state().await;
    }
    // What says nothing is of the batch's own trace.
    let delivered = receiver.count("deliver", 3).await;
    let traces: Vec<_> = delivered.iter().map(|span| &span.trace).collect();
    assert_eq!(traces, [&of_a, &of_b, &process.trace]);
}

#[tokio::test]
async fn what_redis_lost_is_delivered_in_the_same_trace() {
    let (stack, receiver) = traced(&[("FALLBACK_POLL_SECONDS", "1")]).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    stack.worker_may_publish(false).await;
    let update = with(
        update("job", "r", "running"),
        json!({"traceparent": traceparent()}),
    );
    stack.send(json!([update])).await;
    assert_eq!(viewer.status().await.0, "running");
    let deliver = receiver.span("deliver").await;
    assert_eq!(
        (deliver.trace.as_str(), deliver.parent.as_str()),
        (TRACE, SPAN)
    );
    assert_eq!(deliver.attributes["runcast.from"], "log");
    let publish = receiver.span("publish").await;
    assert!(publish.failed && publish.trace == TRACE, "{publish:?}");
}

#[tokio::test]
async fn spans_are_sent_before_the_environment_is_frozen() {
    let (stack, receiver) = traced(&[]).await;
    for number in 1..4 {
        stack.publish("job", &format!("r{number}"), "running").await;
        // Frozen, it sends nothing any more: it is all there.
        stack.all_frozen("worker").await;
        let spans = receiver.spans();
        let count = |name| spans.iter().filter(|span| span.name == name).count();
        assert_eq!(
            ["process updates", "commit", "publish"].map(count),
            [number; 3]
        );
    }
}

#[tokio::test]
async fn switched_off_nothing_is_sent_and_what_others_say_is_passed_on() {
    let receiver = Receiver::start().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url.as_str()),
        ("OTEL_SDK_DISABLED", "true"),
    ];
    let stack = Stack::with(&[], &variables).await;
    let answer = post(
        &stack,
        json!([update("job", "r", "passed")]),
        &traceparent(),
    )
    .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(receiver.requests(), 0);
    let kept = "SELECT count(*) FROM events WHERE traceparent IS NOT NULL";
    assert_eq!(stack.number(kept).await, 0);
    let update = with(
        update("job", "s", "passed"),
        json!({"traceparent": traceparent()}),
    );
    stack.send(json!([update])).await;
    assert_eq!(stack.number(kept).await, 1);
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_little_and_not_every_time() {
    let (stack, receiver) = traced(&[]).await;
    receiver.hang(true);
    for number in 0..5 {
        let answer = post(
            &stack,
            json!([update("job", &format!("r{number}"), "running")]),
            "",
        )
        .await;
        assert_eq!(answer.status(), 200);
    }
    // A failure is rested from.
    assert!(receiver.requests() < 3, "{}", receiver.requests());
    assert!(stack.said().contains("failed to send spans"));
    assert_eq!(stack.ended("ingest").await.len(), 5);
    // It is sent again once the rest is over.
    receiver.hang(false);
    let sent = async {
        let mut number = 5;
        while receiver.spans().is_empty() {
            stack
                .post(&json!([update("job", &format!("r{number}"), "running")]))
                .await;
            number += 1;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), sent)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_receiver_that_is_away_costs_nothing() {
    let endpoint = format!("http://127.0.0.1:{}", integration::free_port());
    let stack = Stack::with(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]).await;
    let answer = post(
        &stack,
        json!([update("job", "r", "passed")]),
        &traceparent(),
    )
    .await;
    assert_eq!(answer.status(), 200);
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.status().await.0, "passed");
    assert_eq!(viewer.rest().await.1.as_deref(), Some("complete"));
    eventually("it is said", async || {
        stack.said().contains("failed to send spans").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_sends_while_it_runs_and_the_rest_before_it_ends() {
    let receiver = Receiver::start().await;
    let stack = Stack::start().await;
    let variables = [
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &*format!("{}/v1/traces", receiver.url),
        ),
        ("OTEL_SERVICE_NAME", "runs"),
        ("SHUTDOWN_GRACE_SECONDS", "0"),
    ];
    let mut server = Served::start(&stack, &variables).await;
    let send = async |id: &str| {
        let request = reqwest::Client::new().post(format!("{}/api/updates", server.url));
        let request = request.bearer_auth(shared_token("demo"));
        let updates = json!({"updates": [update("job", id, "running")]});
        assert_eq!(request.json(&updates).send().await.unwrap().status(), 200);
    };
    send("a").await;
    let first = receiver.span("POST /api/updates").await;
    assert_eq!(first.resource["service.name"], "runs");
    assert!(!first.attributes.contains_key("faas.trigger"));
    let began = Instant::now();
    send("b").await;
    assert!(server.terminate().await.success());
    let spans = receiver.spans();
    let count = |name| spans.iter().filter(|span| span.name == name).count();
    println!("ended within {} ms", began.elapsed().as_millis());
    assert_eq!(
        ["POST /api/updates", "commit", "publish"].map(count),
        [2; 3]
    );
}
