//! The log and the bus, in order: what a viewer gets, event by event.
//!
//! It subscribes, waits for the acknowledgement, then reads the log, so that no event falls
//! between. From there on the [`Cursor`] rules: the next event is delivered, and anything else
//! (a gap that does not close, a nudge, a lost connection, a full buffer, the poll's tick) leads to
//! the one recovery path, a read of the log after the cursor.

mod end;
mod gaps;

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use rand::RngExt;
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until};

use self::{end::End, gaps::Gaps};
use crate::{
    access::grant::Grant,
    bus::{Signal, Subscription},
    cause,
    config::Streams,
    cursor::{Cursor, Verdict},
    execution::{Event, Seq, State},
    jitter::{jittered, within},
    log::{After, Head, Log, LogError, Read, SharedRead, States},
    stream::{Frame, Next, Source, Stats},
    watch::Watch,
};

/// How long a feed waits, at most, before it reads the log when Redis is back.
const RESTORED_SPREAD: Duration = Duration::from_millis(250);

/// How long a log that is behind a client's cursor may take to catch up.
const BEHIND_PATIENCE: Duration = Duration::from_millis(500);

/// The longest wait between tries to read the log, in degraded polls.
const MAX_READ_BACKOFF: u32 = 4;

/// An open feed.
pub struct Feed {
    log: Log,
    watch: Watch,
    grant: Grant,
    settings: Streams,
    subscription: Subscription,
    cursor: Cursor,
    /// How far each track is from its end.
    ends: Vec<End>,
    ready: VecDeque<Frame>,
    gaps: Gaps,
    reading: Option<SharedRead>,
    forbidden: bool,
    poll_at: Instant,
    read_not_before: Instant,
    failures: u32,
    stats: Stats,
}

/// Why a feed cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Something on it is not the caller's.
    #[error("not covered by the caller's token")]
    NotTheirs,
    /// The log can't be read.
    #[error("failed to read the log")]
    Log(#[from] LogError),
}

/// A feed as opened.
pub enum Opened {
    /// There is something to wait for, or to send.
    Feed(Box<Feed>),
    /// Everything was over at the client's cursor.
    NothingLeft,
}

/// What a feed needs to open.
#[derive(Debug)]
pub struct Request {
    /// What is watched.
    pub watch: Watch,
    /// For whom.
    pub grant: Grant,
    /// Where the client stands, as it says.
    pub last_event_id: Option<String>,
}

impl Feed {
    /// Opens a feed over a subscription: only now that it is acknowledged, it reads the log.
    ///
    /// # Errors
    /// Where something is not the caller's, or the log can't be read.
    pub async fn open(
        log: &Log,
        subscription: Subscription,
        settings: &Streams,
        request: Request,
    ) -> Result<Opened, OpenError> {
        let Request {
            watch,
            grant,
            last_event_id,
        } = request;
        let tracks = watch.tracks();
        let now = Instant::now();
        let mut feed = Feed {
            log: log.clone(),
            cursor: Cursor::new(vec![Seq::ZERO; tracks]),
            ends: vec![End::Open; tracks],
            watch,
            grant,
            settings: settings.clone(),
            subscription,
            ready: VecDeque::new(),
            gaps: Gaps::new(tracks),
            reading: None,
            forbidden: false,
            poll_at: now,
            read_not_before: now,
            failures: 0,
            stats: Stats::default(),
        };
        match feed.begin(last_event_id.as_deref()).await {
            Ok(true) => Ok(Opened::Feed(Box::new(feed))),
            Ok(false) => {
                feed.close().await;
                Ok(Opened::NothingLeft)
            }
            Err(error) => {
                feed.close().await;
                Err(error)
            }
        }
    }

    /// The first read. Returns whether there is anything to wait for, or to send.
    async fn begin(&mut self, last_event_id: Option<&str>) -> Result<bool, OpenError> {
        let tracks = self.watch.tracks();
        let resumed = last_event_id.map(|id| Cursor::parse(id, tracks));
        if let Some(Some(resumed)) = &resumed {
            let positions: Vec<Seq> = resumed.positions().collect();
            let mut after = self.log.after(&self.watch, &positions).await?;
            if after.is_behind {
                sleep(BEHIND_PATIENCE).await;
                after = self.log.after(&self.watch, &positions).await?;
            }
            let theirs = |head: &Head| self.grant.covers(&head.organization_id, &head.project_id);
            if !after.heads.iter().flatten().all(theirs) {
                return Err(OpenError::NotTheirs);
            }
            if after.continues(resumed.epoch().unwrap_or(after.epoch)) {
                self.cursor.reset(positions, after.epoch);
                self.cursor.start_read();
                self.deliver(&after);
                self.schedule_first_poll();
                if self.ready.is_empty() {
                    if self.is_complete() {
                        return Ok(false);
                    }
                    // Lambda may hold a single small chunk back until the next: the first ping.
                    self.ready.push_back(Frame::Cursor(self.cursor.to_string()));
                }
                return Ok(true);
            }
        }
        let states = self.log.states(&self.watch).await?;
        if !states.events.iter().all(|(_, event)| self.covers(event)) {
            return Err(OpenError::NotTheirs);
        }
        if resumed.is_some() {
            self.ready.push_back(Frame::Reset);
        }
        self.begin_from(&states);
        self.schedule_first_poll();
        Ok(true)
    }

    fn covers(&self, event: &Event) -> bool {
        self.grant.covers(&event.organization_id, &event.project_id)
    }

    fn is_complete(&self) -> bool {
        self.over_at()
            .is_some_and(|over_at| over_at <= Instant::now())
    }

    /// When everything will be over, should nothing more come; `None` where something goes on.
    fn over_at(&self) -> Option<Instant> {
        if matches!(self.watch, Watch::Project { .. }) {
            return None;
        }
        let now = Instant::now();
        let ends = self.ends.iter().map(|end| match end {
            End::Open => None,
            End::Settling(until) => Some(*until),
            End::Over => Some(now),
        });
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    fn schedule_poll(&mut self) {
        self.poll_at = Instant::now() + jittered(self.poll_interval());
    }

    /// Feeds that open together shall not poll together.
    fn schedule_first_poll(&mut self) {
        let spread = rand::rng().random_range(0.1..1.0);
        self.poll_at = Instant::now() + self.poll_interval().mul_f64(spread);
    }

    fn poll_interval(&self) -> Duration {
        if self.subscription.is_live() {
            self.settings.poll
        } else {
            self.settings.poll_degraded
        }
    }

    /// Reads the log soon: every stream of every process is told of Redis at once, and they shall
    /// not all ask at once.
    fn read_within(&mut self, spread: Duration) {
        self.cursor.nudge();
        self.read_not_before = Instant::now() + within(spread);
    }

    fn take_in(&mut self, read: Result<Arc<Read>, Arc<LogError>>) {
        if !self.subscription.is_live() {
            self.stats.fallback_polls += 1;
        }
        match read {
            Ok(read) => {
                self.failures = 0;
                self.schedule_poll();
                if self.subscription.is_live() {
                    self.log.close_unused();
                }
                match &*read {
                    Read::After(after) => {
                        let before = self.ready.len();
                        self.deliver(after);
                        self.stats.repaired += (self.ready.len() - before) as u64;
                    }
                    Read::States(states) => {
                        self.ready.push_back(Frame::Reset);
                        self.begin_from(states);
                        // What Redis brought meanwhile was before the reset.
                        self.cursor.finish_read(false);
                    }
                }
            }
            Err(error) => {
                if self.failures == 0 {
                    let error = cause::chain(&error);
                    tracing::warn!(error, "failed to read the log; the stream goes on");
                }
                metrics::counter!("PostgresErrors").increment(1);
                self.failures = (self.failures + 1).min(MAX_READ_BACKOFF);
                let wait = self.settings.poll_degraded * self.failures;
                self.read_not_before = Instant::now() + jittered(wait);
                self.cursor.finish_read(false);
            }
        }
    }

    /// Offers what a read brought, and what waited for it.
    fn deliver(&mut self, after: &After) {
        for (track, event) in &after.events {
            self.offer(*track, event);
        }
        for track in 0..after.heads.len() {
            self.offer_early(track);
        }
        let tracks = self.ends.iter_mut().zip(&after.heads);
        for ((end, head), position) in tracks.zip(self.cursor.positions()) {
            if let Some(head) = head.as_ref().filter(|head| head.seq == position)
                && !matches!(end, End::Settling(_))
            {
                let settle = self.settings.settle;
                *end = End::of(head.status, head.open_tests, head.ended_for, settle);
            }
        }
        self.cursor.finish_read(after.whole);
    }

    /// Takes an event from the bus.
    fn hear(&mut self, track: usize, event: Arc<Event>) {
        if event.epoch > 0 && event.epoch != self.cursor.epoch() {
            return self.cursor.nudge();
        }
        match self.offer(track, &event) {
            Verdict::Deliver => self.offer_early(track),
            Verdict::Gap => {
                let seq = self.watch.seq_of(&event);
                if !self.gaps.keep(track, seq, event) {
                    self.cursor.nudge();
                }
                self.gaps.await_on(track, self.cursor.missing(track));
            }
            Verdict::Stale => {}
        }
    }

    /// Offers what came early on a track, and is next now.
    fn offer_early(&mut self, track: usize) {
        while let Some(event) = self.gaps.take(track, self.cursor.next(track)) {
            self.offer(track, &event);
        }
        self.gaps.await_on(track, self.cursor.missing(track));
    }

    fn offer(&mut self, track: usize, event: &Event) -> Verdict {
        let verdict = self.cursor.offer(track, self.watch.seq_of(event));
        if verdict != Verdict::Deliver {
            return verdict;
        }
        if !self.covers(event) {
            self.forbidden = true;
            return verdict;
        }
        if let Some(end) = self.ends.get_mut(track) {
            *end = end.then(event, self.settings.settle);
        }
        self.ready.push_back(Frame::State {
            id: Some(self.cursor.to_string()),
            data: event.data.clone(),
            published_at: event.published_at,
        });
        verdict
    }

    /// When the log is to be read; `None` where there is no need to.
    fn read_at(&self) -> Option<Instant> {
        if !self.cursor.must_read() {
            return None;
        }
        let until = self.gaps.until().filter(|_| !self.cursor.is_nudged());
        Some(until.map_or(self.read_not_before, |until| {
            until.max(self.read_not_before)
        }))
    }

    /// Begins, or begins again, with current states; only the last carries the cursor, which then
    /// covers all of them.
    fn begin_from(&mut self, states: &States) {
        let mut events = states.events.iter().peekable();
        self.forbidden |= !states.events.iter().all(|(_, event)| self.covers(event));
        let mut data = Vec::with_capacity(states.events.len());
        match &self.watch {
            Watch::Executions { kind, ids, .. } => {
                for (index, id) in ids.iter().enumerate() {
                    match events.next_if(|(track, _)| *track == index) {
                        Some((_, event)) => {
                            let over_for = states.ended_for.get(index).copied();
                            self.ends[index] = End::of(
                                event.status,
                                event.open_tests,
                                over_for.unwrap_or_default(),
                                self.settings.settle,
                            );
                            data.push(event.data.clone());
                        }
                        None => {
                            self.ends[index] = End::Open;
                            data.push(State::unreported(*kind, id.clone()).to_json());
                        }
                    }
                }
            }
            Watch::Project { .. } => data.extend(events.map(|(_, event)| event.data.clone())),
        }
        self.cursor
            .reset(states.heads.iter().copied(), states.epoch);
        self.gaps = Gaps::new(self.watch.tracks());
        let id = self.cursor.to_string();
        let last = data.pop();
        let state = |id, data| Frame::State {
            id,
            data,
            published_at: None,
        };
        self.ready
            .extend(data.into_iter().map(|data| state(None, data)));
        self.ready.push_back(match last {
            Some(data) => state(Some(id), data),
            None => Frame::Cursor(id),
        });
    }
}

impl Source for Feed {
    async fn next(&mut self) -> Next {
        loop {
            if self.forbidden {
                return Next::Closed;
            }
            if let Some(frame) = self.ready.pop_front() {
                return Next::Frame(frame);
            }
            // A page may have ended where an attempt did, or where counts of an ended run did: until
            // the next one is here, too, nobody knows that all is over.
            let is_unread = self.cursor.must_read() || self.reading.is_some();
            if self.is_complete() && !is_unread {
                return Next::Complete;
            }
            let read_at = self.read_at();
            if read_at.is_some_and(|at| at <= Instant::now()) {
                let positions = self.cursor.start_read();
                let read = self.log.read(&self.watch, positions, self.cursor.epoch());
                self.reading = Some(read);
            }
            let read_at = read_at.filter(|_| self.reading.is_none());
            let over_at = self.over_at().filter(|_| !is_unread);
            let wake_at = [Some(self.poll_at), read_at, over_at];
            let wake_at = wake_at.into_iter().flatten().min().unwrap_or(self.poll_at);
            tokio::select! {
                signal = self.subscription.recv() => match signal {
                    Signal::Event(track, event) if self.covers(&event) => self.hear(track, event),
                    // Whose an event is, the log says.
                    Signal::Event(..) | Signal::Message(_) | Signal::Nudge => self.cursor.nudge(),
                    Signal::Lost => self.read_within(self.settings.poll_degraded),
                    Signal::Restored => self.read_within(RESTORED_SPREAD),
                },
                read = reading(&mut self.reading) => {
                    self.reading = None;
                    self.take_in(read);
                }
                () = sleep_until(wake_at) => {
                    if self.poll_at <= Instant::now() {
                        self.cursor.nudge();
                        self.schedule_poll();
                    }
                }
            }
        }
    }

    async fn close(&mut self) -> Stats {
        self.subscription.close().await;
        self.stats
    }
}

async fn reading(reading: &mut Option<SharedRead>) -> Result<Arc<Read>, Arc<LogError>> {
    match reading {
        Some(reading) => reading.await,
        None => pending().await,
    }
}
