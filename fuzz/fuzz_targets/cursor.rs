//! A client's cursor is read or refused, and the rule of the log and the nudge holds whatever
//! happens in whatever order.
//!
//! An input is a line of text, then steps: two bytes each, a letter and an argument.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{
    cursor::{Cursor, Verdict},
    execution::Seq,
};

use crate::world::{Step, World};

#[path = "../../shared/src/cursor/world.rs"]
mod world;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (text, steps) = (lines.next(), lines.next());
    let text = String::from_utf8_lossy(text.unwrap_or_default());
    let tracks = text.split(',').count();
    for tracks in [tracks, tracks + 1, 1, 50] {
        read(&text, tracks);
    }
    walk(steps.unwrap_or_default());
});

/// What is read of a cursor is what it says.
fn read(text: &str, tracks: usize) {
    let Some(claimed) = Cursor::parse(text, tracks) else {
        return;
    };
    let positions: Vec<_> = claimed.positions().collect();
    assert_eq!(positions.len(), tracks);
    let mut cursor = Cursor::new(positions.clone());
    cursor.reset(positions.clone(), claimed.epoch().unwrap_or_default());
    let written = Cursor::parse(&cursor.to_string(), tracks);
    // Of several epochs it is in none that is ever written.
    if claimed.epoch() != Some(u64::MAX) {
        let written = written.expect("a cursor reads its own text");
        assert!(written.positions().eq(positions));
        assert_eq!(written.epoch(), claimed.epoch());
    }
    let numbers = |text: &str| {
        let numbers = text.split(',').map(|part| part.split('.').next()?.parse().ok());
        numbers.collect::<Option<Vec<u64>>>().expect("numbers")
    };
    assert!(numbers(text).into_iter().eq(claimed.positions().map(|seq| seq.0)));
}

/// A world in which all of it happens, and which is right in the end.
fn walk(steps: &[u8]) {
    const TRACKS: usize = 3;
    let mut world = World::new(TRACKS);
    for step in steps.chunks_exact(2) {
        let argument = step[1].wrapping_sub(b'0');
        let track = usize::from(argument) % TRACKS;
        let number = u64::from(argument) / TRACKS as u64;
        let step = match step[0] {
            b'c' => Step::Commit(track),
            b'm' => Step::Message(track, number),
            b'n' => Step::Nudge,
            b's' => Step::StartRead,
            b'f' => Step::FinishRead(number),
            b'x' => Step::FailRead,
            b'r' => Step::Reconnect,
            b'p' => Step::Prune(track),
            _ => continue,
        };
        if let Some(after) = world.step(&step) {
            world = after;
        }
    }
    world.settle();
}
