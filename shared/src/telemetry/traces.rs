//! Traces: what happens to an update, from its producer to its viewers, as OpenTelemetry's spans. Off,
//! unless `OTEL_EXPORTER_OTLP_ENDPOINT`, or `…_TRACES_ENDPOINT`, is set: then nothing is allocated for them.
//!
//! What the SDK itself reads, counts: `OTEL_EXPORTER_OTLP_*`, `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`,
//! `OTEL_RESOURCE_ATTRIBUTES`. Names are those of the semantic conventions:
//! <https://opentelemetry.io/docs/specs/semconv/>.

use std::{
    collections::HashSet, convert::Infallible, future::pending, sync::OnceLock, time::Duration,
};

use http::{HeaderMap, Request, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{SdkTracerProvider, SpanExporter as _},
};
use tokio_postgres::error::SqlState;
use tracing::{Instrument, Level, Metadata, Span, Subscriber, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use super::{
    otlp::Client,
    unsent::{Collect, Unsent},
};
use crate::{
    config::Env,
    execution::{Id, JobState, State, Status, TestState, TraceParent},
    log::{Appended, LogError, Submission},
    tls::Roots,
};

/// The target of all spans, which the log's lines do not show.
pub(super) const TARGET: &str = "runcast::traces";

/// How long an answer may wait until its spans are sent, before Lambda freezes the process.
const BEFORE_FREEZE: Duration = Duration::from_millis(500);

/// The same of a process that ends.
const BEFORE_END: Duration = Duration::from_secs(2);

/// How long they may take while it runs.
const MEANWHILE: Duration = Duration::from_secs(10);

/// How many links a span has at most.
const MAX_LINKS: usize = 128;

static UNSENT: OnceLock<Unsent> = OnceLock::new();

/// What makes traces of spans; `None` where they are off.
///
/// # Errors
/// Where a variable has a value that it does not take.
pub(super) fn layer<S>(env: &Env) -> Result<Option<impl Layer<S>>, ExporterBuildError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_set = |name| env.get(name).is_some();
    let is_on =
        is_set("OTEL_EXPORTER_OTLP_ENDPOINT") || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    if !is_on || env.get("OTEL_SDK_DISABLED") == Some("true") {
        return Ok(None);
    }
    let certificate = env.get("OTEL_EXPORTER_OTLP_CERTIFICATE");
    let client = Client::new(certificate.and_then(Roots::of_file));
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        // What is unsent rests where sending fails.
        .with_retry_policy(RetryPolicy::disabled())
        .with_http_client(client)
        .build()?;
    let resource = resource(env);
    exporter.set_resource(&resource);
    let unsent = UNSENT.get_or_init(|| Unsent::new(exporter));
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(Collect(unsent))
        .build();
    // What went wrong is told in the span in which it did.
    let is_told = |of: &Metadata<'_>| {
        let is_wrong = of.is_event() && *of.level() <= Level::WARN;
        is_wrong || of.is_span() && of.target() == TARGET
    };
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("runcast"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(is_told));
    Ok(Some(layer))
}

/// Who makes these spans; what variables say of it counts more than what is known.
fn resource(env: &Env) -> Resource {
    let function = env.get("AWS_LAMBDA_FUNCTION_NAME");
    let mut known = vec![
        KeyValue::new("service.name", function.unwrap_or("runcast").to_owned()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    if function.is_some() {
        known.push(KeyValue::new("cloud.provider", "aws"));
        known.push(KeyValue::new("cloud.platform", "aws_lambda"));
        let named = [
            ("cloud.region", "AWS_REGION"),
            ("faas.name", "AWS_LAMBDA_FUNCTION_NAME"),
            ("faas.version", "AWS_LAMBDA_FUNCTION_VERSION"),
            ("faas.instance", "AWS_LAMBDA_LOG_STREAM_NAME"),
        ];
        let named = named.iter().filter_map(|(name, variable)| {
            let value = env.get(variable)?;
            Some(KeyValue::new(*name, value.to_owned()))
        });
        known.extend(named);
    }
    let resource = Resource::builder_empty()
        .with_attributes(known)
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ]);
    match env.get("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name.to_owned()),
        None => resource,
    }
    .build()
}

/// Sends the spans of this process, as long as it runs.
pub async fn send() -> Infallible {
    match UNSENT.get() {
        Some(unsent) => unsent.send_on(MEANWHILE).await,
        None => pending().await,
    }
}

/// Sends what is left of them before the process is frozen, if it can be sent in time.
pub(super) async fn flush() {
    if let Some(unsent) = UNSENT.get() {
        unsent.send(BEFORE_FREEZE).await;
    }
}

/// The same before it ends.
pub async fn finish() {
    if let Some(unsent) = UNSENT.get() {
        unsent.send(BEFORE_END).await;
    }
}

/// Of which trace a request is, where there are traces.
pub(crate) fn of_headers(headers: &HeaderMap) -> Option<TraceParent> {
    UNSENT.get()?;
    headers.get("traceparent")?.to_str().ok()?.parse().ok()
}

/// What names a span to others; `None` where nobody keeps it.
pub(crate) fn named(span: &Span) -> Option<TraceParent> {
    if span.is_disabled() {
        return None;
    }
    TraceParent::of(span.context().span().span_context())
}

fn follow(span: &Span, parent: &TraceParent) {
    let parent = Context::new().with_remote_span_context(parent.span().clone());
    // It has not begun yet.
    let _ = span.set_parent(parent);
}

/// A request with updates: the server's. `request_id`: of the invocation that brought it.
pub(crate) fn request<B>(request: &Request<B>, request_id: Option<&str>) -> Span {
    let span = info_span!(
        target: TARGET,
        "POST /api/updates",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = "POST",
        http.route = "/api/updates",
        http.response.status_code = Empty,
        url.scheme = request.uri().scheme_str().unwrap_or("http"),
        url.path = request.uri().path(),
        error.type = Empty,
        faas.trigger = Empty,
        faas.invocation_id = Empty,
    );
    if let Some(parent) = of_headers(request.headers()) {
        follow(&span, &parent);
    }
    if let Some(request_id) = request_id {
        invoked(&span, "http", request_id);
    }
    span
}

/// By what, and how, a function was invoked.
fn invoked(span: &Span, trigger: &str, request_id: &str) {
    span.record("faas.trigger", trigger);
    span.record("faas.invocation_id", request_id);
}

/// What a request was answered.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
}

/// How updates came.
#[derive(Clone, Copy, Debug)]
pub enum Via<'a> {
    /// Over HTTP.
    Http,
    /// By an invocation, which has this id: from a queue, or a direct one.
    Invocation {
        /// Of SQS.
        is_queue: bool,
        /// Lambda's name of it.
        request_id: &'a str,
    },
}

/// What becomes of a batch of updates: of the trace that all of them are of, or with links to theirs.
pub(crate) fn process(submissions: &[Submission<'_>], via: Via<'_>) -> Span {
    let span = info_span!(
        target: TARGET,
        "process updates",
        otel.kind = "consumer",
        messaging.system = Empty,
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.batch.message_count = submissions.len(),
        faas.trigger = Empty,
        faas.invocation_id = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    match via {
        Via::Http => _ = span.record("messaging.system", "runcast"),
        Via::Invocation {
            is_queue,
            request_id,
        } => {
            let (system, trigger) = if is_queue {
                ("aws_sqs", "pubsub")
            } else {
                ("runcast", "other")
            };
            span.record("messaging.system", system);
            invoked(&span, trigger, request_id);
        }
    }
    let updates = || submissions.iter().filter_map(|it| it.update.as_ref().ok());
    let parents: HashSet<_> = updates()
        .filter_map(|update| update.traceparent.as_ref())
        .collect();
    match parents.len() {
        1 => parents.iter().for_each(|parent| follow(&span, parent)),
        _ => {
            let links = parents.iter().take(MAX_LINKS);
            links.for_each(|parent| span.add_link(parent.span().clone()));
        }
    }
    if let [
        Submission {
            update: Ok(update), ..
        },
    ] = submissions
    {
        let run_id = update.run_id.as_ref().unwrap_or(&update.id);
        span.set_attribute("cicd.pipeline.run.id", run_id.to_string());
    }
    span
}

/// Commits so many updates.
pub(crate) async fn commit(
    updates: usize,
    append: impl Future<Output = Result<Appended, LogError>>,
) -> Result<Appended, LogError> {
    let span = info_span!(
        target: TARGET,
        "commit",
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "postgresql",
        db.operation.batch.size = updates,
        db.response.status_code = Empty,
        error.type = Empty,
    );
    let appended = append.instrument(span.clone()).await;
    appended.inspect_err(|error| not_committed(&span, error))
}

fn not_committed(span: &Span, error: &LogError) {
    span.record("otel.status_code", "ERROR");
    let code = match error {
        LogError::Query(error) => error.code().map(SqlState::code),
        _ => None,
    };
    if let Some(code) = code {
        span.record("db.response.status_code", code);
    }
    let of_another_type = match error {
        LogError::Connect(_) => "connect",
        LogError::TimedOut(_) => "timeout",
        _ => "_OTHER",
    };
    span.record("error.type", code.unwrap_or(of_another_type));
}

/// So many events, told to Redis.
pub(crate) fn publish(events: usize) -> Span {
    info_span!(
        target: TARGET,
        "publish",
        otel.kind = "producer",
        otel.status_code = Empty,
        messaging.system = "redis",
        messaging.operation.name = "publish",
        messaging.operation.type = "send",
        messaging.batch.message_count = events,
        error.type = Empty,
    )
}

/// It failed: why, is in the log.
pub(crate) fn not_published(span: &Span) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", "_OTHER");
}

/// An event's frame, written to a viewer, who may have a trace of its own. `state`: its data.
pub(crate) fn deliver(
    event: &TraceParent,
    state: &str,
    is_from_redis: bool,
    stream_id: &Id,
    viewer: Option<&TraceParent>,
) -> Span {
    let span = info_span!(
        target: TARGET,
        "deliver",
        otel.kind = "consumer",
        messaging.system = "runcast",
        messaging.operation.name = "deliver",
        messaging.operation.type = "process",
        messaging.message.body.size = state.len(),
        runcast.stream.id = %stream_id,
        runcast.from = if is_from_redis { "redis" } else { "log" },
    );
    if span.is_disabled() {
        return span;
    }
    follow(&span, event);
    if let Some(viewer) = viewer {
        span.add_link(viewer.span().clone());
    }
    if let Ok(state) = State::from_json(state) {
        for KeyValue { key, value, .. } in of_state(&state) {
            span.set_attribute(key, value);
        }
    }
    span
}

/// What an execution is by the conventions for CI/CD, and for tests.
fn of_state(state: &State) -> Vec<KeyValue> {
    let text = |name, text: &str| KeyValue::new(name, text.to_owned());
    match state {
        State::Job(JobState {
            run_id,
            job_id,
            status,
            ..
        }) => {
            let mut said = vec![text("cicd.pipeline.run.id", run_id.as_str())];
            said.extend(
                job_id
                    .as_ref()
                    .map(|id| text("cicd.pipeline.name", id.as_str())),
            );
            said.push(match status {
                Status::Waiting => text("cicd.pipeline.run.state", "pending"),
                Status::Running => text("cicd.pipeline.run.state", "executing"),
                Status::Completed | Status::Passed => text("cicd.pipeline.result", "success"),
                Status::Failed => text("cicd.pipeline.result", "failure"),
                Status::Error => text("cicd.pipeline.result", "error"),
                Status::Cancelled => text("cicd.pipeline.result", "cancellation"),
                Status::Skipped => text("cicd.pipeline.result", "skip"),
            });
            said
        }
        State::Test(TestState {
            test_id,
            run_id,
            name,
            suite,
            status,
            ..
        }) => {
            let name = name.as_deref().unwrap_or(test_id.as_str());
            let mut said = vec![text("test.case.name", name)];
            said.extend(suite.as_ref().map(|suite| text("test.suite.name", suite)));
            said.extend(
                run_id
                    .as_ref()
                    .map(|id| text("cicd.pipeline.run.id", id.as_str())),
            );
            let result = match status {
                Status::Passed => Some("pass"),
                Status::Failed | Status::Error => Some("fail"),
                _ => None,
            };
            said.extend(result.map(|result| text("test.case.result.status", result)));
            said
        }
    }
}
