//! The faults, one function a kind. Each mends what it broke before it returns.

use std::time::Duration;

use integration::{
    proxy::{Mode, Proxy},
    stack::signal,
};
use nix::{sys::signal::Signal, unistd::Pid};
use rand::{
    RngExt,
    rngs::StdRng,
    seq::{IndexedMutRandom, IndexedRandom},
};
use serde_json::json;
use shared::execution::Kind;
use tokio::time::sleep;

use crate::world::World;

/// Something breaks, perhaps two things at once; then all is well for a moment.
pub(crate) async fn strike(world: &mut World, kind: Kind, ids: &[String], random: &mut StdRng) {
    let span = |random: &mut StdRng, least: u64, most: u64| {
        Duration::from_millis(random.random_range(least..most))
    };
    let fault = random.random_range(0..14);
    // A second one that needs no server of its own.
    match random.random_range(0..4) {
        0 => world.redis.cut(),
        1 => world.database.cut(),
        2 if world.servers.is_empty() => kill_any(world, "job-status", random).await,
        _ => {}
    }
    match fault {
        0 => {
            world.valkey.kill().await;
            sleep(span(random, 100, 3_000)).await;
            world.valkey.start();
        }
        1 => {
            world.valkey.freeze();
            sleep(span(random, 1_000, 10_000)).await;
            world.valkey.thaw();
        }
        2 => {
            let mut redis = world.owner.redis().await;
            let kind = if random.random() { "pubsub" } else { "normal" };
            let kill = redis::cmd("CLIENT").arg(&["KILL", "TYPE", kind]).to_owned();
            let _ = kill.exec_async(&mut redis).await;
        }
        3 => break_proxy(&world.redis, random).await,
        4 => break_proxy(&world.database, random).await,
        5 => {
            world.postgres.kill().await;
            sleep(span(random, 100, 2_000)).await;
            world.postgres.start();
        }
        6 => {
            let drop_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                            WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
            let _ = world.log().await.query(drop_all, &[]).await;
        }
        7 => {
            world.postgres.freeze();
            sleep(span(random, 1_000, 6_000)).await;
            world.postgres.thaw();
        }
        8 => {
            for _ in 0..random.random_range(1..10) {
                kill_any(world, "worker", random).await;
                sleep(span(random, 1, 60)).await;
            }
        }
        9 => match world.servers.choose_mut(random) {
            Some(server) => {
                if random.random() {
                    server.kill().await;
                } else {
                    let ended = server.terminate().await;
                    assert!(ended.success(), "a server ended by {ended}");
                }
                server.restart().await;
            }
            None => kill_any(world, &format!("{kind}-status"), random).await,
        },
        10 => {
            // Longer than its connections may be idle.
            if let Some(pid) = any_process(world, &format!("{kind}-status"), random).await {
                signal(pid, Signal::SIGSTOP);
                sleep(span(random, 1_500, 6_000)).await;
                signal(pid, Signal::SIGCONT);
            }
        }
        11 => foreign_messages(world, kind, ids, random).await,
        12 => {
            // The former one goes on, and takes what is published.
            world.stand.take_over(&world.redis).await;
            sleep(span(random, 1_000, 6_000)).await;
            world.stand.give_back(&world.redis).await;
        }
        _ => {
            // Several at once, for a while.
            world.redis.set(Mode::Refuse);
            world.database.set(Mode::Delay(span(random, 50, 400)));
            world.redis.cut();
            sleep(span(random, 500, 4_000)).await;
            world.redis.set(Mode::Pass);
            world.database.set(Mode::Pass);
        }
    }
    sleep(span(random, 50, 900)).await;
}

async fn break_proxy(proxy: &Proxy, random: &mut StdRng) {
    let delay = Duration::from_millis(random.random_range(50..700));
    let modes = [Mode::Swallow, Mode::Delay(delay), Mode::Refuse];
    proxy.set(*modes.choose(random).unwrap());
    if random.random() {
        proxy.cut();
    }
    sleep(Duration::from_millis(random.random_range(100..5_000))).await;
    proxy.set(Mode::Pass);
}

async fn any_process(world: &World, function: &str, random: &mut StdRng) -> Option<Pid> {
    if let Some(server) = world.servers.choose(random)
        && function.ends_with("-status")
    {
        return Some(server.pid());
    }
    world.stack.pids(function).await.choose(random).copied()
}

async fn kill_any(world: &World, function: &str, random: &mut StdRng) {
    if let Some(pid) = any_process(world, function, random).await {
        signal(pid, Signal::SIGKILL);
    }
}

/// Rubbish, repetitions and numbers far ahead, on the executions' own channels.
async fn foreign_messages(world: &World, kind: Kind, ids: &[String], random: &mut StdRng) {
    let mut redis = world.owner.redis().await;
    for _ in 0..50 {
        let id = ids.choose(random).unwrap();
        let seq: u64 = if random.random() {
            random.random_range(100..u64::MAX)
        } else {
            0
        };
        let well_formed = json!({
            "kind": kind, kind.id_name(): id, "status": "running", "seq": seq, "organizationId": "demo",
            "projectId": "demo", "projectSeq": seq,
        });
        let malformed = ["", "{}", "null", "\u{0}", "{\"seq\":1}"]
            .choose(random)
            .unwrap();
        let message = if random.random() {
            well_formed.to_string()
        } else {
            (*malformed).to_owned()
        };
        let channel = format!(
            "{kind}:{id}:{}",
            ["status", "complete"].choose(random).unwrap()
        );
        let mut publish = redis::cmd("PUBLISH");
        let _ = publish
            .arg(channel)
            .arg(message)
            .exec_async(&mut redis)
            .await;
    }
}
