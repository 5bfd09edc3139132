//! The rule under every interleaving of a small world, and under random ones of a larger world.
//!
//! A published message may be offered at any time, any number of times, in any order, or never:
//! that is loss, duplication and reordering at once. A read sees the log as it was at some moment
//! between its start and its end.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// A log, a viewer of it, and what has become of both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    cursor: Cursor,
    /// How many events each track's log has.
    logged: Vec<u64>,
    /// Up to which one they were pruned.
    pruned: Vec<u64>,
    /// What a read under way has seen, and after which positions it was asked.
    read: Option<(Vec<Seq>, Vec<u64>)>,
    /// The last event that the viewer got, per track. What it got before is checked as it comes.
    seen: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Step {
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
const WHOLE: u64 = 1_000;

impl World {
    fn new(tracks: usize) -> Self {
        World {
            cursor: Cursor::new(vec![Seq::ZERO; tracks]),
            logged: vec![0; tracks],
            pruned: vec![0; tracks],
            read: None,
            seen: vec![0; tracks],
        }
    }

    /// Takes a step; `None` where it is not possible now.
    fn step(&self, step: &Step) -> Option<World> {
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
                let positions = Cursor::parse(&id, world.seen.len()).expect("its own cursor");
                world.cursor = Cursor::new(positions);
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
            self.cursor.reset(self.logged.iter().map(|head| Seq(*head)));
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
    fn settle(mut self) {
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

#[test]
fn no_interleaving_of_five_events_loses_doubles_or_reorders_one() {
    const EVENTS: u64 = 5;
    let mut steps = vec![
        Step::Nudge,
        Step::StartRead,
        Step::FinishRead(1),
        Step::FinishRead(WHOLE),
        Step::FailRead,
        Step::Reconnect,
        Step::Prune(0),
    ];
    steps.extend((1..=EVENTS).map(|seq| Step::Message(0, seq)));
    let mut known = HashSet::from([World::new(1)]);
    let mut next: Vec<_> = known.iter().cloned().collect();
    while let Some(world) = next.pop() {
        world.clone().settle();
        let commit = (world.logged[0] < EVENTS).then_some(Step::Commit(0));
        for step in steps.iter().chain(&commit) {
            if let Some(after) = world.step(step)
                && known.insert(after.clone())
            {
                next.push(after);
            }
        }
    }
    assert!(
        known.len() > 5_000,
        "the whole small world: {} states",
        known.len()
    );
}

fn any_step(tracks: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..tracks).prop_map(Step::Commit),
        8 => (0..tracks, 0..60_u64).prop_map(|(track, seq)| Step::Message(track, seq)),
        1 => Just(Step::Nudge),
        3 => Just(Step::StartRead),
        3 => (1..6_u64).prop_map(Step::FinishRead),
        1 => Just(Step::FailRead),
        1 => Just(Step::Reconnect),
        1 => (0..tracks).prop_map(Step::Prune),
    ]
}

proptest! {
    #[test]
    fn several_tracks_stay_exact_under_random_faults(
        steps in proptest::collection::vec(any_step(3), 0..400),
    ) {
        let mut world = World::new(3);
        for step in &steps {
            if let Some(after) = world.step(step) {
                world = after;
            }
        }
        world.settle();
    }

    #[test]
    fn a_cursor_survives_its_text(positions in proptest::collection::vec(0..u64::MAX / 2, 1..50)) {
        let positions: Vec<_> = positions.into_iter().map(Seq).collect();
        let text = Cursor::new(positions.clone()).to_string();
        prop_assert_eq!(Cursor::parse(&text, positions.len()), Some(positions.clone()));
        prop_assert_eq!(Cursor::parse(&text, positions.len() + 1), None);
    }

    #[test]
    fn no_text_makes_parsing_panic(text in ".{0,200}", tracks in 1..51_usize) {
        let parsed = Cursor::parse(&text, tracks);
        prop_assert!(parsed.is_none_or(|positions| positions.len() == tracks));
    }
}

#[test]
fn a_forged_number_costs_one_read_and_no_more() {
    let mut cursor = Cursor::new([Seq(3)]);
    assert_eq!(cursor.offer(0, Seq(u64::MAX)), Verdict::Gap);
    assert!(cursor.must_read());
    cursor.start_read();
    cursor.finish_read(true);
    assert!(!cursor.must_read());
}
