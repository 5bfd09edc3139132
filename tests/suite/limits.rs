//! Limits: how much one caller, or one address, may do.

use std::time::Duration;

use integration::{
    checkout,
    event_source::{EventSource, Seen},
    eventually,
    proxy::Proxy,
    stack::{Stack, signal, update},
    viewer::Viewer,
};
use nix::sys::signal::Signal;
use redis::{FromRedisValue, aio::MultiplexedConnection};
use reqwest::{Response, StatusCode, header};
use serde_json::{Value, json};

async fn connect(stack: &Stack, function: &str, token: &str) -> Response {
    let url = format!("{}/api/{function}/events/r", stack.url);
    let url = url.replace("queue-stats/events/r", "queue-stats/events");
    let request = reqwest::Client::new().get(url).bearer_auth(token);
    request.send().await.unwrap()
}

/// Asserts a 429 and returns when to come back.
async fn limited(response: Response) -> u64 {
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds = response.headers()[header::RETRY_AFTER].to_str().unwrap();
    let seconds = seconds.parse().unwrap();
    let problem: Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().starts_with("Too many"));
    seconds
}

/// The places whose leases run, the oldest first, each as "opened:watched:stream".
async fn places(redis: &MultiplexedConnection) -> Vec<String> {
    let keys: Vec<String> = ask(redis, &["KEYS", "limit:*:places"]).await;
    let (seconds, micros): (u64, u64) = ask(redis, &["TIME"]).await;
    let now = (seconds * 1000 + micros / 1000).to_string();
    let mut places = Vec::new();
    for key in keys {
        places.extend(ask::<Vec<String>>(redis, &["ZRANGEBYSCORE", &key, &now, "+inf"]).await);
    }
    places.sort();
    places
}

async fn ask<T: FromRedisValue>(redis: &MultiplexedConnection, command: &[&str]) -> T {
    let (name, arguments) = command.split_first().unwrap();
    let mut command = redis::cmd(name);
    let answer = command.arg(arguments).query_async(&mut redis.clone()).await;
    answer.unwrap()
}

/// How many environments, or streams of managed ones, are at work.
async fn busy(stack: &Stack, function: &str) -> usize {
    let report = stack.report().await;
    let processes = report["functions"][function]["processes"].as_array();
    let is_busy = |process: &&Value| process["state"] == "busy";
    processes.unwrap().iter().filter(is_busy).count()
}

/// How many streams were evicted, as the functions say.
fn evicted(stack: &Stack) -> usize {
    stack.said().matches(r#""reason":"evicted""#).count()
}

#[tokio::test]
async fn a_stream_that_asks_twice_has_one_place_and_evicts_one() {
    let stack = Stack::start().await;
    let script = redis::Script::new(include_str!("../../shared/src/access/limits/place.lua"));
    let mut redis = stack.redis().await;
    let mut place = async |action: &str, place: &str| {
        let mut call = script.key("{s}:places");
        let call = call
            .arg(action)
            .arg(place)
            .arg(60_000)
            .arg(2)
            .arg("evicted");
        let answer: i64 = call.invoke_async(&mut redis).await.unwrap();
        answer
    };
    assert_eq!(place("take", "1:x:a").await, 0);
    assert_eq!(place("take", "2:y:b").await, 0);
    assert_eq!(place("take", "3:y:c").await, 1);
    assert_eq!(place("take", "3:y:c").await, 0);
    // `a` was the oldest.
    assert_eq!(place("keep", "1:x:a").await, -1);
    assert_eq!(place("keep", "2:y:b").await, 0);
    assert_eq!(place("take", "4:x:d").await, 1);
    assert_eq!(place("keep", "2:y:b").await, -1);
    // Who resumes takes the place of one that watches the same, although another is older.
    assert_eq!(place("retake", "5:x:e").await, 1);
    assert_eq!(place("keep", "4:x:d").await, -1);
    assert_eq!(place("keep", "3:y:c").await, 0);
    assert_eq!(place("release", "5:x:e").await, 0);
    // There is room: Redis lost it, nobody took it.
    assert_eq!(place("keep", "4:x:d").await, 0);
}

#[tokio::test]
async fn at_the_bound_who_comes_is_served_and_the_oldest_ends() {
    let stack = Stack::with(&[], &[("STREAMS_PER_SUBJECT", "3")]).await;
    // Who has the same name in another organization is somebody else.
    let other = stack.token(&["--org", "other"]).await;
    let mut other = Viewer::new(connect(&stack, "job-status", &other).await);
    let redis = stack.redis().await;
    let mut viewers = Vec::new();
    for function in ["queue-stats", "test-status", "job-status", "job-status"] {
        let before = places(&redis).await;
        let response = connect(&stack, function, &stack.token).await;
        assert_eq!(response.status(), StatusCode::OK);
        viewers.push(Viewer::new(response));
        eventually("it has a place", async || {
            (places(&redis).await != before).then_some(())
        })
        .await;
    }
    viewers[0].closed().await;
    let last = "event: end\ndata: {\"reason\":\"closed\"}\nid: evicted\n\n";
    assert!(viewers[0].text().ends_with(last), "{}", viewers[0].text());
    eventually("its environment is free", async || {
        (busy(&stack, "queue-stats").await == 0).then_some(())
    })
    .await;
    stack.publish("job", "r", "passed").await;
    stack.publish("test", "r", "passed").await;
    for viewer in &mut viewers[1..] {
        let (_, reason) = viewer.rest().await;
        assert_eq!(reason.as_deref(), Some("complete"));
    }
    other.state().await;
}

#[tokio::test]
async fn who_is_refused_or_has_nothing_left_to_watch_evicts_nobody() {
    let stack = Stack::with(&[], &[("STREAMS_PER_SUBJECT", "1")]).await;
    let foreign = json!([{"eventId": "1", "kind": "job", "id": "foreign", "organizationId": "demo",
        "projectId": "p", "status": "running"}]);
    stack.send(foreign).await;
    stack.publish("job", "over", "passed").await;
    let mut held = stack.watch("/api/job-status/events/r").await;
    held.state().await;
    let path = |id: &str| format!("/api/job-status/events/{id}");
    let token = stack.token(&["--org", "demo", "--projects", "demo"]).await;
    let refused = reqwest::Client::new()
        .get(format!("{}{}", stack.url, path("foreign")))
        .bearer_auth(token);
    assert_eq!(refused.send().await.unwrap().status(), 404);
    assert_eq!(stack.get(&path("over"), Some("1")).await.status(), 204);
    // What was evicted, and comes back all the same, is ended.
    assert_eq!(stack.get(&path("r"), Some("evicted")).await.status(), 204);
    let queues = "/api/queue-stats/events?lastEventId=evicted";
    assert_eq!(stack.get(queues, None).await.status(), 204);
    assert_eq!(evicted(&stack), 0);
    stack.publish("job", "r", "passed").await;
    assert_eq!(held.rest().await.1.as_deref(), Some("complete"));
}

#[tokio::test]
async fn a_page_that_is_reloaded_without_a_beacon_is_always_served_and_costs_no_more() {
    // The defaults.
    let variables = [
        ("STREAMS_PER_SUBJECT", "20"),
        ("CONNECTS_PER_MINUTE", "120"),
    ];
    let stack = Stack::with(&[], &variables).await;
    for _ in 0..25 {
        let mut page = stack.watch("/api/job-status/events/r").await;
        page.state().await;
    }
    let redis = stack.redis().await;
    eventually("twenty are left, and their environments", async || {
        let places = places(&redis).await.len();
        (places == 20 && busy(&stack, "job-status").await == 20).then_some(())
    })
    .await;
    assert_eq!(evicted(&stack), 5);
}

#[tokio::test]
async fn fifty_streams_of_a_subject_that_drop_together_all_come_back() {
    for options in [&[][..], &["--managed", "128"]] {
        let variables = [
            ("STREAMS_PER_SUBJECT", "53"),
            ("CONNECTS_PER_MINUTE", "120"),
        ];
        let stack = Stack::with(options, &variables).await;
        let (network, url) = Proxy::before(&format!("{}/", stack.url)).await;
        let open = |url: &str, id: usize| {
            let url = format!("{url}api/job-status/events/r{id}");
            EventSource::open(url, stack.token.clone())
        };
        // On another machine, and open for longer.
        let others: Vec<_> = (0..3)
            .map(|id| open(&format!("{}/", stack.url), id))
            .collect();
        all_open(&others, 1).await;
        let dropping: Vec<_> = (10..60).map(|id| open(&url, id)).collect();
        all_open(&dropping, 1).await;
        for round in 2..=3 {
            network.cut();
            all_open(&dropping, round).await;
        }
        all_open(&others, 1).await;
        assert!(others.iter().all(|other| other.seen().opened == 1));
        let redis = stack.redis().await;
        eventually(
            "as many places are taken as there are streams",
            async || (places(&redis).await.len() == 53 && evicted(&stack) == 100).then_some(()),
        )
        .await;
    }
}

/// Waits until all are open for that time at least; none may have given up.
async fn all_open(sources: &[EventSource], opened: usize) {
    eventually("all are open", async || {
        let seen: Vec<_> = sources.iter().map(EventSource::seen).collect();
        let gave_up: Vec<_> = seen.iter().filter_map(|seen| seen.gave_up).collect();
        assert_eq!(gave_up, [] as [StatusCode; 0]);
        let is_open =
            |seen: &Seen| seen.is_open && seen.opened >= opened && !seen.messages.is_empty();
        seen.iter().all(is_open).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_pages_that_want_more_than_there_is_do_not_evict_each_other_in_a_circle() {
    let variables = [
        ("STREAMS_PER_SUBJECT", "20"),
        ("CONNECTS_PER_MINUTE", "120"),
    ];
    let stack = Stack::with(&["--managed", "64"], &variables).await;
    let page = || -> Vec<_> {
        let url = |id| format!("{}/api/job-status/events/r{id}", stack.url);
        (0..15)
            .map(|id| EventSource::open(url(id), stack.token.clone()))
            .collect()
    };
    let first = page();
    all_open(&first, 1).await;
    let second = page();
    all_open(&second, 1).await;
    let gave_up = eventually(
        "ten are told, and nobody is about to come back",
        async || {
            let all = first.iter().chain(&second).map(EventSource::seen);
            let gave_up: Vec<_> = all
                .filter(|seen| !seen.is_open)
                .map(|seen| seen.gave_up)
                .collect();
            let is_settled = gave_up.len() >= 10 && gave_up.iter().all(Option::is_some);
            is_settled.then_some(gave_up)
        },
    )
    .await;
    // Each of those who were too many was told once, and stopped.
    assert_eq!(gave_up, [Some(StatusCode::NO_CONTENT); 10]);
    assert_eq!(evicted(&stack), 10);
    let all = first.iter().chain(&second);
    assert!(all.into_iter().all(|source| source.seen().opened == 1));
}

#[tokio::test]
async fn a_killed_functions_streams_take_back_their_own_places() {
    let variables = [
        ("STREAMS_PER_SUBJECT", "20"),
        ("CONNECTS_PER_MINUTE", "120"),
    ];
    let stack = Stack::with(&[], &variables).await;
    let open = |kind: &str, count: usize| -> Vec<_> {
        let url = |id| format!("{}/api/{kind}-status/events/r{id}", stack.url);
        (0..count)
            .map(|id| EventSource::open(url(id), stack.token.clone()))
            .collect()
    };
    let living = open("test", 5);
    all_open(&living, 1).await;
    let killed = open("job", 15);
    all_open(&killed, 1).await;
    for pid in stack.pids("job-status").await {
        signal(pid, Signal::SIGKILL);
    }
    all_open(&killed, 2).await;
    // Although they are older, and the dead ones' leases run on.
    all_open(&living, 1).await;
    assert!(living.iter().all(|living| living.seen().opened == 1));
    assert_eq!(evicted(&stack), 0);
}

#[tokio::test]
async fn a_killed_functions_places_are_given_back_and_living_ones_are_kept() {
    let variables = [
        ("STREAMS_PER_SUBJECT", "20"),
        ("STREAM_HEARTBEAT_SECONDS", "1"),
    ];
    let stack = Stack::with(&[], &variables).await;
    let _killed = connect(&stack, "job-status", &stack.token).await;
    let mut living = stack.watch("/api/test-status/events/r").await;
    living.state().await;
    let redis = stack.redis().await;
    let before = eventually("both have a place", async || {
        let places = places(&redis).await;
        (places.len() == 2).then_some(places)
    })
    .await;
    for pid in stack.pids("job-status").await {
        signal(pid, Signal::SIGKILL);
    }
    let after = eventually("the dead one's place is free", async || {
        let places = places(&redis).await;
        (places.len() == 1).then_some(places)
    })
    .await;
    assert_eq!(after, before[1..]);
    // Longer than a lease.
    living.pings(9).await;
    assert_eq!(places(&redis).await, after);
}

#[tokio::test]
async fn a_stream_that_was_evicted_and_not_told_finds_out() {
    let variables = [
        ("STREAMS_PER_SUBJECT", "1"),
        ("STREAM_HEARTBEAT_SECONDS", "1"),
    ];
    let stack = Stack::with(&[], &variables).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    let redis = stack.redis().await;
    let place = eventually("it has a place", async || places(&redis).await.pop()).await;
    let keys: Vec<String> = ask(&redis, &["KEYS", "limit:*:places"]).await;
    let () = ask(&redis, &["ZADD", &keys[0], "9999999999999", "another"]).await;
    let () = ask(&redis, &["ZREM", &keys[0], &place]).await;
    let (_, reason) = viewer.rest().await;
    assert_eq!(reason.as_deref(), Some("closed"));
    assert_eq!(viewer.last_event_id.as_deref(), Some("evicted"));
    assert_eq!(places(&redis).await, ["another"]);
}

#[tokio::test]
async fn a_redis_that_lost_the_places_ends_no_stream() {
    let variables = [
        ("STREAMS_PER_SUBJECT", "3"),
        ("STREAM_HEARTBEAT_SECONDS", "1"),
    ];
    let stack = Stack::with(&[], &variables).await;
    let redis = stack.redis().await;
    let mut viewers = Vec::new();
    for _ in 0..3 {
        let mut viewer = stack.watch("/api/job-status/events/r").await;
        viewer.state().await;
        viewers.push(viewer);
    }
    let before = eventually("all have a place", async || {
        let places = places(&redis).await;
        (places.len() == 3).then_some(places)
    })
    .await;
    let () = ask(&redis, &["FLUSHALL"]).await;
    eventually("all have their place again", async || {
        (places(&redis).await == before).then_some(())
    })
    .await;
    stack.publish("job", "r", "passed").await;
    for viewer in &mut viewers {
        assert_eq!(viewer.rest().await.1.as_deref(), Some("complete"));
    }
}

#[tokio::test]
async fn an_environment_whose_connection_died_while_it_was_frozen_still_counts() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "1")]).await;
    stack.publish("job", "r", "passed").await;
    let response = connect(&stack, "job-status", &stack.token).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap();
    let redis = stack.redis().await;
    for _ in 0..5 {
        stack.all_frozen("job-status").await;
        let () = ask(&redis, &["CLIENT", "KILL", "SKIPME", "yes"]).await;
        limited(connect(&stack, "job-status", &stack.token).await).await;
    }
}

#[tokio::test]
async fn rotations_and_resumes_use_up_nothing_of_the_rate_of_connecting() {
    let variables = [("CONNECTS_PER_MINUTE", "2"), ("STREAMS_PER_SUBJECT", "5")];
    let stack = Stack::with(&["--managed", "64"], &variables).await;
    stack.publish("job", "r", "running").await;
    let path = "/api/job-status/events/r";
    stack.watch(path).await.state().await;
    // Six breaks of all five, and the rotations: (1 + 6) × 5.
    for _ in 0..35 {
        stack.resume(path, Some("1")).await;
    }
    stack.watch(path).await.state().await;
    limited(connect(&stack, "job-status", &stack.token).await).await;
    // Who only says that it resumes has a bound, too.
    let mut resumed = 0;
    loop {
        let response = stack.get(path, Some("1")).await;
        if response.status() != StatusCode::OK {
            assert!(limited(response).await <= 2);
            break;
        }
        resumed += 1;
    }
    assert!(resumed < 35, "{resumed}");
}

#[tokio::test]
async fn who_connects_too_often_is_told_when_to_come_back() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "30")]).await;
    stack
        .send(json!([
            update("job", "r", "passed"),
            update("test", "r", "passed")
        ]))
        .await;
    let mut let_in = 0;
    let retry_after = loop {
        let function = ["job-status", "test-status"][let_in % 2];
        let response = connect(&stack, function, &stack.token).await;
        if response.status() != StatusCode::OK {
            break limited(response).await;
        }
        let_in += 1;
    };
    // 30 at once, and one more every 2 s.
    assert!((30..40).contains(&let_in), "{let_in}");
    assert!((1..=2).contains(&retry_after), "{retry_after}");
    tokio::time::sleep(Duration::from_secs(retry_after)).await;
    assert_eq!(
        connect(&stack, "job-status", &stack.token).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn who_tries_without_a_token_is_slowed_down_and_keeps_nobody_else_out() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "10")]).await;
    let mut refused = 0;
    loop {
        let response = connect(&stack, "job-status", "garbage").await;
        if response.status() != StatusCode::UNAUTHORIZED {
            limited(response).await;
            break;
        }
        refused += 1;
    }
    assert!((10..20).contains(&refused), "{refused}");
    assert_eq!(
        connect(&stack, "job-status", &stack.token).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn every_key_of_a_limit_ends_by_itself() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "120")]).await;
    connect(&stack, "job-status", "garbage").await;
    let _stream = stack.watch("/api/job-status/events/r").await;
    let redis = stack.redis().await;
    eventually("it has a place", async || places(&redis).await.pop()).await;
    let keys: Vec<String> = ask(&redis, &["KEYS", "*"]).await;
    // Tries of the address; tries and places of the subject.
    assert_eq!(keys.len(), 3, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("limit:{"), "{key}");
        let ttl: i64 = ask(&redis, &["PTTL", &key]).await;
        assert!((0..=105_000).contains(&ttl), "{key}: {ttl}");
    }
}

#[tokio::test]
async fn without_redis_everyone_is_let_in_and_that_is_counted() {
    let variables = [("STREAMS_PER_SUBJECT", "1"), ("CONNECTS_PER_MINUTE", "1")];
    let stack = Stack::with(&[], &variables).await;
    stack.publish("job", "r", "passed").await;
    signal(stack.valkey_pid().await, Signal::SIGKILL);
    for _ in 0..3 {
        let response = connect(&stack, "job-status", &stack.token).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap();
    }
    eventually("it is counted", async || {
        stack.said().contains("\"LimitsSkipped\":").then_some(())
    })
    .await;
}

#[tokio::test]
async fn behind_cloudfront_the_viewers_address_counts_and_nobody_elses_word_for_it() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "3")]).await;
    let sample = std::fs::read_to_string(checkout("infra/events/job-status.json")).unwrap();
    let sample: Value = serde_json::from_str(&sample.replace("TOKEN", "garbage")).unwrap();
    let tries = async |viewer: &str, is_signed: bool| {
        let mut event = sample.clone();
        event["headers"]["x-viewer-address"] = json!(viewer);
        if is_signed {
            event["requestContext"]["authorizer"] = json!({"iam": {"accountId": "1"}});
        }
        for tried in 0..10 {
            let answer = stack.invoke_raw("job-status", event.to_string()).await;
            let answer = answer.text().await.unwrap();
            if answer.contains("\"statusCode\":429") {
                return tried;
            }
            assert!(answer.contains("\"statusCode\":401"), "{answer}");
        }
        10
    };
    assert_eq!(tries("192.0.2.1", true).await, 3);
    assert_eq!(tries("192.0.2.2", true).await, 3);
    // Made up by whoever calls the URL itself: all are one address.
    assert_eq!(tries("192.0.2.3", false).await, 3);
    assert_eq!(tries("192.0.2.4", false).await, 0);
}
