//! Logs and metrics: JSON lines on stdout, where Lambda takes them up. And traces, which are sent.

mod otlp;
pub mod traces;
mod unsent;

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};

use crate::config::Env;

static METRICS: OnceLock<&'static Collector> = OnceLock::new();

/// How many values were measured since the metrics were written last.
static MEASURED: AtomicUsize = AtomicUsize::new(0);

/// How many values of one metric a document holds:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
const MAX_VALUES: usize = 100;

/// Starts logging, and tracing where that is on. A line names the request it belongs to (`span.requestId`).
/// `RUST_LOG` sets what is logged; by default `info`.
pub fn log<W>(to: W, env: &Env)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter: Option<Targets> = env.get("RUST_LOG").and_then(|levels| levels.parse().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(Level::INFO));
    let filter = filter.with_target(traces::TARGET, LevelFilter::OFF);
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(to);
    match traces::layer(env) {
        Ok(None) => registry().with(lines).with(filter).init(),
        Ok(traces) => registry()
            .with(lines.with_filter(filter))
            .with(traces)
            .init(),
        Err(error) => {
            registry().with(lines).with(filter).init();
            tracing::error!(%error, "spans are not sent: see OTEL_EXPORTER_OTLP_ENDPOINT");
        }
    }
}

/// Starts logging, and counting for `CloudWatch`.
pub fn init(env: &Env) {
    log(std::io::stdout, env);
    let function = env
        .get("AWS_LAMBDA_FUNCTION_NAME")
        .unwrap_or_default()
        .to_owned();
    let collector = Builder::new()
        .cloudwatch_namespace("Runcast")
        .with_dimension("Function", function)
        .init();
    match collector {
        Ok(collector) => drop(METRICS.set(collector)),
        Err(error) => tracing::error!(%error, "metrics are not counted"),
    }
}

/// Makes room for one more measured value: a long stream measures more than a document holds.
pub fn make_room() {
    if MEASURED.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_VALUES {
        write_metrics();
    }
}

/// Writes the metrics counted so far, and sends the spans: to be done before Lambda freezes the process.
pub async fn flush() {
    write_metrics();
    if METRICS.get().is_some() {
        traces::flush().await;
    }
}

/// Writes the metrics counted so far, as `CloudWatch` embedded metric format.
fn write_metrics() {
    MEASURED.store(0, Ordering::Relaxed);
    if let Some(collector) = METRICS.get()
        && let Err(error) = collector.flush(std::io::stdout())
    {
        tracing::error!(%error, "failed to write metrics");
    }
}
