//! Redis as a cluster: any node will do for messages, and scripts find their key's node.

use std::time::Duration;

use integration::{
    eventually,
    redis_server::Cluster,
    stack::{NO_POLL, Stack, listeners},
};
use shared::{bus::Bus, config};

fn config(url: &str) -> config::Redis {
    let variables = [("REDIS_URL", url), ("REDIS_CLUSTER", "true")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    config::Redis::from_env(&variables.into_iter().collect()).unwrap()
}

#[tokio::test]
async fn a_stream_goes_on_when_its_node_dies() {
    let (owner, mut cluster) = tokio::join!(Stack::start(), Cluster::start());
    let variables = [
        ("REDIS_CLUSTER", "true"),
        // A cluster that misses a node may lose a message: the poll finds it.
        ("FALLBACK_POLL_SECONDS", "2"),
        ("FALLBACK_POLL_DEGRADED_SECONDS", "600"),
    ];
    let stack = Stack::beside(&cluster.urls[0], &owner.database_url, &variables).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    stack.publish("job", "r", "running").await;
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
    cluster.kill(0).await;
    eventually("another node has the subscription", async || {
        for node in [1, 2] {
            let mut redis = cluster.connect(node).await;
            if listeners(&mut redis, "job:r:status").await == 1 {
                return Some(());
            }
        }
        None
    })
    .await;
    // The worker's connection has died too.
    stack.publish("job", "r", "running").await;
    assert_eq!(viewer.status().await, ("running".to_owned(), 2));
    stack.publish("job", "r", "passed").await;
    assert_eq!(viewer.rest().await.0, [3]);
}

#[tokio::test]
async fn a_message_published_at_one_node_arrives_at_another() {
    let (owner, cluster) = tokio::join!(Stack::start(), Cluster::start());
    let mut viewers = Vec::new();
    let mut stacks = Vec::new();
    for url in &cluster.urls[..2] {
        let variables = [("REDIS_CLUSTER", "true"), NO_POLL];
        stacks.push(Stack::beside(url, &owner.database_url, &variables).await);
    }
    for stack in &stacks {
        let mut viewer = stack.watch("/api/job-status/events/r").await;
        viewer.state().await;
        viewers.push(viewer);
    }
    stacks[0].publish("job", "r", "running").await;
    stacks[1].publish("job", "r", "passed").await;
    for mut viewer in viewers {
        assert_eq!(viewer.rest().await.0, [1, 2]);
    }
}

#[tokio::test]
async fn a_script_runs_where_its_key_is() {
    let mut cluster = Cluster::start().await;
    let bus = Bus::new(&config(&cluster.urls[0]), Duration::from_secs(5));
    let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let two = ["2".to_owned()];
    let evaluate = async |key: &String| {
        let keys = std::slice::from_ref(key);
        bus.eval::<i64>(&script, keys, &two).await
    };
    // Keys of all nodes: twenty are in one third with a probability of one to a thousand millions.
    let keys: Vec<String> = (0..20).map(|n| format!("limit:{n}")).collect();
    for key in &keys {
        assert_eq!(evaluate(key).await.unwrap(), 2, "{key}");
        assert_eq!(evaluate(key).await.unwrap(), 4, "{key}");
    }
    let mut home = Vec::new();
    for node in 0..3 {
        let mut redis = cluster.connect(node).await;
        let mut command = redis::cmd("KEYS");
        let at: Vec<String> = command
            .arg("limit:*")
            .query_async(&mut redis)
            .await
            .unwrap();
        assert!(!at.is_empty());
        home.push(at);
    }
    // A new script, and a key on its way from node 1 to node 2: served there already.
    let key = &home[1][0];
    let (mut from, mut to) = (cluster.connect(1).await, cluster.connect(2).await);
    let mut ids = Vec::new();
    for redis in [&mut from, &mut to] {
        let mut id = redis::cmd("CLUSTER");
        let id: String = id.arg("MYID").query_async(redis).await.unwrap();
        ids.push(id);
    }
    let mut slot = redis::cmd("CLUSTER");
    let slot = slot.arg("KEYSLOT").arg(key).query_async(&mut from).await;
    let slot: u16 = slot.unwrap();
    redis::cmd("DEL")
        .arg(key)
        .exec_async(&mut from)
        .await
        .unwrap();
    for (redis, state, other) in [
        (&mut to, "IMPORTING", &ids[0]),
        (&mut from, "MIGRATING", &ids[1]),
    ] {
        let mut set = redis::cmd("CLUSTER");
        set.arg("SETSLOT").arg(slot).arg(state).arg(other);
        set.exec_async(redis).await.unwrap();
    }
    let moving = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1]) + 100");
    for sum in [102, 104] {
        let keys = std::slice::from_ref(key);
        assert_eq!(bus.eval::<i64>(&moving, keys, &two).await.unwrap(), sum);
    }
    // Node 0 dies: what the others have stays.
    cluster.kill(0).await;
    let last = &home[2][0];
    eventually("another node answers", async || evaluate(last).await.ok()).await;
    assert!(evaluate(last).await.is_ok());
    assert!(bus.ping().await.is_ok());
}
