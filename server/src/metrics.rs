//! `GET /metrics`: what the functions count, as Prometheus reads it
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SetRecorderError, SharedString,
    Unit,
};
use metrics_exporter_prometheus::{
    BuildError, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// The buckets of latencies, in milliseconds.
const BUCKETS: [f64; 13] = [
    0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 10_000.0,
];

/// Counts from here on; the handle says what was counted.
///
/// # Errors
/// Where something else counts already.
pub(crate) fn install() -> Result<PrometheusHandle, SetRecorderError<Renamed>> {
    #[expect(clippy::expect_used, reason = "there are buckets")]
    let builder = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .map_err(|error: BuildError| error.to_string())
        .expect("buckets");
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(Renamed(recorder))?;
    Ok(handle)
}

/// Names as Prometheus has them: `FramesSent` is `runcast_frames_sent_total`.
pub(crate) struct Renamed(PrometheusRecorder);

fn renamed(key: &Key, unit: &str) -> Key {
    let mut name = "runcast".to_owned();
    for letter in key.name().chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    let labels = key.labels().map(|label| {
        let name = label.key().to_ascii_lowercase();
        metrics::Label::new(name, label.value().to_owned())
    });
    Key::from_parts(format!("{name}{unit}"), labels.collect::<Vec<_>>())
}

impl Recorder for Renamed {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.0.register_counter(&renamed(key, "_total"), metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.0.register_gauge(&renamed(key, ""), metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let key = renamed(key, "_milliseconds");
        self.0.register_histogram(&key, metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        let key = Key::from_parts(
            "StreamsEnded",
            vec![metrics::Label::new("Reason", "rotate")],
        );
        let renamed = renamed(&key, "_total");
        assert_eq!(renamed.name(), "runcast_streams_ended_total");
        let label = renamed.labels().next().unwrap();
        assert_eq!((label.key(), label.value()), ("reason", "rotate"));
    }
}
