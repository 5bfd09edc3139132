//! The rule under every interleaving of a small world, and under random ones of a larger world.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use world::{Step, WHOLE, World};

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
    fn a_cursor_survives_its_text(
        positions in proptest::collection::vec(0..u64::MAX / 2, 1..50),
        epoch in 0..u64::MAX / 2,
    ) {
        let positions: Vec<_> = positions.into_iter().map(Seq).collect();
        let mut cursor = Cursor::new(positions.clone());
        cursor.reset(positions.clone(), epoch);
        let text = cursor.to_string();
        let parsed = Cursor::parse(&text, positions.len()).unwrap();
        prop_assert!(parsed.epoch().is_none_or(|parsed| parsed == epoch));
        prop_assert_eq!(parsed.positions().collect::<Vec<_>>(), positions.clone());
        prop_assert_eq!(Cursor::parse(&text, positions.len() + 1), None);
    }

    #[test]
    fn no_text_makes_parsing_panic(text in ".{0,200}", tracks in 1..51_usize) {
        let parsed = Cursor::parse(&text, tracks);
        prop_assert!(parsed.is_none_or(|parsed| parsed.positions().count() == tracks));
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

#[test]
fn an_epoch_is_one_for_all_or_none_that_there_is() {
    let epoch = |text: &str| Cursor::parse(text, 2).unwrap().epoch();
    assert_eq!(epoch("1,2"), Some(0));
    assert_eq!(epoch("1.7,2.7"), Some(7));
    assert_eq!(epoch("0,2.7"), Some(7), "who has seen nothing, fits any");
    assert_eq!(epoch("0,0.5"), None);
    assert_eq!(epoch("1,2.7"), Some(u64::MAX));
    for malformed in ["1.0", "1.", "1.07", ".7", "1.7.7", "1.x"] {
        assert_eq!(Cursor::parse(malformed, 1), None, "{malformed}");
    }
}
