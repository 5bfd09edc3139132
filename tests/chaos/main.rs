//! Everything breaks at random, and nothing is lost, doubled, reordered or stuck.
//!
//! In waves: executions of two organizations, which share every id, are born, live, fall silent, are
//! tried again and end, while viewers of one, of many and of whole projects come, go and resume;
//! meanwhile faults strike, alone and together. Then the faults stop, and every viewer has to come
//! to the end with exactly what the log has of its own organization.
//!
//! `CHAOS_SEED` replays a schedule, `CHAOS_MINUTES` sets how long it goes on, `CHAOS_MODE` how streams
//! are served.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and prints its seed"
)]

mod faults;
mod findings;
mod lives;
mod oracle;
mod producer;
mod record;
mod seen;
mod watcher;
mod wave;
mod world;

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::world::{Mode, World};

/// How long it goes on where nothing is said.
const SHORT: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_reordered_or_stuck() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let seed = variable("CHAOS_SEED").map_or_else(rand::random, |seed| seed.parse().unwrap());
    let minutes = variable("CHAOS_MINUTES").map(|minutes| minutes.parse::<f64>().unwrap());
    let length = minutes.map_or(SHORT, |minutes| Duration::from_secs_f64(minutes * 60.0));
    println!("CHAOS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let modes = [Mode::Plain, Mode::Managed, Mode::Served];
    let chosen = *modes.choose(&mut random).unwrap();
    let named = variable("CHAOS_MODE").map(|name| {
        let mut named = modes.into_iter().filter(|mode| mode.name() == name);
        named
            .next()
            .expect("CHAOS_MODE is plain, managed or served")
    });
    let mode = named.unwrap_or(chosen);
    println!("CHAOS_MODE={}", mode.name());
    let mut world = World::start(mode).await;
    for wave in 1.. {
        let tally = world.wave(wave, random.random()).await;
        println!(
            "{:>5.0} s  wave {wave}: {tally}",
            began.elapsed().as_secs_f64()
        );
        let findings = &tally.findings;
        assert!(
            findings.is_empty(),
            "CHAOS_SEED={seed}, wave {wave}:\n{}\n{}",
            findings.told(),
            world.said()
        );
        if began.elapsed() > length {
            break;
        }
    }
    println!("in all: {}", world.total());
}
