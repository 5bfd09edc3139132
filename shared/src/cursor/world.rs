//! A log, a viewer of it, and all that can go wrong between them: what tests and fuzzing hold the
//! rule against.
//!
//! A published message may be offered at any time, any number of times, in any order, or never:
//! that is loss, duplication and reordering at once. A read sees the log as it was at some moment
//! between its start and its end.

use super::{Cursor, Seq, Verdict};

/// A log, a viewer of it, and what has become of both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    cursor: Cursor,
    /// How many events each track's log has.
    pub(crate) logged: Vec<u64>,
    /// Up to which one they were pruned.
    pruned: Vec<u64>,
    /// What a read under way has seen, and after which positions it was asked.
    read: Option<(Vec<Seq>, Vec<u64>)>,
    /// The last event that the viewer got, per track. What it got before is checked as it comes.
    seen: Vec<u64>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The worker commits an event.
    Commit(usize),
    /// A message arrives, for the first time or again.
    Message(usize, u64),
    /// A poll's tick, a full buffer, a lost or restored subscription, a foreign message.
    Nudge,
    StartRead,
    /// The read comes back with at most so many events a track.
    FinishRead(u64),
    FailRead,
    /// The viewer comes back, with the cursor of what it saw last.
    Reconnect,
    /// Old events are deleted.
    Prune(usize),
}

/// How many events a read brings at most, where the page is no matter.
pub(crate) const WHOLE: u64 = 1_000;

impl World {
    pub(crate) fn new(tracks: usize) -> Self {
        World {
            cursor: Cursor::new(vec![Seq::ZERO; tracks]),
            logged: vec![0; tracks],
            pruned: vec![0; tracks],
            read: None,
            seen: vec![0; tracks],
        }
    }

    /// Takes a step; `None` where it is not possible now.
    pub(crate) fn step(&self, step: &Step) -> Option<World> {
        let mut world = self.clone();
        match *step {
            Step::Commit(track) => world.logged[track] += 1,
            Step::Message(track, seq) => {
                if seq == 0 || seq > world.logged[track] {
                    return None;
                }
                world.offer(track, seq);
            }
            Step::Nudge => world.cursor.nudge(),
            Step::StartRead => {
                if !world.cursor.must_read() {
                    return None;
                }
                let positions = world.cursor.start_read();
                world.read = Some((positions, world.logged.clone()));
            }
            Step::FinishRead(page) => {
                let (positions, logged) = world.read.take()?;
                world.finish(&positions, &logged, page);
            }
            Step::FailRead => {
                world.read.take()?;
                world.cursor.finish_read(false);
            }
            Step::Reconnect => {
                let id = Cursor::new(world.seen.iter().map(|seen| Seq(*seen))).to_string();
                let claimed = Cursor::parse(&id, world.seen.len()).expect("its own cursor");
                world.cursor = Cursor::new(claimed.positions());
                world.cursor.nudge();
                world.read = None;
            }
            Step::Prune(track) => {
                if world.pruned[track] == world.logged[track] {
                    return None;
                }
                world.pruned[track] += 1;
            }
        }
        Some(world)
    }

    /// What the feed does with a read's rows.
    fn finish(&mut self, positions: &[Seq], logged: &[u64], page: u64) {
        let pruned = |track: usize| self.pruned[track];
        let continuous = positions
            .iter()
            .enumerate()
            .all(|(track, after)| after.0 >= pruned(track) || after.0 == logged[track]);
        if !continuous {
            // Current states, read afresh: the viewer starts over from them.
            self.cursor
                .reset(self.logged.iter().map(|head| Seq(*head)), 0);
            self.seen.clone_from(&self.logged);
            self.cursor.finish_read(false);
            return;
        }
        let mut whole = true;
        for (track, after) in positions.iter().enumerate() {
            let last = logged[track].min(after.0 + page);
            whole &= last == logged[track];
            for seq in after.0 + 1..=last {
                self.offer(track, seq);
            }
        }
        self.cursor.finish_read(whole);
    }

    fn offer(&mut self, track: usize, seq: u64) {
        if self.cursor.offer(track, Seq(seq)) == Verdict::Deliver {
            assert_eq!(seq, self.seen[track] + 1, "each once, in order: {self:?}");
            self.seen[track] = seq;
        }
        let position = self.cursor.positions().nth(track);
        assert_eq!(
            position,
            Some(Seq(self.seen[track])),
            "the cursor is what was seen"
        );
    }

    /// Faults stop: the next tick of the poll brings the viewer up to the log.
    pub(crate) fn settle(mut self) {
        if self.read.is_some() {
            self = self
                .step(&Step::FinishRead(WHOLE))
                .expect("a read is under way");
        }
        self.cursor.nudge();
        for _ in 0..3 {
            if self.cursor.must_read() {
                let read = self.step(&Step::StartRead).expect("it must");
                self = read.step(&Step::FinishRead(WHOLE)).expect("it began");
            }
        }
        assert_eq!(self.seen, self.logged, "all of the log has arrived");
        assert!(!self.cursor.must_read(), "and nothing is left in doubt");
    }
}
