//! A stream's body: who reads it, drives the stream. So a frame is on its way in the same turn in
//! which its event came, and no task hands it to another.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, future::BoxFuture};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// How long after its end a stream is driven on its own.
const PATIENCE: Duration = Duration::from_millis(200);

/// The frames that `run` sends until it is over; which is at `ends_at`, where nothing ends it before.
/// A reader that does not read then, or leaves, drives it no more: it is driven on its own.
pub(super) fn driven(
    run: impl Future<Output = ()> + Send + 'static,
    frames: mpsc::Receiver<Bytes>,
    ends_at: Instant,
) -> impl Stream<Item = Bytes> {
    let driver = Arc::new(Mutex::new(Driver {
        run: Some(Box::pin(run)),
        reader: None,
    }));
    let left = driver.clone();
    let relief = tokio::spawn(async move {
        sleep_until(ends_at + PATIENCE).await;
        let (run, reader) = {
            let mut driver = lock(&left);
            (driver.run.take(), driver.reader.take())
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        if let Some(run) = run {
            run.await;
        }
    });
    Driven {
        driver,
        frames,
        relief: relief.abort_handle(),
    }
}

struct Driven {
    driver: Arc<Mutex<Driver>>,
    frames: mpsc::Receiver<Bytes>,
    relief: AbortHandle,
}

struct Driver {
    /// `None` where it is over, or somebody else drives it.
    run: Option<BoxFuture<'static, ()>>,
    /// Who waits for a frame.
    reader: Option<Waker>,
}

impl Stream for Driven {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.get_mut();
        let mut driver = lock(&this.driver);
        if let Some(run) = &mut driver.run {
            if run.as_mut().poll(context).is_pending() {
                // All that it sends, it sends in its turn: nothing else is to be woken by.
                return match this.frames.try_recv() {
                    Ok(frame) => Poll::Ready(Some(frame)),
                    Err(_) => {
                        driver.reader = Some(context.waker().clone());
                        Poll::Pending
                    }
                };
            }
            driver.run = None;
            this.relief.abort();
        }
        drop(driver);
        this.frames.poll_recv(context)
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let run = lock(&self.driver).run.take();
        // It finds that its frames are wanted no more, and ends.
        if let (Some(run), Ok(runtime)) = (run, Handle::try_current()) {
            self.relief.abort();
            runtime.spawn(run);
        }
    }
}

fn lock(driver: &Mutex<Driver>) -> MutexGuard<'_, Driver> {
    driver.lock().unwrap_or_else(PoisonError::into_inner)
}
