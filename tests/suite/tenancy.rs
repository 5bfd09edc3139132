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
            foreign(kind, "organization", "other", "demo"),
            foreign(kind, "project", "demo", "hidden"),
            foreign(kind, "both", "other", "hidden"),
        ];
        assert_eq!(stack.send(json!(updates)).await["accepted"], 4);
    }
    let token = stack.token(&["--org", "demo", "--projects", "demo"]).await;
    let mut tries = 0;
    for kind in ["job", "test"] {
        let mut asked = vec![(format!("/api/{kind}-status/events?projectId=hidden"), 1)];
        for id in ["organization", "project", "both"] {
            asked.extend(paths(kind, id));
        }
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
        for (organization_id, project_id) in [("other", "demo"), ("demo", "hidden")] {
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
                    let update = foreign(kind, &id, organization_id, project_id);
                    assert_eq!(stack.send(json!([update])).await["accepted"], 1);
                    let (_, reason) = viewer.rest().await;
                    assert_eq!(reason.as_deref(), Some("closed"), "{path} {cursor:?}");
                    assert!(!viewer.text().contains(SECRET), "{}", viewer.text());
                }
            }
        }
    }
}

#[tokio::test]
async fn an_update_of_anothers_execution_is_refused() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "running").await;
    for (organization_id, project_id) in [("other", "demo"), ("demo", "hidden")] {
        let mut update = foreign("job", "r", organization_id, project_id);
        update["status"] = json!("failed");
        let answer = stack.send(json!([update])).await;
        assert_eq!(answer["rejected"][0]["index"], 0, "{answer}");
    }
    stack.publish("job", "r", "passed").await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.status().await, ("passed".to_owned(), 2));
}
