//! The log and the bus, in order: what a viewer gets, event by event.
//!
//! It subscribes, waits for the acknowledgement, then reads the log, so that no event falls
//! between. From there on the [`Cursor`] rules: the next event is delivered, and anything else
//! (a gap that does not close, a nudge, a full buffer, what the poll of the process finds) leads to
//! the one recovery path, a read of the log after the cursor.

mod end;
mod gaps;

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until};

use self::{end::End, gaps::Gaps};
use crate::{
    access::grant::Grant,
    bus::{Signal, Subscription},
    cause,
    config::Streams,
    cursor::{Cursor, Verdict},
    execution::{Event, Id, Seq, State},
    jitter::jittered,
    log::{After, Head, Heads, Log, LogError, Reached, Read, SharedRead, States, TestsFrom},
    stream::{Frame, Next, Source, Stats},
    watch::{Scope, Watch},
};

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
    /// How far the log is; `None` until it is opened.
    heads: Option<Heads>,
    cursor: Cursor,
    /// How far each track is from its end.
    ends: Vec<End>,
    ready: VecDeque<Frame>,
    beginning: Option<Beginning>,
    gaps: Gaps,
    reading: Option<SharedRead>,
    forbidden: bool,
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
        let mut feed = Feed {
            log: log.clone(),
            cursor: Cursor::new(vec![Seq::ZERO; tracks]),
            ends: vec![End::Open; tracks],
            watch,
            grant,
            settings: settings.clone(),
            subscription,
            heads: None,
            ready: VecDeque::new(),
            beginning: None,
            gaps: Gaps::new(tracks),
            reading: None,
            forbidden: false,
            read_not_before: Instant::now(),
            failures: 0,
            stats: Stats::default(),
        };
        match feed.begin(last_event_id.as_deref()).await {
            Ok(true) => {
                feed.follow();
                Ok(Opened::Feed(Box::new(feed)))
            }
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
                if self.ready.is_empty() {
                    if self.is_complete() {
                        return Ok(false);
                    }
                    self.say_where_it_stands(&after);
                }
                return Ok(true);
            }
        }
        let states = self.log.states(&self.watch).await?;
        if !self.covers_all(&states) {
            return Err(OpenError::NotTheirs);
        }
        if resumed.is_some() {
            self.ready.push_back(Frame::Reset);
        }
        self.begin_from(&states);
        Ok(true)
    }

    /// Follows how far the log is, from the cursor on.
    fn follow(&mut self) {
        let positions: Vec<Seq> = self.cursor.positions().collect();
        let (epoch, settings) = (self.cursor.epoch(), &self.settings);
        let heads = self.log.follow(&self.watch, &positions, epoch, settings);
        if !self.subscription.is_live() {
            heads.without_redis(settings);
        }
        self.heads = Some(heads);
    }

    /// Nothing follows the client's cursor. It is told so, and of what nobody has reported yet, that:
    /// Lambda may hold a single small chunk back until the next, the first ping.
    fn say_where_it_stands(&mut self, after: &After) {
        let mut unreported = Beginning::default();
        for (scope, head) in self.watch.scopes.iter().zip(&after.heads) {
            if let (Scope::Execution(id), None) = (scope, head) {
                let state = State::unreported(self.watch.kind, id.clone());
                unreported.push(state.to_json(), &mut self.ready);
            }
        }
        self.ready
            .push_back(unreported.end(self.cursor.to_string()));
    }

    fn covers_all(&self, states: &States) -> bool {
        let theirs = |head: &Head| self.grant.covers(&head.organization_id, &head.project_id);
        states.heads.iter().flatten().all(theirs)
            && states.events.iter().all(|(_, event)| self.covers(event))
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
        let is_project = |scope: &Scope| matches!(scope, Scope::Project(_));
        if self.watch.scopes.iter().any(is_project) {
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

    /// The log was asked how far it is.
    fn compare(&mut self, epoch: u64, heads: &[Seq]) {
        let positions: Vec<Seq> = self.cursor.positions().collect();
        let is_behind = |(head, position): (&Seq, &Seq)| head < position;
        if epoch != self.cursor.epoch() || heads.iter().zip(&positions).any(is_behind) {
            // It was restored, or what one stood at is pruned.
            return self.cursor.nudge();
        }
        for (track, head) in heads.iter().enumerate() {
            self.cursor.note(track, *head);
            self.gaps.await_on(track, self.cursor.missing(track));
        }
    }

    fn take_in(&mut self, read: Result<Arc<Read>, Arc<LogError>>) {
        if !self.subscription.is_live() {
            self.stats.fallback_polls += 1;
        }
        match read {
            Ok(read) => {
                self.failures = 0;
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
                self.failed_to_read(&error);
                self.cursor.finish_read(false);
            }
        }
    }

    /// Says so, and waits before the next try.
    fn failed_to_read(&mut self, error: &LogError) {
        if self.failures == 0 {
            let error = cause::chain(error);
            tracing::warn!(error, "failed to read the log; the stream goes on");
        }
        metrics::counter!("PostgresErrors").increment(1);
        self.failures = (self.failures + 1).min(MAX_READ_BACKOFF);
        let wait = self.settings.poll_degraded * self.failures;
        self.read_not_before = Instant::now() + jittered(wait);
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
                *end = End::of_head(head, self.settings.settle);
            }
        }
        self.cursor.finish_read(after.whole);
    }

    /// Takes an event from the bus.
    fn hear(&mut self, track: usize, event: Arc<Event>) {
        if event.epoch > 0 && event.epoch != self.cursor.epoch() {
            return self.cursor.nudge();
        }
        if event.kind != self.watch.kind {
            // The run of these tests has ended: how it stands, the log says.
            return self.cursor.nudge();
        }
        match self.offer(track, &event) {
            Verdict::Deliver => self.offer_early(track),
            Verdict::Gap => {
                let seq = self.watch.seq_of(track, &event);
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
        let verdict = self.cursor.offer(track, self.watch.seq_of(track, event));
        if verdict != Verdict::Deliver {
            return verdict;
        }
        if !self.covers(event) {
            self.forbidden = true;
            return verdict;
        }
        if let (Some(end), Some(scope)) = (self.ends.get_mut(track), self.watch.scopes.get(track)) {
            *end = match scope {
                Scope::Execution(_) => end.then(event, self.settings.settle),
                // A test ends, and others of its run go on; one that does not, goes on itself.
                Scope::Run(_) if event.status.is_terminal() => *end,
                Scope::Run(_) | Scope::Project(_) => End::Open,
            };
        }
        self.ready.push_back(Frame::State {
            id: Some(self.cursor.to_string()),
            data: event.data.clone(),
            published_at: event.published_at,
            traceparent: event.traceparent.clone(),
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
        self.forbidden |= !self.covers_all(states);
        let settle = self.settings.settle;
        let of_head = |head: &Option<Head>| {
            head.as_ref()
                .map_or(End::Open, |head| End::of_head(head, settle))
        };
        self.ends = states.heads.iter().map(of_head).collect();
        let seq = |head: &Option<Head>| head.as_ref().map_or(Seq::ZERO, |head| head.seq);
        self.cursor
            .reset(states.heads.iter().map(seq), states.epoch);
        self.gaps = Gaps::new(self.watch.tracks());
        let mut beginning = Beginning::default();
        let mut events = states.events.iter().peekable();
        let tracks = self.watch.scopes.iter().zip(self.cursor.positions());
        for (track, (scope, position)) in tracks.enumerate() {
            if let Scope::Execution(id) = scope
                && states.heads.get(track).is_none_or(Option::is_none)
            {
                let state = State::unreported(self.watch.kind, id.clone());
                beginning.push(state.to_json(), &mut self.ready);
            }
            while let Some((_, event)) = events.next_if(|(of, _)| *of == track) {
                beginning.push(event.data.clone(), &mut self.ready);
            }
            if let Scope::Run(id) = scope {
                beginning.runs.push_back((id.clone(), position));
            }
        }
        self.beginning = Some(beginning);
        self.begin_run();
    }

    /// Begins with the tests of the next run; where there is none, the beginning ends with the cursor.
    fn begin_run(&mut self) {
        let Some(beginning) = &mut self.beginning else {
            return;
        };
        if let Some((run_id, head)) = beginning.runs.pop_front() {
            beginning.page = Some((run_id, head, TestsFrom::START));
            return;
        }
        let id = self.cursor.to_string();
        let end = beginning.end(id);
        self.ready.push_back(end);
        self.beginning = None;
    }

    /// Reads the next page of the beginning. Cancelling it loses nothing.
    async fn go_on_beginning(&mut self) {
        sleep_until(self.read_not_before).await;
        let page = self.beginning.as_ref().and_then(|it| it.page.clone());
        let Some((run_id, head, from)) = page else {
            return self.begin_run();
        };
        let organization_id = self.watch.organization_id.clone();
        let tests = self.log.tests(&organization_id, &run_id, head, &from).await;
        match tests {
            Ok(tests) => {
                self.failures = 0;
                self.forbidden |= !tests.events.iter().all(|event| self.covers(event));
                let Some(beginning) = &mut self.beginning else {
                    return;
                };
                for event in tests.events {
                    beginning.push(event.data, &mut self.ready);
                }
                beginning.page = tests.next.map(|next| (run_id, head, next));
                if beginning.page.is_none() {
                    self.begin_run();
                }
            }
            Err(error) => self.failed_to_read(&error),
        }
    }
}

/// The states that a feed begins with, as far as they are not ready yet. Those of a run's tests are
/// read in pages, as fast as they are sent.
#[derive(Debug, Default)]
struct Beginning {
    /// The last of what there is so far: should nothing follow, it carries the cursor.
    last: Option<Arc<str>>,
    /// Which page is next: of which run, as it was at which number.
    page: Option<(Id, Seq, TestsFrom)>,
    /// The runs that follow.
    runs: VecDeque<(Id, Seq)>,
}

impl Beginning {
    /// The last frame.
    fn end(&mut self, id: String) -> Frame {
        match self.last.take() {
            Some(data) => Frame::State {
                id: Some(id),
                data,
                published_at: None,
                traceparent: None,
            },
            None => Frame::Cursor(id),
        }
    }

    fn push(&mut self, data: Arc<str>, ready: &mut VecDeque<Frame>) {
        if let Some(data) = self.last.replace(data) {
            ready.push_back(Frame::State {
                id: None,
                data,
                published_at: None,
                traceparent: None,
            });
        }
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
            if self.beginning.is_some() {
                // What Redis brings meanwhile waits, or is read from the log.
                // In a box: it is large, and only a stream's first moment.
                Box::pin(self.go_on_beginning()).await;
                continue;
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
            let wake_at = [read_at, over_at].into_iter().flatten().min();
            tokio::select! {
                signal = self.subscription.recv() => match signal {
                    Signal::Event(track, event) if self.covers(&event) => self.hear(track, event),
                    // Whose an event is, the log says.
                    Signal::Event(..) | Signal::Message(_) | Signal::Nudge => self.cursor.nudge(),
                    Signal::Lost => if let Some(heads) = &self.heads {
                        heads.without_redis(&self.settings);
                    },
                    Signal::Restored => if let Some(heads) = &self.heads {
                        heads.with_redis();
                    },
                },
                read = reading(&mut self.reading) => {
                    self.reading = None;
                    self.take_in(read);
                }
                moved = moved(&mut self.heads) => self.compare(moved.epoch, &moved.heads),
                () = woken(wake_at) => {}
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

async fn moved(heads: &mut Option<Heads>) -> Reached {
    match heads {
        Some(heads) => heads.moved().await,
        None => pending().await,
    }
}

async fn woken(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
