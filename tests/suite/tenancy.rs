//! Nobody sees what is another organization's or project's, wherever it stands and whenever it comes.

use integration::{
    stack::{Stack, update},
    viewer::Viewer,
};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use shared::execution::Kind;

/// What must not be seen.
const SECRET: &str = "theirs-only";

/// An update of an execution that is not this caller's.
fn foreign(kind: &str, id: &str, organization_id: &str, project_id: &str) -> Value {
    let mut update = update(kind, id, "running");
    update["organizationId"] = json!(organization_id);
    update["projectId"] = json!(project_id);
    update[if kind == "job" {
        "errorDetails"
    } else {
        "error"
    }] = json!(SECRET);
    update
}

async fn ask(stack: &Stack, token: &str, path: &str, cursor: Option<&str>) -> Response {
    let mut request = Client::new()
        .get(format!("{}{path}", stack.url))
        .bearer_auth(token);
    if let Some(cursor) = cursor {
        request = request.header("Last-Event-ID", cursor);
    }
    request.send().await.unwrap()
}

/// Every path on which `id` is asked for: alone, and at each place among others.
fn paths(kind: &str, id: &str) -> Vec<(String, usize)> {
    let name = kind.parse::<Kind>().unwrap().id_name();
    let mut paths = vec![(format!("/api/{kind}-status/events/{id}"), 1)];
    for place in 0..3 {
        let mut ids = vec!["own", "unknown"];
        ids.insert(place, id);
        let query: Vec<_> = ids.iter().map(|id| format!("{name}={id}")).collect();
        paths.push((format!("/api/{kind}-status/events?{}", query.join("&")), 3));
    }
    paths
}

#[tokio::test]
async fn what_is_not_yours_is_not_found() {
    let stack = Stack::start().await;
    for kind in ["job", "test"] {
        let updates = [
            update(kind, "own", "running"),
            foreign(kind, "project", "demo", "hidden"),
        ];
        assert_eq!(stack.send(json!(updates)).await["accepted"], 2);
    }
    let token = stack.token(&["--org", "demo", "--projects", "demo"]).await;
    let mut tries = 0;
    for kind in ["job", "test"] {
        let mut asked = vec![(format!("/api/{kind}-status/events?projectId=hidden"), 1)];
        asked.extend(paths(kind, "project"));
        for (path, tracks) in asked {
            let cursor = |seq: &str| vec![seq; tracks].join(",");
            for cursor in [
                None,
                Some(cursor("0")),
                Some(cursor("1")),
                Some(cursor("9")),
                Some("x".to_owned()),
            ] {
                let response = ask(&stack, &token, &path, cursor.as_deref()).await;
                assert_eq!(
                    response.status(),
                    StatusCode::NOT_FOUND,
                    "{path} {cursor:?}"
                );
                let body = response.text().await.unwrap();
                assert!(!body.contains(SECRET) && !body.contains("hidden"), "{body}");
                tries += 1;
            }
        }
    }
    println!("{tries} tries, 404 each");
    // The same name of a project in another organization is another project.
    let other = stack.token(&["--org", "third"]).await;
    let response = ask(
        &stack,
        &other,
        "/api/job-status/events?projectId=demo",
        None,
    )
    .await;
    let mut viewer = Viewer::new(response);
    viewer.event().await;
    stack.publish("job", "later", "running").await;
    stack
        .send(json!([foreign("job", "mine", "third", "demo")]))
        .await;
    assert_eq!(viewer.state().await["runId"], "mine");
}

#[tokio::test]
async fn what_appears_later_and_is_not_yours_ends_the_stream_unseen() {
    let stack = Stack::start().await;
    let token = stack.token(&["--org", "demo", "--projects", "demo"]).await;
    let mut number = 0;
    for kind in ["job", "test"] {
        for shape in 0..4 {
            for cursor in [false, true] {
                number += 1;
                let id = format!("later-{number}");
                let (path, tracks) = paths(kind, &id).remove(shape);
                let cursor = cursor.then(|| vec!["0"; tracks].join(","));
                let response = ask(&stack, &token, &path, cursor.as_deref()).await;
                assert_eq!(response.status(), StatusCode::OK, "{path}");
                let mut viewer = Viewer::new(response);
                viewer.event().await;
                let update = foreign(kind, &id, "demo", "hidden");
                assert_eq!(stack.send(json!([update])).await["accepted"], 1);
                let (_, reason) = viewer.rest().await;
                assert_eq!(reason.as_deref(), Some("closed"), "{path} {cursor:?}");
                assert!(!viewer.text().contains(SECRET), "{}", viewer.text());
            }
        }
    }
}

#[tokio::test]
async fn an_update_of_another_projects_execution_is_refused() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "running").await;
    let mut update = foreign("job", "r", "demo", "hidden");
    update["status"] = json!("failed");
    let answer = stack.send(json!([update])).await;
    assert_eq!(answer["rejected"][0]["index"], 0, "{answer}");
    stack.publish("job", "r", "passed").await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.status().await, ("passed".to_owned(), 2));
}

/// How many updates each of two organizations sends.
const UPDATES: u64 = 1000;

#[tokio::test]
async fn two_organizations_use_the_same_ids_and_neither_learns_of_the_other() {
    // No poll: what a stream reads of the log, it reads because it was told to.
    let stack = Stack::with(&[], &[("FALLBACK_POLL_SECONDS", "900")]).await;
    let organizations = ["demo", "other"];
    let mut viewers = Vec::new();
    for organization in organizations {
        let token = stack.token(&["--org", organization]).await;
        for path in [
            "/api/job-status/events/r",
            "/api/job-status/events?runId=r&runId=q",
            "/api/job-status/events?projectId=demo",
        ] {
            let mut viewer = Viewer::new(ask(&stack, &token, path, None).await);
            viewer.event().await;
            viewers.push((organization, path, viewer));
        }
    }
    // Once they are open, none may read: a stream that tries, says so.
    let postgres = stack.postgres().await;
    let reads = "SELECT ON executions, events, projects FROM runcast_reader";
    postgres
        .batch_execute(&format!("REVOKE {reads}"))
        .await
        .unwrap();
    for batch in 0..UPDATES / 20 {
        for organization in organizations {
            let updates: Vec<Value> = (0..20)
                .map(|number| {
                    let mut update = update("job", "r", "running");
                    update["organizationId"] = json!(organization);
                    update["name"] = json!(organization);
                    update["progress"] = json!({"completed": batch * 20 + number});
                    update
                })
                .collect();
            assert_eq!(stack.send(json!(updates)).await["accepted"], 20);
        }
    }
    for (organization, path, viewer) in &mut viewers {
        let mut seq = 0;
        while seq < UPDATES {
            let state = viewer.state().await;
            if state["seq"] == 0 {
                continue; // what nobody had reported yet
            }
            seq += 1;
            assert_eq!(state["seq"], seq, "{organization} {path}");
            assert_eq!(state["name"], *organization, "{path}: {state}");
        }
    }
    let said = stack.said();
    assert!(
        !said.contains("failed to read the log"),
        "a stream has read it:\n{said}"
    );
    let answer = stack.send(json!([update("job", "r", "passed")])).await;
    assert_eq!(
        answer["accepted"], 1,
        "nor does one's end end the other's: {answer}"
    );
    let theirs = "SELECT count(*) FROM executions WHERE id = 'r' AND status = 'running'";
    assert_eq!(stack.number(theirs).await, 1);
}
