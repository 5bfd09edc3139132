//! A run, whole: the stream of its tests, and what can be read of it later.

use std::collections::BTreeMap;

use integration::{
    stack::{Stack, of_run, update, with},
    viewer::Viewer,
};
use reqwest::{Client, Response, StatusCode, header};
use serde_json::{Value, json};

const TESTS_OF_R: &str = "/api/test-status/events?runId=r";

async fn accept(stack: &Stack, updates: Vec<Value>) {
    let sent = updates.len();
    let answer = stack.send(json!(updates)).await;
    assert_eq!(answer["accepted"], sent, "{answer}");
}

/// The states of a beginning: up to the one that carries the cursor.
async fn beginning(viewer: &mut Viewer) -> Vec<(String, String)> {
    let mut states = Vec::new();
    while viewer.last_event_id.is_none() {
        states.push(test_and_status(&viewer.state().await));
    }
    states
}

fn test_and_status(state: &Value) -> (String, String) {
    let text = |name: &str| state[name].as_str().unwrap().to_owned();
    (text("testId"), text("status"))
}

fn pair(id: &str, status: &str) -> (String, String) {
    (id.to_owned(), status.to_owned())
}

#[tokio::test]
async fn a_runs_stream_has_all_its_tests_and_those_to_come() {
    let stack = Stack::start().await;
    let tests = [
        of_run("r", "a", "passed"),
        of_run("r", "b", "running"),
        of_run("r", "c", "failed"),
        of_run("r", "d", "waiting"),
        of_run("other", "x", "running"),
        update("test", "alone", "running"),
    ];
    accept(&stack, tests.into()).await;
    let mut viewer = stack.watch(TESTS_OF_R).await;
    let expected = [
        pair("b", "running"),
        pair("d", "waiting"),
        pair("c", "failed"),
        pair("a", "passed"),
    ];
    assert_eq!(beginning(&mut viewer).await, expected);
    assert_eq!(viewer.last_event_id.as_deref(), Some("4"));

    // It joins the run later than it is first heard of, and another is new.
    accept(
        &stack,
        vec![
            of_run("r", "alone", "running"),
            of_run("other", "x", "passed"),
            of_run("r", "e", "running"),
        ],
    )
    .await;
    assert_eq!(test_and_status(&viewer.state().await).0, "alone");
    assert_eq!(test_and_status(&viewer.state().await).0, "e");
    assert_eq!(viewer.last_event_id.as_deref(), Some("6"));
    for id in ["alone", "b", "d", "e"] {
        accept(&stack, vec![of_run("r", id, "passed")]).await;
        assert_eq!(
            test_and_status(&viewer.state().await),
            pair(id, "passed"),
            "one event, once"
        );
    }
    // All of them have ended, but others may come until the run has.
    accept(&stack, vec![of_run("r", "f", "running")]).await;
    assert_eq!(test_and_status(&viewer.state().await).0, "f");
    let last = [of_run("r", "f", "passed"), update("job", "r", "failed")];
    accept(&stack, last.into()).await;
    let (seqs, reason) = viewer.rest().await;
    assert_eq!((seqs, reason.as_deref()), (vec![2], Some("complete")));
    let cursor = viewer.last_event_id.clone().unwrap();
    assert_eq!(cursor, "12");

    let resumed = stack.get(TESTS_OF_R, Some(&cursor)).await;
    assert_eq!(resumed.status(), StatusCode::NO_CONTENT);
    let mut resumed = stack.resume(TESTS_OF_R, Some("10")).await;
    assert_eq!(
        resumed.rest().await,
        (vec![1, 2], Some("complete".to_owned()))
    );
    let mut late = stack.watch(TESTS_OF_R).await;
    assert_eq!(beginning(&mut late).await.len(), 7);
    assert_eq!(late.rest().await.1.as_deref(), Some("complete"));
}

#[tokio::test]
async fn a_run_that_nobody_has_reported_is_waited_for() {
    let stack = Stack::start().await;
    let mut viewer = stack.watch(TESTS_OF_R).await;
    assert_eq!(viewer.event().await.unwrap().event, "stream");
    accept(&stack, vec![of_run("r", "a", "running")]).await;
    assert_eq!(test_and_status(&viewer.state().await), pair("a", "running"));
    assert!(
        viewer.text().contains("id: 0\n\n"),
        "a cursor, and no state"
    );
    accept(&stack, vec![update("job", "r", "cancelled")]).await;
    assert_eq!(
        test_and_status(&viewer.state().await),
        pair("a", "cancelled"),
        "it takes its tests along"
    );
    assert_eq!(viewer.rest().await.1.as_deref(), Some("complete"));
}

#[tokio::test]
async fn a_run_with_tests_that_do_not_end_settles() {
    let stack = Stack::with(&[], &[("SETTLE_SECONDS", "2")]).await;
    let tests = [of_run("r", "a", "running"), of_run("r", "b", "running")];
    accept(&stack, tests.into()).await;
    let mut viewer = stack.watch(TESTS_OF_R).await;
    beginning(&mut viewer).await;
    accept(&stack, vec![update("job", "r", "passed")]).await;
    accept(&stack, vec![of_run("r", "a", "passed")]).await;
    assert_eq!(test_and_status(&viewer.state().await), pair("a", "passed"));
    assert_eq!(viewer.rest().await, (vec![], Some("complete".to_owned())));
}

#[tokio::test]
async fn a_large_run_comes_in_parts_while_it_goes_on() {
    const TESTS: usize = 1_500;
    let stack = Stack::start().await;
    let error = "e".repeat(2_000);
    for part in 0..3 {
        let test = |n: usize| {
            let status = ["passed", "running", "failed"][n % 3];
            with(
                of_run("r", &format!("t{n}"), status),
                json!({"error": error}),
            )
        };
        let part: Vec<_> = (part * 500..(part + 1) * 500).map(test).collect();
        accept(&stack, part).await;
    }
    let mut viewer = stack.watch(TESTS_OF_R).await;
    let mut states = BTreeMap::new();
    let mut seen = 0;
    let mut note = |state: &Value, states: &mut BTreeMap<String, (u64, String)>| {
        let (id, status) = test_and_status(state);
        let seq = state["seq"].as_u64().unwrap();
        let before = states.insert(id, (seq, status));
        assert!(
            before.is_none_or(|(before, _)| before + 1 == seq),
            "each once, in order: {state}"
        );
        seen += 1;
    };
    note(&viewer.state().await, &mut states);
    // What changes while the states are told, is told after them, once.
    let changes = async {
        for n in (1..TESTS).step_by(3) {
            accept(&stack, vec![of_run("r", &format!("t{n}"), "passed")]).await;
        }
        accept(&stack, vec![of_run("r", "new", "running")]).await;
        accept(&stack, vec![of_run("r", "new", "passed")]).await;
        accept(&stack, vec![update("job", "r", "passed")]).await;
    };
    let read = async {
        while let Some(event) = viewer.event().await {
            match event.event.as_str() {
                "message" => note(&serde_json::from_str(&event.data).unwrap(), &mut states),
                "end" => return event.data,
                _ => {}
            }
        }
        "none".to_owned()
    };
    let ((), end) = tokio::join!(changes, read);
    assert_eq!(end, r#"{"reason":"complete"}"#);
    assert_eq!(states.len(), TESTS + 1);
    let open = states.values().filter(|(_, status)| status == "running");
    assert_eq!(open.count(), 0);
    println!("{seen} states of {} tests", states.len());

    let mut late = stack.watch(TESTS_OF_R).await;
    let told = beginning(&mut late).await;
    assert_eq!(told.len(), TESTS + 1);
    let failed = TESTS / 3;
    assert!(told[..failed].iter().all(|(_, status)| status == "failed"));
    assert!(told[failed..].iter().all(|(_, status)| status == "passed"));
}

#[tokio::test]
async fn an_index_finds_a_runs_tests_and_events() {
    let stack = Stack::start().await;
    accept(&stack, vec![of_run("r", "a", "running")]).await;
    let postgres = stack.postgres().await;
    postgres
        .batch_execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        .await
        .unwrap();
    let rank = "CASE WHEN status IN ('waiting', 'running') THEN 0 \
                     WHEN status IN ('failed', 'error') THEN 1 ELSE 2 END";
    for (query, index) in [
        (
            format!(
                "SELECT id FROM executions WHERE kind = 'test' AND organization_id = 'demo' \
                 AND run_id = 'r' AND ({rank}, id) > (0, 'a') AND run_seq <= 7 AND seq > 0 \
                 ORDER BY {rank}, id LIMIT 256"
            ),
            "executions_of_run_by_rank",
        ),
        (
            "SELECT id FROM events WHERE organization_id = 'demo' AND run_id = 'r' \
             AND run_seq > 3 ORDER BY run_seq LIMIT 128"
                .to_owned(),
            "events_of_run",
        ),
    ] {
        let plan = postgres.query(&format!("EXPLAIN {query}"), &[]).await;
        let plan: Vec<String> = plan.unwrap().iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Sort"), "{plan}");
        assert!(
            !plan.contains("Filter: ((CASE") && !plan.contains("Filter: (ROW"),
            "{plan}"
        );
    }
}

#[tokio::test]
async fn a_runs_stream_goes_on_from_the_log_where_redis_says_nothing() {
    let stack = Stack::with(&[], &[("FALLBACK_POLL_SECONDS", "1")]).await;
    accept(&stack, vec![of_run("r", "a", "running")]).await;
    let mut viewer = stack.watch(TESTS_OF_R).await;
    beginning(&mut viewer).await;
    stack.worker_may_publish(false).await;
    let more = [of_run("r", "b", "running"), of_run("r", "a", "passed")];
    accept(&stack, more.into()).await;
    assert_eq!(test_and_status(&viewer.state().await), pair("b", "running"));
    assert_eq!(test_and_status(&viewer.state().await), pair("a", "passed"));
    accept(&stack, vec![of_run("r", "b", "passed")]).await;
    accept(&stack, vec![update("job", "r", "passed")]).await;
    assert_eq!(
        viewer.rest().await,
        (vec![2], Some("complete".to_owned())),
        "that the run has ended, the log says"
    );
}

#[tokio::test]
async fn one_stream_carries_tests_runs_and_projects() {
    let stack = Stack::start().await;
    let alone = with(
        update("test", "alone", "running"),
        json!({"projectId": "p2"}),
    );
    accept(&stack, vec![of_run("r", "a", "running"), alone]).await;
    let path = "/api/test-status/events?testId=alone&runId=r&projectId=p3&testId=none";
    let mut viewer = stack.watch(path).await;
    assert_eq!(
        beginning(&mut viewer).await,
        [
            pair("alone", "running"),
            pair("none", "waiting"),
            pair("a", "running")
        ]
    );
    assert_eq!(viewer.last_event_id.as_deref(), Some("1,1,0,0"));
    for (id, run, project, cursor) in [
        ("b", Some("r"), "demo", "1,2,0,0"),
        ("c", None, "p3", "1,2,1,0"),
        ("none", None, "p2", "1,2,1,1"),
        ("alone", None, "p2", "2,2,1,1"),
    ] {
        let members = json!({"projectId": project, "runId": run});
        accept(&stack, vec![with(update("test", id, "passed"), members)]).await;
        assert_eq!(test_and_status(&viewer.state().await), pair(id, "passed"));
        assert_eq!(viewer.last_event_id.as_deref(), Some(cursor));
    }
    let mut resumed = stack.resume(path, Some("1,1,1,0")).await;
    let mut told: Vec<_> = Vec::new();
    while resumed.last_event_id.as_deref() != Some("2,2,1,1") {
        told.push(test_and_status(&resumed.state().await).0);
    }
    assert_eq!(told, ["alone", "b", "none"]);
}

#[tokio::test]
async fn another_organizations_or_projects_run_is_not_seen() {
    let stack = Stack::start().await;
    let theirs = json!({"organizationId": "other", "projectId": "demo", "error": "theirs"});
    let hidden = json!({"projectId": "hidden", "error": "theirs"});
    accept(
        &stack,
        vec![
            with(of_run("r", "a", "failed"), theirs.clone()),
            with(of_run("h", "b", "failed"), hidden.clone()),
            of_run("r", "c", "running"),
        ],
    )
    .await;
    let mut viewer = stack.watch(TESTS_OF_R).await;
    assert_eq!(beginning(&mut viewer).await, [pair("c", "running")]);
    accept(&stack, vec![with(of_run("r", "d", "failed"), theirs)]).await;
    accept(&stack, vec![of_run("r", "e", "running")]).await;
    assert_eq!(test_and_status(&viewer.state().await).0, "e");

    let token = stack.token(&["--org", "demo", "--projects", "demo"]).await;
    let ask = async |path: &str| get(&stack, path, &token, None).await;
    for path in [
        "/api/test-status/events?runId=h",
        "/api/test-status/events?runId=r&runId=h",
        "/api/runs/h",
        "/api/runs/h?history=true",
        "/api/runs/unknown",
        "/api/runs?projectId=hidden",
    ] {
        let answer = ask(path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        let body = answer.text().await.unwrap();
        assert!(
            !body.contains("theirs") && !body.contains("hidden"),
            "{body}"
        );
    }
    let mut waiting = Viewer::new(ask("/api/test-status/events?runId=later").await);
    waiting.event().await;
    accept(&stack, vec![with(of_run("later", "f", "running"), hidden)]).await;
    assert_eq!(waiting.rest().await.1.as_deref(), Some("closed"));
    assert!(!waiting.text().contains("theirs"));
}

async fn get(stack: &Stack, path: &str, token: &str, etag: Option<&str>) -> Response {
    let mut request = Client::new()
        .get(format!("{}{path}", stack.url))
        .bearer_auth(token);
    if let Some(etag) = etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    request.send().await.unwrap()
}

/// The ids of a page, and where the next begins.
async fn page(stack: &Stack, query: &str) -> (Vec<String>, Option<String>) {
    let path = format!("/api/runs?projectId=demo{query}");
    let answer = stack.get(&path, None).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let page: Value = answer.json().await.unwrap();
    let runs = page["runs"].as_array().unwrap().iter();
    let ids = runs.map(|run| run["runId"].as_str().unwrap().to_owned());
    (ids.collect(), page["next"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn past_runs_are_listed_page_by_page_and_found() {
    let stack = Stack::start().await;
    for n in 0..25 {
        let status = ["passed", "failed", "error"][n % 3];
        let name = json!({"name": format!("Nightly Ünit {n}"), "labels": {"branch": format!("topic/{}", n % 2)}});
        accept(
            &stack,
            vec![with(update("job", &format!("r{n}"), status), name)],
        )
        .await;
    }
    accept(&stack, vec![update("job", "open", "running")]).await;
    let mut all = Vec::new();
    let mut query = "&limit=10".to_owned();
    loop {
        let (ids, next) = page(&stack, &query).await;
        all.extend(ids);
        match next {
            Some(next) => query = format!("&limit=10&before={next}"),
            None => break,
        }
        if all.len() == 11 {
            // What ends meanwhile is no part of what is older.
            accept(&stack, vec![update("job", "meanwhile", "passed")]).await;
        }
    }
    let mut expected = vec!["open".to_owned()];
    expected.extend((0..25).rev().map(|n| format!("r{n}")));
    assert_eq!(all, expected);

    let only = async |query: &str| page(&stack, query).await.0;
    assert_eq!(only("&status=running").await, ["open"]);
    assert_eq!(only("&status=failed&limit=2").await, ["r22", "r19"]);
    assert_eq!(only("&status=ERRORED&status=waiting").await.len(), 8);
    assert_eq!(only("&search=%C3%BCNIT%2024").await, ["r24"]);
    assert_eq!(only("&search=R7").await, ["r7"]);
    assert_eq!(only("&search=topic/1&status=passed&limit=1").await, ["r21"]);
    assert_eq!(only("&search=100%25").await, [""; 0]);
    for (query, why) in [
        ("projectId=demo&status=green", "status"),
        ("projectId=demo&limit=0", "limit is 1 to 200"),
        ("projectId=demo&before=x", "before is"),
        ("projectId=a%20b", "valid id"),
        ("", "of which project"),
    ] {
        let answer = stack.get(&format!("/api/runs?{query}"), None).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        let problem: Value = answer.json().await.unwrap();
        assert!(
            problem["detail"].as_str().unwrap().contains(why),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_run_is_read_with_its_history_and_not_twice() {
    let stack = Stack::start().await;
    let error = "e".repeat(15_000);
    for n in 1..=300 {
        let more = json!({"progress": {"completed": n, "total": 300}, "errorDetails": error});
        accept(&stack, vec![with(update("job", "r", "running"), more)]).await;
    }
    let token = stack.token(&["--org", "demo"]).await;
    let first = get(&stack, "/api/runs/r", &token, None).await;
    assert_eq!(first.headers()["cache-control"], "no-cache, no-transform");
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    let state: Value = first.json().await.unwrap();
    assert_eq!((&state["runId"], &state["seq"]), (&json!("r"), &json!(300)));
    let same = get(&stack, "/api/runs/r", &token, Some(&etag)).await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(same.headers()["etag"].to_str().unwrap(), etag);
    assert_eq!(same.text().await.unwrap(), "");

    let mut path = "/api/runs/r?history=true".to_owned();
    let mut seqs = Vec::new();
    loop {
        let history: Value = stack.get(&path, None).await.json().await.unwrap();
        let events = history["events"].as_array().unwrap();
        seqs.extend(events.iter().map(|state| state["seq"].as_u64().unwrap()));
        match history["next"].as_u64() {
            Some(next) => path = format!("/api/runs/r?history=true&after={next}"),
            None => break,
        }
    }
    assert_eq!(seqs, (1..=300).collect::<Vec<u64>>());
    accept(&stack, vec![update("job", "r", "passed")]).await;
    let other = get(&stack, "/api/runs/r", &token, Some(&etag)).await;
    assert_eq!(other.status(), StatusCode::OK);
}
