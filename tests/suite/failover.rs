//! Another server takes over, and the one before does not know, or has more than it.

use integration::{
    eventually,
    proxy::Proxy,
    redis_server::{Cluster, Stand},
    server::Server,
    stack::{NO_POLL, Stack, postgres, update},
    viewer::Viewer,
};
use serde_json::{Value, json};

const PATH: &str = "/api/job-status/events/r";

#[tokio::test]
async fn a_primary_that_was_demoted_is_left_by_streams_and_by_the_worker() {
    let owner = Stack::start().await;
    let stand = Stand::beside(&owner.redis_url);
    let (proxy, through) = Proxy::before(&owner.redis_url).await;
    let variables = [NO_POLL, ("STREAM_HEARTBEAT_SECONDS", "1")];
    let stack = Stack::beside(&through, &owner.database_url, &variables).await;
    let mut before = stack.watch(PATH).await;
    before.state().await;
    stack.publish("job", "r", "running").await;
    assert_eq!(before.status().await, ("running".to_owned(), 1));

    // Its connections stay, and it goes on taking what is published.
    stand.take_over(&proxy).await;
    let mut after = stack.watch(PATH).await;
    assert_eq!(after.status().await, ("running".to_owned(), 1));
    stack.publish("job", "r", "running").await;
    assert_eq!(after.status().await, ("running".to_owned(), 2));
    // The renewal of its place is refused there: nothing was published that it could hear.
    assert_eq!(before.status().await, ("running".to_owned(), 2));
    stack.publish("job", "r", "passed").await;
    for viewer in [&mut before, &mut after] {
        assert_eq!(viewer.rest().await.0, [3]);
    }
    let said = stack.said();
    assert!(said.contains("this Redis is a replica"), "{said}");
}

#[tokio::test]
async fn in_a_cluster_a_node_that_was_demoted_goes_on_carrying_messages() {
    let (owner, mut cluster) = tokio::join!(Stack::start(), Cluster::start());
    let replica = cluster.add_replica(0).await;
    let variables = [("REDIS_CLUSTER", "true"), NO_POLL];
    let stack = Stack::beside(&cluster.urls[0], &owner.database_url, &variables).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    stack.publish("job", "r", "running").await;
    assert_eq!(viewer.status().await, ("running".to_owned(), 1));
    cluster.fail_over_to(replica).await;
    let mut other = stack.watch(PATH).await;
    other.state().await;
    stack.publish("job", "r", "passed").await;
    for viewer in [&mut viewer, &mut other] {
        assert_eq!(viewer.rest().await.0, [2]);
    }
    let said = stack.said();
    assert!(!said.contains("LimitsSkipped"), "limits go on: {said}");
}

/// Reads a viewer up to a reset; returns the state behind it, and its cursor.
async fn reset(viewer: &mut Viewer) -> (Value, String) {
    let mut event = viewer.event().await.unwrap();
    if event.event == "stream" {
        event = viewer.event().await.unwrap();
    }
    assert_eq!(event.event, "reset", "{event:?}");
    let event = viewer.event().await.unwrap();
    (serde_json::from_str(&event.data).unwrap(), event.id)
}

/// Sends an event that this message tells from others of its number.
async fn send(stack: &Stack, message: &str) {
    let mut update = update("job", "r", "running");
    update["progress"] = json!({"completed": 1, "message": message});
    assert_eq!(stack.send(json!([update])).await["accepted"], 1);
}

#[tokio::test]
async fn a_log_that_lost_its_end_in_a_failover_is_told_of_and_never_mistaken() {
    let owner = Stack::start().await;
    let (proxy, through) = Proxy::before(&owner.database_url).await;
    let stack = Stack::beside(&owner.redis_url, &through, &[NO_POLL]).await;
    send(&stack, "kept").await;
    let (standby, port, standby_url) = Server::standby(&owner).await;
    let client = postgres(&standby_url).await;
    // What comes now does not reach it.
    client
        .batch_execute("ALTER SYSTEM SET primary_conninfo = ''")
        .await
        .unwrap();
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let streaming = "SELECT count(*) FROM pg_stat_replication";
    eventually("the standby is cut off", async || {
        (owner.number(streaming).await == 0).then_some(())
    })
    .await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    send(&stack, "lost").await;
    let lost = viewer.event().await.unwrap();
    assert_eq!((lost.id.as_str(), lost.event.as_str()), ("2", "message"));

    // A name that leads to what is only a reader yet, is not believed.
    proxy.lead_to(port);
    proxy.cut();
    let response = stack.get(PATH, Some("2")).await;
    assert_eq!(response.status(), 503);
    client
        .batch_execute("SELECT pg_promote(true)")
        .await
        .unwrap();

    // Number 2 is given again, for something else.
    send(&stack, "anew").await;
    let (state, cursor) = reset(&mut viewer).await;
    assert_eq!(state["progress"]["message"], "anew");
    assert_eq!(state["seq"], 2);
    let (seq, epoch) = cursor.split_once('.').expect("an epoch");
    assert!(seq == "2" && epoch.parse::<u64>().unwrap() > 1_700_000_000);
    // So is what comes back with a cursor of the former life; of this one, it goes on.
    let mut back = stack.resume(PATH, Some("2")).await;
    assert_eq!(reset(&mut back).await, (state, cursor.clone()));
    let mut further = stack.resume(PATH, Some(&cursor)).await;
    stack.publish("job", "r", "passed").await;
    for viewer in [&mut viewer, &mut back, &mut further] {
        let (seqs, reason) = viewer.rest().await;
        assert_eq!(
            (seqs.last(), reason.as_deref()),
            (Some(&3), Some("complete"))
        );
    }
    drop(standby);
}

#[tokio::test]
async fn a_log_that_was_restored_is_told_of_once_its_operator_says_so() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    let (server, name) = stack.database_url.rsplit_once('/').unwrap();
    let operator = postgres(&format!("{server}/template1")).await;
    let run = async |statement: &str| operator.batch_execute(statement).await.unwrap();
    let close = async || {
        run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
        let leave = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname =";
        run(&format!("{leave} '{name}'")).await;
    };
    send(&stack, "kept").await;
    close().await;
    run(&format!("CREATE DATABASE backup TEMPLATE {name}")).await;
    run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    let mut viewer = stack.watch(PATH).await;
    viewer.state().await;
    send(&stack, "lost").await;
    assert_eq!(viewer.event().await.unwrap().id, "2");

    close().await;
    run(&format!("ALTER DATABASE {name} RENAME TO lost")).await;
    run(&format!("ALTER DATABASE backup RENAME TO {name}")).await;
    let restored = json!({"action": "restored"});
    let epoch = stack.invoke("migrate", &restored).await["epoch"].clone();
    assert!(epoch.as_u64().unwrap() > 1_700_000_000, "{epoch}");

    // Number 2 is given again, for something else.
    send(&stack, "anew").await;
    let (state, cursor) = reset(&mut viewer).await;
    assert_eq!(state["progress"]["message"], "anew");
    assert_eq!(cursor, format!("2.{epoch}"));
    assert_eq!(stack.get(PATH, Some("2")).await.status(), 200);
    let mut back = stack.resume(PATH, Some("2")).await;
    assert_eq!(reset(&mut back).await, (state, cursor));
}
