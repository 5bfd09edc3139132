//! Events that came before others that come first.
//!
//! Workers publish side by side: of a project's events, a later one often overtakes an earlier one
//! by some milliseconds. To read the log each time would be a read for every viewer, with nothing
//! broken. So what comes early waits here for what comes first, and the log is read only where that
//! does not come.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use rand::RngExt;
use tokio::time::Instant;

use crate::execution::{Event, Seq};

/// How many events wait, over all tracks.
const MAX_EVENTS: usize = 64;

/// How many bytes their states have at most.
const MAX_BYTES: usize = 1 << 20;

/// How long an event may be late. It is another time in each process, but one for all feeds of a
/// process: these share the read.
static GRACE: LazyLock<Duration> =
    LazyLock::new(|| Duration::from_millis(rand::rng().random_range(50..100)));

/// What waits on the tracks of a feed.
#[derive(Debug)]
pub(super) struct Gaps {
    early: BTreeMap<(usize, Seq), Arc<Event>>,
    bytes: usize,
    /// Which event each track waits for, and until when.
    awaited: Vec<Option<(Seq, Instant)>>,
}

impl Gaps {
    pub(super) fn new(tracks: usize) -> Self {
        Gaps {
            early: BTreeMap::new(),
            bytes: 0,
            awaited: vec![None; tracks],
        }
    }

    /// Keeps an event that came early. Returns whether there is room.
    pub(super) fn keep(&mut self, track: usize, seq: Seq, event: Arc<Event>) -> bool {
        let size = event.data.len();
        if self.early.len() == MAX_EVENTS || self.bytes + size > MAX_BYTES {
            return false;
        }
        if self.early.insert((track, seq), event).is_none() {
            self.bytes += size;
        }
        true
    }

    /// Takes out the event that is next on a track, if it came early; what is before it, is dropped.
    pub(super) fn take(&mut self, track: usize, next: Seq) -> Option<Arc<Event>> {
        while let Some(entry) = self.early.range((track, Seq::ZERO)..=(track, next)).next() {
            let (key, size) = (*entry.0, entry.1.data.len());
            let event = self.early.remove(&key);
            self.bytes -= size;
            if key.1 == next {
                return event;
            }
        }
        None
    }

    /// A track waits for this event, or for none.
    pub(super) fn await_on(&mut self, track: usize, missing: Option<Seq>) {
        if let Some(awaited) = self.awaited.get_mut(track)
            && awaited.map(|(seq, _)| seq) != missing
        {
            *awaited = missing.map(|seq| (seq, Instant::now() + *GRACE));
        }
    }

    /// Until when events are waited for.
    pub(super) fn until(&self) -> Option<Instant> {
        let awaited = self.awaited.iter().flatten();
        awaited.map(|(_, until)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::{Kind, Status};

    fn event(bytes: usize) -> Arc<Event> {
        Arc::new(Event {
            kind: Kind::Job,
            id: "r".parse().unwrap(),
            organization_id: "o".parse().unwrap(),
            project_id: "p".parse().unwrap(),
            seq: Seq::ZERO,
            project_seq: Seq::ZERO,
            run_id: None,
            run_seq: Seq::ZERO,
            epoch: 0,
            status: Status::Running,
            open_tests: 0,
            data: "x".repeat(bytes).into(),
            traceparent: None,
            published_at: None,
        })
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_given_out_in_order() {
        let mut gaps = Gaps::new(1);
        let (small, large) = (event(10), event(100_000));
        let kept = (2..).take_while(|seq| gaps.keep(0, Seq(*seq), large.clone()));
        assert_eq!(kept.count(), 10, "a megabyte at most");
        assert!(gaps.take(0, Seq(1)).is_none());
        assert!(gaps.take(0, Seq(2)).is_some());
        assert!(
            gaps.take(0, Seq(12)).is_none(),
            "what is before it, is gone"
        );
        let kept = (2..).take_while(|seq| gaps.keep(0, Seq(*seq), small.clone()));
        assert_eq!(kept.count(), MAX_EVENTS);
    }

    #[tokio::test]
    async fn who_waits_for_another_event_waits_anew() {
        let mut gaps = Gaps::new(2);
        assert_eq!(gaps.until(), None);
        gaps.await_on(0, Some(Seq(5)));
        let first = gaps.until();
        gaps.await_on(1, Some(Seq(7)));
        gaps.await_on(0, Some(Seq(5)));
        assert_eq!(gaps.until(), first, "the oldest counts");
        gaps.await_on(0, Some(Seq(6)));
        assert!(gaps.until() > first);
        gaps.await_on(0, None);
        gaps.await_on(1, None);
        assert_eq!(gaps.until(), None);
    }
}
