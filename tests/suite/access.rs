//! Who gets in, and what a bad request is told.

use integration::stack::{SHARED_JWKS, SHARED_TOKEN, Stack};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::Value;

async fn ask(stack: &Stack, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = reqwest::Client::new().get(format!("{}{path}", stack.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn assert_problem(response: Response, status: u16, says: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    assert!(
        !response
            .headers()
            .contains_key("x-amzn-remapped-content-length")
    );
    let problem: Value = response.json().await.unwrap();
    let keys: Vec<_> = problem.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["detail", "requestId", "status", "title", "type"]);
    assert_eq!(problem["status"], status);
    assert_eq!(problem["requestId"].as_str().unwrap().len(), 36);
    assert!(
        problem["detail"].as_str().unwrap().contains(says),
        "{problem}"
    );
}

#[tokio::test]
async fn a_token_is_taken_from_four_places() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "passed").await;
    let path = "/api/job-status/events/r";
    let token = stack.token(&["--org", "demo"]).await;
    let bearer = format!("Bearer {token}");
    let cookie = format!("a=b; runcast_token={token}; c=d");
    for headers in [
        &[("Authorization", bearer.as_str())][..],
        &[("X-Auth-Token", token.as_str())],
        &[("Cookie", cookie.as_str())],
        // As CloudFront signs it.
        &[
            ("Authorization", "AWS4-HMAC-SHA256 Credential=x"),
            ("X-Auth-Token", token.as_str()),
        ],
    ] {
        assert_eq!(
            ask(&stack, path, headers).await.status(),
            200,
            "{headers:?}"
        );
    }
    let in_url = format!("{path}?token={token}");
    assert_problem(ask(&stack, &in_url, &[]).await, 401, "at most 300 s").await;
    let short = stack.token(&["--org", "demo", "--ttl", "300"]).await;
    let in_url = format!("{path}?token={short}");
    assert_eq!(ask(&stack, &in_url, &[]).await.status(), 200);
}

#[tokio::test]
async fn without_a_valid_token_nobody_gets_in() {
    let stack = Stack::start().await;
    let path = "/api/test-status/events/t";
    assert_problem(ask(&stack, path, &[]).await, 401, "A token is needed").await;
    let token = stack.token(&["--org", "demo"]).await;
    let (head, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{other}{}", &signature[1..]);
    for bad in ["x", &forged, &"x".repeat(9000)] {
        let response = ask(&stack, path, &[("X-Auth-Token", bad)]).await;
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        assert_problem(response, 401, "not valid").await;
    }
}

#[tokio::test]
async fn a_shared_secret_and_other_keys_work_too() {
    let stack = Stack::with(&[], &[("AUTH_JWKS", SHARED_JWKS)]).await;
    stack.publish("job", "r", "passed").await;
    let path = "/api/job-status/events/r";
    assert_eq!(
        ask(&stack, path, &[("X-Auth-Token", SHARED_TOKEN)])
            .await
            .status(),
        200
    );
    // The stack's own key, EdDSA, still works beside it.
    assert_eq!(stack.get(path, None).await.status(), 200);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_runs_out() {
    let stack = Stack::start().await;
    let token = stack.token(&["--org", "demo", "--ttl", "3"]).await;
    let response = ask(
        &stack,
        "/api/job-status/events/r",
        &[("X-Auth-Token", &token)],
    )
    .await;
    let mut viewer = integration::viewer::Viewer::new(response);
    assert_eq!(viewer.rest().await.1.as_deref(), Some("expired"));
}

#[tokio::test]
async fn a_bad_request_is_told_what_is_wrong() {
    let stack = Stack::start().await;
    let many: Vec<_> = (0..51).map(|n| format!("runId=r{n}")).collect();
    let many = format!("/api/job-status/events?{}", many.join("&"));
    for (path, status, says) in [
        ("/api/job-status/events/a%3Ab", 400, "an id is 1 to 128"),
        ("/api/job-status/events/%FF", 400, "not as UTF-8"),
        ("/api/job-status/ready/%FF", 404, "no such path"),
        (
            "/api/job-status/events",
            400,
            "Say what to watch: 1 to 50 times runId",
        ),
        (
            "/api/test-status/events?jobId=x",
            400,
            "times testId, runId or projectId",
        ),
        (
            "/api/test-status/events?testId=x&projectId=a%3Ab",
            400,
            "an id is",
        ),
        ("/api/job-status/events?runId=", 400, "an id is"),
        (&many, 400, "at most 50"),
        ("/api/job-status/events/%zz", 400, "an id is 1 to 128"),
        ("/api/job-status/events/r1%2F", 400, "an id is 1 to 128"),
        ("/api/job-status/events/", 400, "Say what to watch"),
    ] {
        assert_problem(stack.get(path, None).await, status, says).await;
    }
    for (method, path) in [
        (Method::POST, "/api/job-status/events/r"),
        (Method::DELETE, "/api/job-status/events"),
        (Method::GET, "/api/job-status/streams/s/close"),
    ] {
        let url = format!("{}{path}", stack.url);
        let response = reqwest::Client::new()
            .request(method, url)
            .send()
            .await
            .unwrap();
        assert_problem(response, 405, "does not take").await;
    }
    // A stream is nothing without its body.
    for path in ["job-status/events/r", "queue-stats/events"] {
        let url = format!("{}/api/{path}", stack.url);
        let request = reqwest::Client::new().head(url).bearer_auth(&stack.token);
        assert_eq!(request.send().await.unwrap().status(), 405, "{path}");
    }
}

#[tokio::test]
async fn a_trailing_slash_changes_nothing() {
    let origin = "https://app.example.com";
    let stack = Stack::with(&[], &[("CORS_ALLOWED_ORIGINS", origin)]).await;
    stack.publish("job", "r", "passed").await;
    stack.publish("test", "t", "passed").await;
    for path in [
        "/api/job-status/events/r",
        "/api/test-status/events/t",
        "/api/job-status/events?runId=r",
        "/api/test-status/events?testId=t",
        "/api/job-status/events?projectId=demo",
        "/api/queue-stats/events",
        "/api/job-status/health",
        "/api/queue-stats/ready",
    ] {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        for slashes in ["/", "//"] {
            let path = format!("{path}{slashes}?{query}");
            let answer = ask(
                &stack,
                &path,
                &[("X-Auth-Token", &stack.token), ("Origin", origin)],
            )
            .await;
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.headers()["access-control-allow-origin"], origin);
        }
    }
    let post = |path: &str| {
        let request = reqwest::Client::new().post(format!("{}{path}", stack.url));
        request.send()
    };
    let close = post("/api/job-status/streams/0/close/").await.unwrap();
    assert_eq!(close.status(), 204);
    let refused = post("/api/job-status/events/r/").await.unwrap();
    assert_problem(refused, 405, "does not take").await;
}

#[tokio::test]
async fn a_path_that_is_none_is_told_which_there_are() {
    let stack = Stack::start().await;
    for (path, says) in [
        (
            "/api/job-status/nothing",
            "GET /events/{runId}, GET /events?runId=…&runId=…, GET /events?projectId=…, GET /health",
        ),
        (
            "/api/job-status/events/a/b",
            "Below /api/job-status are GET /events/{runId}",
        ),
        ("/api/job-status", "Below /api/job-status are"),
        ("/api/job-status/", "Below /api/job-status are"),
        ("/api/test-status/event/t", "GET /events/{testId}"),
        (
            "/api/queue-stats/events/imports",
            "are GET /events, GET /health",
        ),
        (
            "/api/nothing/health",
            "/api/test-status, /api/job-status, /api/runs, /api/queue-stats",
        ),
        ("/api/worker/health", "There is no such path"),
        ("/api/", "/api/job-status"),
        ("/api", "/api/job-status"),
    ] {
        let response = ask(&stack, path, &[]).await;
        assert_problem(response, 404, says).await;
    }
    let elsewhere = ask(&stack, "/job-status/events/r", &[]).await;
    assert_eq!(elsewhere.status(), 404);
    let said = elsewhere.text().await.unwrap();
    assert!(said.contains("below /api"), "{said}");
}

#[tokio::test]
async fn browsers_of_allowed_origins_get_in() {
    let origin = "https://app.example.com";
    let stack = Stack::with(&[], &[("CORS_ALLOWED_ORIGINS", origin)]).await;
    let url = format!("{}/api/job-status/events/r", stack.url);
    let preflight = |origin: &str| {
        let request = reqwest::Client::new().request(Method::OPTIONS, &url);
        request
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
            .header(
                "Access-Control-Request-Headers",
                "authorization,last-event-id",
            )
            .send()
    };
    let allowed = preflight(origin).await.unwrap();
    assert_eq!(allowed.status(), StatusCode::OK);
    assert_eq!(allowed.headers()["access-control-allow-origin"], origin);
    assert_eq!(
        allowed.headers()["access-control-allow-credentials"],
        "true"
    );
    let answer = ask(&stack, "/api/job-status/events/r", &[("Origin", origin)]).await;
    let exposed = &answer.headers()["access-control-expose-headers"];
    assert_eq!(exposed, "etag,retry-after");
    let other = preflight("https://evil.example.com").await.unwrap();
    assert!(!other.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn health_and_readiness_say_no_more_than_that() {
    let stack = Stack::start().await;
    assert_eq!(
        ask(&stack, "/api/test-status/health", &[]).await.status(),
        200
    );
    assert_eq!(
        ask(&stack, "/api/job-status/ready", &[]).await.status(),
        200
    );
    let valkey = stack.valkey_pid().await;
    nix::sys::signal::kill(valkey, nix::sys::signal::Signal::SIGKILL).unwrap();
    integration::stack::gone(valkey).await;
    // What was found holds for a second.
    let response = integration::eventually("it is not ready", async || {
        let answer = ask(&stack, "/api/job-status/ready", &[]).await;
        (answer.status() == 503).then_some(answer)
    })
    .await;
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_problem(response, 503, "Redis cannot be reached.").await;
    assert_eq!(
        ask(&stack, "/api/job-status/health", &[]).await.status(),
        200
    );
}

#[tokio::test]
async fn many_headers_are_read_and_too_many_refused() {
    let stack = Stack::start().await;
    stack.publish("job", "r", "passed").await;
    let path = "/api/job-status/events/r";
    let long = "x".repeat(8_000);
    let names: Vec<_> = (0..90).map(|n| format!("x-{n}")).collect();
    for (count, wanted) in [(32, 200), (90, 431)] {
        let long = names[..count]
            .iter()
            .map(|name| (name.as_str(), long.as_str()));
        let headers: Vec<_> = long
            .chain([("X-Auth-Token", stack.token.as_str())])
            .collect();
        assert_eq!(ask(&stack, path, &headers).await.status(), wanted);
    }
    assert_eq!(stack.get(path, None).await.status(), 200);
}
