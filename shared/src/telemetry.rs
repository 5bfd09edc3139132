//! Logs and metrics: JSON lines on stdout, where Lambda takes them up.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

static METRICS: OnceLock<&'static Collector> = OnceLock::new();

/// How many values were measured since the metrics were written last.
static MEASURED: AtomicUsize = AtomicUsize::new(0);

/// How many values of one metric a document holds:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
const MAX_VALUES: usize = 100;

/// Starts logging. A line names the request it belongs to (`span.requestId`).
/// `RUST_LOG` sets what is logged; by default `info`.
pub fn log<W>(to: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(to)
        .init();
}

/// Starts logging, and counting for `CloudWatch`.
pub fn init() {
    log(std::io::stdout);
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
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
        flush();
    }
}

/// Writes the metrics counted so far, as `CloudWatch` embedded metric format.
pub fn flush() {
    MEASURED.store(0, Ordering::Relaxed);
    if let Some(collector) = METRICS.get()
        && let Err(error) = collector.flush(std::io::stdout())
    {
        tracing::error!(%error, "failed to write metrics");
    }
}
