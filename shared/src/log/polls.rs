//! How far the log is of all that a process watches: asked again and again, in one statement for all
//! of its feeds. It finds what a lost publication would have told.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::RngExt;
use tokio::{
    select,
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tokio_postgres::types::{ToSql, Type};

use super::{
    Log, LogError,
    row::{is_null, seq, to_sql, track},
};
use crate::{
    cause,
    config::Streams,
    execution::{Id, Kind, Seq},
    jitter::{jittered, within},
    watch::{Scope, Watch},
};

/// How many tracks one statement asks about.
const TRACKS_PER_STATEMENT: usize = 5_000;

/// How long a process waits, at most, before it asks when Redis is back: all are told of it at once.
const RESTORED_SPREAD: Duration = Duration::from_millis(250);

/// The longest wait after a failure, in polls as while Redis is away.
const MAX_BACKOFF: u32 = 4;

/// The polls of a process.
#[derive(Debug, Default)]
pub(super) struct Polls {
    followed: Mutex<Followed>,
    /// The next one is sooner than it was.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Followed {
    last_id: u64,
    followers: HashMap<u64, Follower>,
    tracks: HashMap<Track, Known>,
    /// The followers to whom Redis tells nothing.
    away: HashSet<u64>,
    /// When to ask next; `None` while nobody follows.
    next_at: Option<Instant>,
}

#[derive(Debug)]
struct Follower {
    tracks: Vec<Track>,
    reached: watch::Sender<Reached>,
}

/// What has a number of its own in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Track {
    kind: Kind,
    organization_id: Id,
    scope: Scope,
}

/// How far a track was when it was asked about last, and who follows it, as which of its own.
#[derive(Debug)]
struct Known {
    head: Seq,
    followers: HashMap<u64, usize>,
}

/// How far the log is of what one follows.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Which life of the log it is.
    pub epoch: u64,
    /// The last number of each track.
    pub heads: Vec<Seq>,
}

/// Follows how far the log is, until it is dropped.
pub struct Heads {
    log: Log,
    id: u64,
    reached: watch::Receiver<Reached>,
}

impl Log {
    /// Follows a watch, of which `positions` of `epoch` are known.
    #[must_use]
    pub fn follow(
        &self,
        watch: &Watch,
        positions: &[Seq],
        epoch: u64,
        settings: &Streams,
    ) -> Heads {
        let of = |scope: &Scope| Track {
            kind: watch.kind,
            organization_id: watch.organization_id.clone(),
            scope: scope.clone(),
        };
        let tracks: Vec<Track> = watch.scopes.iter().map(of).collect();
        let heads = positions.to_vec();
        let (sender, reached) = watch::channel(Reached { epoch, heads });
        let mut followed = self.polls.lock();
        followed.last_id += 1;
        let id = followed.last_id;
        for (index, (track, position)) in tracks.iter().zip(positions).enumerate() {
            let known = followed.tracks.entry(track.clone());
            let known = known.or_insert_with(|| Known {
                head: *position,
                followers: HashMap::new(),
            });
            // Who stands behind the others is told, too.
            known.head = known.head.min(*position);
            known.followers.insert(id, index);
        }
        let follower = Follower {
            tracks,
            reached: sender,
        };
        followed.followers.insert(id, follower);
        if followed.next_at.is_none() {
            // Processes that begin together shall not ask together.
            let spread = rand::rng().random_range(0.1..1.0);
            followed.next_at = Some(Instant::now() + settings.poll.mul_f64(spread));
            tokio::spawn(poll(self.clone(), settings.clone()));
        }
        drop(followed);
        Heads {
            log: self.clone(),
            id,
            reached,
        }
    }

    /// Asks about tracks; returns the epoch, and what has moved, by its place among them.
    async fn moved(&self, tracks: &[(Track, Seq)]) -> Result<(u64, Vec<(usize, Seq)>), LogError> {
        let (mut executions, mut projects) = (Columns::default(), Columns::default());
        for ((track, known), number) in tracks.iter().zip(0..) {
            let (columns, kind, id, is_run) = match &track.scope {
                Scope::Execution(id) => (&mut executions, track.kind, id, false),
                Scope::Run(id) => (&mut executions, Kind::Job, id, true),
                Scope::Project(id) => (&mut projects, track.kind, id, false),
            };
            columns.kinds.push(kind.as_str());
            columns.organizations.push(track.organization_id.as_str());
            columns.ids.push(id.as_str());
            columns.are_runs.push(is_run);
            columns.known.push(to_sql(*known));
            columns.numbers.push(number);
        }
        let sql = "SELECT l.epoch, moved.track, moved.head FROM epoch l LEFT JOIN (
                 SELECT * FROM (
                     SELECT w.track, w.known, CASE WHEN x.seq > 0
                         THEN CASE WHEN w.is_run THEN x.run_seq ELSE x.seq END ELSE 0 END AS head
                     FROM unnest($1, $2, $3, $4, $5, $6)
                          AS w(kind, organization_id, id, is_run, known, track)
                     LEFT JOIN executions x ON x.kind = w.kind AND x.id = w.id
                          AND x.organization_id = w.organization_id
                     UNION ALL
                     SELECT w.track, w.known, coalesce(p.seq, 0)
                     FROM unnest($7, $8, $9, $10, $11, $12)
                          AS w(kind, organization_id, id, is_run, known, track)
                     LEFT JOIN projects p ON p.organization_id = w.organization_id
                          AND p.project_id = w.id AND p.kind = w.kind
                 ) stands WHERE head <> known
             ) moved ON true";
        let parameters: Vec<_> = executions
            .parameters()
            .chain(projects.parameters())
            .collect();
        let rows = self.query(sql, &parameters).await?;
        let epoch = rows.first().map(|row| seq(row, "epoch")).transpose()?;
        let moved = rows.iter().filter(|row| !is_null(row, "head"));
        let moved = moved.map(|row| Ok((track(row)?, seq(row, "head")?)));
        let moved: Result<_, LogError> = moved.collect();
        Ok((epoch.unwrap_or_default().0, moved?))
    }
}

/// Tracks as a statement takes them.
#[derive(Default)]
struct Columns<'a> {
    kinds: Vec<&'a str>,
    organizations: Vec<&'a str>,
    ids: Vec<&'a str>,
    are_runs: Vec<bool>,
    known: Vec<i64>,
    numbers: Vec<i64>,
}

impl Columns<'_> {
    fn parameters(&self) -> impl Iterator<Item = (&(dyn ToSql + Sync), Type)> {
        [
            (&self.kinds as &(dyn ToSql + Sync), Type::TEXT_ARRAY),
            (&self.organizations, Type::TEXT_ARRAY),
            (&self.ids, Type::TEXT_ARRAY),
            (&self.are_runs, Type::BOOL_ARRAY),
            (&self.known, Type::INT8_ARRAY),
            (&self.numbers, Type::INT8_ARRAY),
        ]
        .into_iter()
    }
}

/// Asks until nobody follows.
async fn poll(log: Log, settings: Streams) {
    let mut failures = 0;
    while let Some(next_at) = log.polls.next_at() {
        select! {
            () = sleep_until(next_at) => {}
            () = log.polls.sooner.notified() => continue,
        }
        let Some(tracks) = log.polls.tracks() else {
            return;
        };
        match ask(&log, tracks).await {
            Ok(()) => failures = 0,
            Err(error) => {
                if failures == 0 {
                    let error = cause::chain(&error);
                    tracing::warn!(error, "failed to read the log; the streams go on");
                }
                metrics::counter!("PostgresErrors").increment(1);
                failures = (failures + 1).min(MAX_BACKOFF);
            }
        }
        if log.polls.schedule(&settings, failures) {
            log.close_unused();
        }
    }
}

async fn ask(log: &Log, tracks: Vec<(Track, Seq)>) -> Result<(), LogError> {
    for asked in tracks.chunks(TRACKS_PER_STATEMENT) {
        let (epoch, moved) = log.moved(asked).await?;
        let moved = moved.into_iter();
        let moved = moved.filter_map(|(index, head)| Some((&asked.get(index)?.0, head)));
        log.polls.tell(epoch, moved);
    }
    Ok(())
}

impl Polls {
    fn next_at(&self) -> Option<Instant> {
        self.lock().next_at
    }

    /// What to ask about; `None` where nobody follows any more.
    fn tracks(&self) -> Option<Vec<(Track, Seq)>> {
        let mut followed = self.lock();
        if followed.followers.is_empty() {
            followed.next_at = None;
            return None;
        }
        let tracks = followed.tracks.iter();
        Some(tracks.map(|(track, it)| (track.clone(), it.head)).collect())
    }

    fn tell<'a>(&self, epoch: u64, moved: impl Iterator<Item = (&'a Track, Seq)>) {
        let mut followed = self.lock();
        let Followed {
            tracks, followers, ..
        } = &mut *followed;
        for (track, head) in moved {
            // Who follows it no longer, is gone meanwhile.
            let Some(known) = tracks.get_mut(track) else {
                continue;
            };
            known.head = head;
            for (id, index) in &known.followers {
                if let Some(follower) = followers.get(id) {
                    follower.reached.send_modify(|reached| {
                        if let Some(place) = reached.heads.get_mut(*index) {
                            *place = head;
                        }
                    });
                }
            }
        }
        for follower in followers.values() {
            follower.reached.send_if_modified(|reached| {
                let is_other = reached.epoch != epoch;
                reached.epoch = epoch;
                is_other
            });
        }
    }

    /// Says when to ask again; returns whether all are told by Redis meanwhile.
    fn schedule(&self, settings: &Streams, failures: u32) -> bool {
        let mut followed = self.lock();
        let is_live = followed.away.is_empty();
        let wait = if is_live && failures == 0 {
            settings.poll
        } else {
            settings.poll_degraded * failures.max(1)
        };
        followed.next_at = Some(Instant::now() + jittered(wait));
        is_live
    }

    fn ask_within(&self, followed: &mut Followed, wait: Duration) {
        let at = Instant::now() + wait;
        if followed.next_at.is_some_and(|next_at| next_at > at) {
            followed.next_at = Some(at);
            self.sooner.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heads {
    /// Waits until the log has moved, and says how far it is. Cancelling it loses nothing.
    pub async fn moved(&mut self) -> Reached {
        // The sender is dropped with this.
        let _ = self.reached.changed().await;
        self.reached.borrow_and_update().clone()
    }

    /// Redis tells nothing: the log is asked more often.
    pub fn without_redis(&self, settings: &Streams) {
        let polls = &self.log.polls;
        let mut followed = polls.lock();
        if followed.away.insert(self.id) {
            polls.ask_within(&mut followed, jittered(settings.poll_degraded));
        }
    }

    /// Redis tells again; what it told meanwhile is missed.
    pub fn with_redis(&self) {
        let polls = &self.log.polls;
        let mut followed = polls.lock();
        followed.away.remove(&self.id);
        polls.ask_within(&mut followed, within(RESTORED_SPREAD));
    }
}

impl fmt::Debug for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heads")
            .field("reached", &self.reached)
            .finish_non_exhaustive()
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        let mut followed = self.log.polls.lock();
        followed.away.remove(&self.id);
        let follower = followed.followers.remove(&self.id);
        for track in follower.into_iter().flat_map(|it| it.tracks) {
            if let Some(known) = followed.tracks.get_mut(&track) {
                known.followers.remove(&self.id);
                if known.followers.is_empty() {
                    followed.tracks.remove(&track);
                }
            }
        }
    }
}
