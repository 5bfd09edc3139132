//! Spans that have ended, until they are sent: now and then while the process runs, and before Lambda
//! freezes it.

use std::{
    fmt, mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::jitter::jittered;

/// How many spans are kept at most: what comes beyond, is lost.
const MAX_KEPT: usize = 2048;

/// How many are worth sending before their time.
const MANY: usize = 512;

/// How long they are gathered.
const GATHERING: Duration = Duration::from_secs(1);

/// For how long nothing is sent where sending has failed; twice as long after each failure more.
const REST: Duration = Duration::from_secs(5);
const MAX_REST: Duration = Duration::from_mins(5);

/// Where spans wait.
pub(super) struct Unsent {
    exporter: SpanExporter,
    waiting: Mutex<Waiting>,
    /// Held while some are being sent.
    sending: tokio::sync::Mutex<()>,
    there_are_some: Notify,
}

#[derive(Default)]
struct Waiting {
    spans: Vec<SpanData>,
    lost: usize,
    failures: u32,
    /// By the clock on the wall: a frozen process has no other.
    rests_until: Option<SystemTime>,
}

impl Unsent {
    pub(super) fn new(exporter: SpanExporter) -> Self {
        Unsent {
            exporter,
            waiting: Mutex::default(),
            sending: tokio::sync::Mutex::default(),
            there_are_some: Notify::new(),
        }
    }

    /// Sends what waits, again and again.
    pub(super) async fn send_on(&self, within: Duration) -> ! {
        loop {
            self.there_are_some.notified().await;
            let _ = timeout(GATHERING, self.there_are_some.notified()).await;
            if let Some(rest) = self.rest() {
                sleep(rest).await;
            }
            self.send(within).await;
        }
    }

    /// Sends what waits, within this time. Where it cannot be sent it is lost: a server that is away, or
    /// hangs, costs that time now, and nothing for a while.
    pub(super) async fn send(&self, within: Duration) {
        if self.rest().is_some() {
            return;
        }
        let mut count = 0;
        let send = async {
            let _sending = self.sending.lock().await;
            let spans = mem::take(&mut self.lock().spans);
            count = spans.len();
            if spans.is_empty() {
                return Ok(());
            }
            self.exporter.export(spans).await
        };
        let sent = timeout(within, send).await;
        let mut waiting = self.lock();
        match sent.unwrap_or(Err(OTelSdkError::Timeout(within))) {
            Ok(()) if count == 0 => {}
            Ok(()) => {
                waiting.failures = 0;
                let lost = mem::take(&mut waiting.lost);
                if lost > 0 {
                    tracing::warn!(lost, "spans can be sent again; some were lost");
                }
            }
            Err(error) => {
                waiting.lost += count;
                if waiting.failures == 0 {
                    tracing::warn!(%error, "failed to send spans");
                }
                let rest = REST * 2u32.saturating_pow(waiting.failures.min(10));
                waiting.failures += 1;
                waiting.rests_until = Some(SystemTime::now() + jittered(rest.min(MAX_REST)));
            }
        }
    }

    /// For how long nothing is to be sent; `None` where something may be.
    fn rest(&self) -> Option<Duration> {
        let until = self.lock().rests_until?;
        until.duration_since(SystemTime::now()).ok()
    }

    fn keep(&self, span: SpanData) {
        let mut waiting = self.lock();
        if waiting.spans.len() >= MAX_KEPT {
            waiting.lost += 1;
            return;
        }
        waiting.spans.push(span);
        if matches!(waiting.spans.len(), 1 | MANY) {
            self.there_are_some.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").finish_non_exhaustive()
    }
}

/// Puts spans there.
#[derive(Debug)]
pub(super) struct Collect(pub(super) &'static Unsent);

impl SpanProcessor for Collect {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.keep(span);
        }
    }

    /// Not by this way: it would have to wait without letting others work.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
