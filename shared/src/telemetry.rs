//! Logs and metrics: JSON lines on stdout, where Lambda takes them up.

use std::sync::OnceLock;

use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing_subscriber::EnvFilter;

static METRICS: OnceLock<&'static Collector> = OnceLock::new();

/// Starts logging and counting. A line names the request it belongs to (`span.requestId`).
/// `RUST_LOG` sets what is logged; by default `info`.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .init();
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

/// Writes the metrics counted so far, as `CloudWatch` embedded metric format.
pub fn flush() {
    if let Some(collector) = METRICS.get()
        && let Err(error) = collector.flush(std::io::stdout())
    {
        tracing::error!(%error, "failed to write metrics");
    }
}
