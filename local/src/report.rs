//! What Lambda would have billed.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;

/// How many ended invocations are remembered one by one.
const REMEMBERED: usize = 20_000;

/// The books of a stack.
#[derive(Clone, Default)]
pub(crate) struct Report(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    functions: BTreeMap<&'static str, Totals>,
    invocations: VecDeque<Ended>,
}

#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    cold_starts: u64,
    invocations: u64,
    throttles: u64,
    billed_gb_seconds: f64,
    peak_memory_mb: u64,
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// The function has answered to the end.
    Ok,
    /// Its process has ended.
    Error,
    /// Its time was over.
    Timeout,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
            Outcome::Timeout => "timeout",
        })
    }
}

/// An ended invocation, with the fields of its `REPORT` line.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ended {
    pub(crate) function: &'static str,
    pub(crate) request_id: String,
    pub(crate) status: Outcome,
    pub(crate) duration_ms: f64,
    pub(crate) billed_duration_ms: u64,
    pub(crate) memory_size_mb: u32,
    pub(crate) max_memory_used_mb: u64,
    /// Only of an environment's first invocation.
    pub(crate) init_duration_ms: Option<f64>,
}

/// An environment as it is now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnvironmentNow {
    pub(crate) pid: i32,
    /// `busy` or `frozen`; a managed environment is never frozen, but `idle`.
    pub(crate) state: &'static str,
}

impl Ended {
    /// What an invocation took. Lambda bills the initialization with the first one.
    pub(crate) fn new(
        function: &'static str,
        request_id: String,
        status: Outcome,
        duration: Duration,
        init: Option<Duration>,
        memory: (u32, u64),
    ) -> Self {
        let billed = (duration + init.unwrap_or_default()).as_secs_f64() * 1000.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "milliseconds"
        )]
        let billed_duration_ms = billed.ceil() as u64;
        Ended {
            function,
            request_id,
            status,
            duration_ms: milliseconds(duration),
            billed_duration_ms,
            memory_size_mb: memory.0,
            max_memory_used_mb: memory.1,
            init_duration_ms: init.map(milliseconds),
        }
    }

    /// The line that `CloudWatch` shows.
    pub(crate) fn line(&self) -> String {
        let mut line = format!(
            "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} \
             MB\tMax Memory Used: {} MB",
            self.request_id,
            self.duration_ms,
            self.billed_duration_ms,
            self.memory_size_mb,
            self.max_memory_used_mb,
        );
        if let Some(init) = self.init_duration_ms {
            line.push_str(&format!("\tInit Duration: {init:.2} ms"));
        }
        if self.status != Outcome::Ok {
            line.push_str(&format!("\tStatus: {}", self.status));
        }
        line
    }
}

impl Report {
    pub(crate) fn cold_start(&self, function: &'static str) {
        self.books()
            .functions
            .entry(function)
            .or_default()
            .cold_starts += 1;
    }

    pub(crate) fn throttle(&self, function: &'static str) {
        self.books()
            .functions
            .entry(function)
            .or_default()
            .throttles += 1;
    }

    /// Books an invocation.
    pub(crate) fn ended(&self, ended: Ended) {
        let mut books = self.books();
        let totals = books.functions.entry(ended.function).or_default();
        totals.invocations += 1;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 ms")]
        let seconds = ended.billed_duration_ms as f64 / 1000.0;
        totals.billed_gb_seconds += f64::from(ended.memory_size_mb) / 1024.0 * seconds;
        totals.peak_memory_mb = totals.peak_memory_mb.max(ended.max_memory_used_mb);
        books.invocations.push_back(ended);
        if books.invocations.len() > REMEMBERED {
            books.invocations.pop_front();
        }
    }

    /// The whole report, with the environments that each function has now.
    pub(crate) fn to_json(
        &self,
        environments: &[(&'static str, Vec<EnvironmentNow>)],
    ) -> serde_json::Value {
        #[derive(Serialize)]
        struct Function<'a> {
            environments: usize,
            #[serde(flatten)]
            totals: Totals,
            processes: &'a [EnvironmentNow],
        }
        let books = self.books();
        let functions: BTreeMap<_, _> = environments
            .iter()
            .map(|(name, processes)| {
                let totals = books.functions.get(name).cloned().unwrap_or_default();
                let environments = processes.len();
                (
                    name,
                    Function {
                        environments,
                        totals,
                        processes,
                    },
                )
            })
            .collect();
        serde_json::json!({"functions": functions, "invocations": books.invocations})
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}
