//! `POST /api/updates`: what producers send over HTTP.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use integration::{
    PATIENCE, eventually, memory,
    secrets::assert_discreet,
    stack::{NO_POLL, Stack, signal, update},
    viewer::Viewer,
};
use nix::sys::signal::Signal;
use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::{Value, json};

/// The largest body that is taken, in bytes.
const MAX_BYTES: usize = 5 * 1024 * 1024;

/// An update that leaves its organization to the token.
fn own(kind: &str, id: &str, status: &str) -> Value {
    let mut update = update(kind, id, status);
    update.as_object_mut().unwrap().remove("organizationId");
    update
}

/// Asserts a problem of this status that tells nothing of the inside; returns its detail.
async fn problem(response: Response, status: StatusCode) -> String {
    let headers = response.headers().clone();
    assert_eq!(response.status(), status);
    assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
    let comes_back = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    let retry_after = headers.get(header::RETRY_AFTER);
    assert_eq!(retry_after.is_some(), comes_back.contains(&status));
    assert_headers(&response);
    let text = response.text().await.unwrap();
    assert_discreet(&text);
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["requestId"].as_str().unwrap().len() > 8, "{text}");
    problem["detail"].as_str().unwrap().to_owned()
}

fn assert_headers(response: &Response) {
    let headers = response.headers();
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(headers[header::CACHE_CONTROL], "no-cache, no-transform");
    assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

async fn answer(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_headers(&response);
    response.json().await.unwrap()
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A body of exactly so many bytes, with one update.
fn body_of(bytes: usize, id: &str) -> String {
    let body = json!({"updates": [own("job", id, "running")]}).to_string();
    let padding = " ".repeat(bytes - body.len());
    body.replacen('{', &format!("{{{padding}"), 1)
}

#[tokio::test]
async fn an_answer_says_what_became_of_each_update_in_the_order_given() {
    let stack = Stack::start().await;
    let running = own("job", "r", "ACTIVE");
    let mut odd = own("job", "r", "running");
    odd["durationMs"] = json!("5s");
    let updates = json!([
        running,
        running,
        own("job", "r", "flying"),
        odd,
        own("test", "t", "skip"),
        7,
        own("job", "r", "done"),
        own("job", "r", "running"),
    ]);
    let answer = answer(stack.post(&updates).await).await;
    assert_eq!(answer["accepted"], 4, "{answer}");
    assert_eq!(answer["duplicates"], 1);
    let rejected = answer["rejected"].as_array().unwrap();
    let indexes: Vec<_> = rejected.iter().map(|one| one["index"].as_u64()).collect();
    assert_eq!(indexes, [Some(2), Some(5), Some(7)]);
    assert_eq!(rejected[0]["eventId"], updates[2]["eventId"]);
    let reason = rejected[0]["reason"].as_str().unwrap();
    assert!(reason.contains("is not a status"), "{reason}");
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{answer}");
    assert_eq!(
        (&warnings[0]["index"], &warnings[0]["field"]),
        (&json!(3), &json!("durationMs"))
    );
    let kept = "SELECT count(*) FROM rejected_updates";
    assert_eq!(stack.number(kept).await, 3);

    let mut viewer = stack.resume("/api/job-status/events/r", Some("0")).await;
    assert_eq!(viewer.rest().await.0, [1, 2, 3]);
    let mut viewer = stack.watch("/api/test-status/events/t").await;
    assert_eq!(viewer.status().await, ("skipped".to_owned(), 1));
}

#[tokio::test]
async fn what_is_sent_is_seen_at_once() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.status().await, ("waiting".to_owned(), 0));
    for (seq, status) in [(1, "running"), (2, "running"), (3, "passed")] {
        answer(stack.post(&json!([own("job", "r", status)])).await).await;
        assert_eq!(viewer.status().await, (status.to_owned(), seq));
    }
    assert_eq!(viewer.rest().await.1.unwrap(), "complete");
}

#[tokio::test]
async fn what_is_no_batch_is_refused_as_a_whole() {
    let stack = Stack::start().await;
    let send = async |body: Vec<u8>, encoding: Option<&str>| {
        let mut request = stack.post_request(&stack.write_token).body(body);
        if let Some(encoding) = encoding {
            request = request.header(header::CONTENT_ENCODING, encoding);
        }
        request.send().await.unwrap()
    };
    let many = |count| {
        let updates = vec![own("job", "r", "running"); count];
        json!({"updates": updates}).to_string().into_bytes()
    };
    let cut = packed(&many(1));
    for (body, encoding, says) in [
        (b"".to_vec(), None, "send {\"updates\":[…]}"),
        (b"null".to_vec(), None, "not an object"),
        (b"[]".to_vec(), None, "not an object"),
        (b"{".to_vec(), None, "not JSON"),
        (b"{}".to_vec(), None, "not a batch of updates"),
        (b"{\"updates\":{}}".to_vec(), None, "updates is no list"),
        (b"{\"Records\":[]}".to_vec(), None, "not a batch of updates"),
        (b"{\"sweep\":true}".to_vec(), None, "not a batch of updates"),
        (
            b"{\"updates\":[]}".to_vec(),
            None,
            "1 to 1000 updates; this one has 0",
        ),
        (many(1001), None, "1 to 1000 updates; this one has 1001"),
        (b"{\"updates\":[\"\xff\"]}".to_vec(), None, "not UTF-8"),
        (many(1), Some("gzip"), "no gzip"),
        (cut[..cut.len() - 1].to_vec(), Some("gzip"), "no gzip"),
        (packed(b"{"), Some("gzip"), "not JSON"),
    ] {
        let response = send(body, encoding).await;
        let detail = problem(response, StatusCode::BAD_REQUEST).await;
        assert!(detail.contains(says), "{detail}");
    }
    assert_eq!(stack.number("SELECT count(*) FROM events").await, 0);
    let most = answer(send(many(1000), None).await).await;
    assert_eq!(
        (&most["accepted"], &most["duplicates"]),
        (&json!(1), &json!(999))
    );
}

#[tokio::test]
async fn only_json_comes_in_plain_or_by_gzip() {
    let stack = Stack::start().await;
    let client = Client::new();
    let body = json!({"updates": [own("job", "r", "running")]}).to_string();
    let send = async |content_type: Option<&str>, encoding: Option<&str>, body: Vec<u8>| {
        let mut request = client
            .post(format!("{}/api/updates", stack.url))
            .header("X-Auth-Token", &stack.write_token)
            .body(body);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        if let Some(encoding) = encoding {
            request = request.header(header::CONTENT_ENCODING, encoding);
        }
        request.send().await.unwrap()
    };
    let json = Some("application/json");
    for (content_type, encoding) in [
        (None, None),
        (Some("text/plain"), None),
        (Some("application/x-www-form-urlencoded"), None),
        (json, Some("br")),
        (json, Some("deflate")),
        (json, Some("gzip, gzip")),
    ] {
        let response = send(content_type, encoding, body.clone().into()).await;
        assert_eq!(response.headers()[header::ACCEPT_ENCODING], "gzip");
        problem(response, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    }
    for (content_type, encoding, body) in [
        (json, None, body.clone().into_bytes()),
        (
            Some("application/json; charset=utf-8"),
            Some("identity"),
            body.clone().into(),
        ),
        (json, Some("gzip"), packed(body.as_bytes())),
        (json, Some("x-gzip"), packed(body.as_bytes())),
    ] {
        answer(send(content_type, encoding, body).await).await;
    }
}

#[tokio::test]
async fn five_megabytes_are_taken_to_the_byte_plain_and_packed() {
    let stack = Stack::start().await;
    let send = async |body: Vec<u8>, encoding: &str| {
        let request = stack.post_request(&stack.write_token).body(body);
        let request = request.header(header::CONTENT_ENCODING, encoding);
        request.send().await.unwrap()
    };
    answer(send(body_of(MAX_BYTES, "a").into(), "identity").await).await;
    let more = body_of(MAX_BYTES + 1, "b");
    problem(
        send(more.clone().into(), "identity").await,
        StatusCode::PAYLOAD_TOO_LARGE,
    )
    .await;
    answer(send(packed(body_of(MAX_BYTES, "c").as_bytes()), "gzip").await).await;
    problem(
        send(packed(more.as_bytes()), "gzip").await,
        StatusCode::PAYLOAD_TOO_LARGE,
    )
    .await;
    assert_eq!(stack.number("SELECT count(*) FROM events").await, 2);
}

#[tokio::test]
async fn a_bomb_is_unpacked_no_further_than_is_taken() {
    let stack = Stack::start().await;
    answer(stack.post(&json!([own("job", "r", "running")])).await).await;
    let pid = stack.pids("ingest").await[0];
    let before = memory::resident(pid);
    // 64 MB in 300 KB; and a gigabyte in 5 MB, part after part.
    let one = packed(&vec![b' '; 64 << 20]);
    let many = packed(&vec![b' '; 1 << 20]).repeat(1000);
    assert!(many.len() < MAX_BYTES, "{}", many.len());
    for bomb in [&one, &many, &many] {
        let request = stack.post_request(&stack.write_token).body(bomb.clone());
        let request = request.header(header::CONTENT_ENCODING, "gzip");
        let response = request.send().await.unwrap();
        problem(response, StatusCode::PAYLOAD_TOO_LARGE).await;
    }
    assert_eq!(stack.pids("ingest").await, [pid]);
    let peak = memory::peak(pid);
    println!("{before} KB before, {peak} KB at most");
    assert!(peak < before + 60_000, "{peak}");
}

#[tokio::test]
async fn who_may_not_send_is_told_so() {
    let stack = Stack::start().await;
    let body = json!({"updates": [own("job", "r", "running")]}).to_string();
    let url = format!("{}/api/updates", stack.url);
    let send = async |address: &str, name: &str, value: &str| {
        let request = Client::new().post(address).body(body.clone());
        let request = request.header(header::CONTENT_TYPE, "application/json");
        request.header(name, value).send().await.unwrap()
    };
    let token = &stack.write_token;
    let in_url = format!("{url}?token={token}");
    for (address, name, value, says) in [
        (&url, "X-Nothing", String::new(), "A token is needed"),
        (&url, "X-Auth-Token", "garbage".to_owned(), "not valid here"),
        (
            &url,
            "X-Auth-Token",
            stack.token.clone(),
            "lacks status:write",
        ),
        (
            &url,
            "Cookie",
            format!("runcast_token={token}"),
            "A token is needed",
        ),
        (&in_url, "X-Nothing", String::new(), "A token is needed"),
    ] {
        let response = send(address, name, &value).await;
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        let detail = problem(response, StatusCode::UNAUTHORIZED).await;
        assert!(detail.contains(says), "{detail}");
    }
    // Who may only send, sees nothing.
    let watch = Client::new().get(format!("{}/api/job-status/events/r", stack.url));
    let watch = watch.bearer_auth(token).send().await.unwrap();
    assert_eq!(watch.status(), StatusCode::UNAUTHORIZED);
    let both = ["--org", "demo", "--scope", "status:read,status:write"];
    let both = stack.token(&both).await;
    for token in [token, &both] {
        answer(send(&url, "X-Auth-Token", token).await).await;
        answer(send(&url, "Authorization", &format!("bearer {token}")).await).await;
    }
    assert_eq!(stack.number("SELECT count(*) FROM events").await, 1);
}

#[tokio::test]
async fn there_is_one_path_and_one_method() {
    let stack = Stack::start().await;
    let client = Client::new();
    for (method, path, status) in [
        (Method::GET, "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::PUT, "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::OPTIONS, "", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/ready", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/r", StatusCode::NOT_FOUND),
    ] {
        let url = format!("{}/api/updates{path}", stack.url);
        let request = client.request(method, url).bearer_auth(&stack.write_token);
        let request = request.header(header::ORIGIN, "https://app.example.com");
        let response = request.send().await.unwrap();
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = response.headers()[header::ALLOW].to_str().unwrap();
            assert_eq!(allowed.contains("POST"), path.is_empty(), "{allowed}");
        }
        problem(response, status).await;
    }
    for (path, says) in [("health", "ok"), ("ready", "ready")] {
        let url = format!("{}/api/updates/{path}", stack.url);
        let said = answer(client.get(url).send().await.unwrap()).await;
        assert_eq!(said, json!({"status": says}));
    }
}

#[tokio::test]
async fn a_token_sends_for_its_own_organization_and_projects_alone() {
    let stack = Stack::start().await;
    let options = [
        "--org",
        "acme",
        "--projects",
        "web",
        "--scope",
        "status:write",
    ];
    let one = stack.token(&options).await;
    let options = [
        "--org",
        "acme",
        "--projects",
        "web,api",
        "--scope",
        "status:write",
    ];
    let two = stack.token(&options).await;
    let update = |organization_id: Option<&str>, project_id: Option<&str>| {
        let mut update = own("job", "r", "running");
        update["projectId"] = json!(project_id);
        if let Some(organization_id) = organization_id {
            update["organizationId"] = json!(organization_id);
        }
        update
    };
    let updates = json!({"updates": [
        update(None, Some("web")),
        update(Some("acme"), Some("web")),
        update(Some("demo"), Some("web")),
        update(None, Some("api")),
        update(Some("a b"), Some("web")),
        update(None, None),
    ]})
    .to_string();
    let send = async |token: &str| {
        let request = stack.post_request(token).body(updates.clone());
        answer(request.send().await.unwrap()).await
    };
    let reasons = |answer: &Value| -> Vec<(u64, String)> {
        let rejected = answer["rejected"].as_array().unwrap();
        let reason = |one: &Value| {
            let reason = one["reason"].as_str().unwrap().to_owned();
            (one["index"].as_u64().unwrap(), reason)
        };
        rejected.iter().map(reason).collect()
    };
    let answer = send(&one).await;
    // The one project need not be named.
    assert_eq!(answer["accepted"], 3, "{answer}");
    let rejected = reasons(&answer);
    let says = [
        (
            2,
            "organizationId: demo is not the organization of your token",
        ),
        (3, "projectId: api is not among the projects of your token"),
        (4, "organizationId: \"a b\" is not an id"),
    ];
    for ((index, reason), (expected, says)) in rejected.iter().zip(says) {
        assert_eq!(*index, expected);
        assert!(reason.starts_with(says), "{reason}");
    }
    let answer = send(&two).await;
    let rejected = reasons(&answer);
    // The run is of the other project; two projects leave it open which is meant.
    assert!(rejected[1].1.contains("another"), "{answer}");
    assert!(rejected[3].1.starts_with("projectId"), "{answer}");

    let theirs = "SELECT count(*) FROM executions WHERE organization_id <> 'acme'";
    assert_eq!(stack.number(theirs).await, 0);
    // It has the same id as another organization's, and neither knows.
    assert_eq!(
        stack
            .post(&json!([own("job", "r", "passed")]))
            .await
            .status(),
        StatusCode::OK
    );
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.rest().await.0, [1]);
}

#[tokio::test]
async fn sixty_bad_tokens_are_enough() {
    let stack = Stack::with(&[], &[("CONNECTS_PER_MINUTE", "59")]).await;
    let updates = json!({"updates": [own("job", "r", "running")]}).to_string();
    let send = async |token: &str| {
        let request = stack.post_request(token).body(updates.clone());
        request.send().await.unwrap()
    };
    let mut refused = 0;
    for number in 0..60 {
        let response = send(&format!("garbage-{number}")).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            problem(response, StatusCode::TOO_MANY_REQUESTS).await;
            break;
        }
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        refused += 1;
    }
    assert!((59..=60).contains(&refused), "{refused}");
    // Who has one is not kept out.
    answer(send(&stack.write_token).await).await;
}

#[tokio::test]
async fn updates_are_counted_one_by_one() {
    let stack = Stack::with(&[], &[("UPDATES_PER_MINUTE", "60")]).await;
    let batch = |count: usize| {
        let updates: Vec<_> = (0..count).map(|_| own("job", "r", "running")).collect();
        json!(updates)
    };
    assert_eq!(stack.post(&batch(40)).await.status(), StatusCode::OK);
    let response = stack.post(&batch(40)).await;
    let seconds = response.headers()[header::RETRY_AFTER].to_str().unwrap();
    let seconds: u64 = seconds.parse().unwrap();
    assert!((15..=20).contains(&seconds), "{seconds}");
    let detail = problem(response, StatusCode::TOO_MANY_REQUESTS).await;
    assert!(detail.starts_with("Too many updates"), "{detail}");
    assert_eq!(stack.post(&batch(20)).await.status(), StatusCode::OK);
    assert_eq!(stack.number("SELECT count(*) FROM events").await, 60);
    // Another subject's are its own.
    let options = [
        "--org",
        "other",
        "--projects",
        "p",
        "--scope",
        "status:write",
    ];
    let other = stack.token(&options).await;
    let mut updates = batch(200);
    for update in updates.as_array_mut().unwrap() {
        update["projectId"] = json!("p");
    }
    let send = async || {
        let body = json!({"updates": updates}).to_string();
        let request = stack.post_request(&other).body(body);
        request.send().await.unwrap().status()
    };
    // More than a minute's at once: let in where nothing is owed, and then for a while not again.
    assert_eq!(send().await, StatusCode::OK);
    assert_eq!(send().await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn what_cannot_be_committed_now_is_sent_again_as_it_is() {
    let stack = Stack::start().await;
    stack.worker_may_commit(false).await;
    let updates = json!([own("job", "r", "running"), own("job", "r", "passed")]);
    problem(stack.post(&updates).await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(stack.number("SELECT count(*) FROM events").await, 0);
    stack.worker_may_commit(true).await;
    let answer = answer(stack.post(&updates).await).await;
    assert_eq!(answer["accepted"], 2);
}

#[tokio::test]
async fn what_stands_in_the_way_holds_up_no_other_execution() {
    let stack = Stack::start().await;
    let postgres = stack.postgres().await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                      AS $$ BEGIN RAISE 'no'; END $$;
                  CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW
                      WHEN (NEW.id = 'bad') EXECUTE FUNCTION refuse()";
    postgres.batch_execute(refuse).await.unwrap();
    let updates = json!([
        own("job", "good", "running"),
        own("job", "bad", "running"),
        own("job", "bad", "passed"),
        own("job", "good", "passed"),
    ]);
    problem(stack.post(&updates).await, StatusCode::SERVICE_UNAVAILABLE).await;
    let mut viewer = stack.resume("/api/job-status/events/good", Some("0")).await;
    assert_eq!(viewer.rest().await.0, [1, 2]);
    let mend = "DROP TRIGGER refuse ON events";
    postgres.batch_execute(mend).await.unwrap();
    let answer = answer(stack.post(&updates).await).await;
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"]),
        (&json!(2), &json!(2))
    );
    let mut viewer = stack.resume("/api/job-status/events/bad", Some("0")).await;
    assert_eq!(viewer.rest().await.0, [1, 2]);
}

#[tokio::test]
async fn killed_between_commit_and_answer_and_sent_again_it_is_there_once() {
    let stack = Stack::with(&[], &[NO_POLL]).await;
    answer(stack.post(&json!([own("job", "warm", "running")])).await).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    let valkey = stack.valkey_pid().await;
    let updates: Vec<_> = (0..9).map(|_| own("job", "r", "running")).collect();
    let updates = json!([updates, vec![own("job", "r", "passed")]].concat());
    // Redis answers nobody: after the commit, the publish hangs.
    signal(valkey, Signal::SIGSTOP);
    let kill = async {
        eventually("it is committed", async || {
            let committed = "SELECT count(*) FROM events WHERE id = 'r'";
            (stack.number(committed).await == 10).then_some(())
        })
        .await;
        signal(stack.pids("ingest").await[0], Signal::SIGKILL);
    };
    let (response, ()) = tokio::join!(stack.post(&updates), kill);
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    signal(valkey, Signal::SIGCONT);
    let answer = answer(stack.post(&updates).await).await;
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"]),
        (&json!(0), &json!(10))
    );
    // Sent again, it is told again: the viewer need not wait for a poll.
    let (seqs, reason) = viewer.rest().await;
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    assert_eq!(reason.unwrap(), "complete");
}

#[tokio::test]
async fn without_redis_what_is_sent_is_committed() {
    let stack = Stack::start().await;
    signal(stack.valkey_pid().await, Signal::SIGKILL);
    let answer = answer(stack.post(&json!([own("job", "r", "passed")])).await).await;
    assert_eq!(answer["accepted"], 1);
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    assert_eq!(viewer.rest().await.0, [1]);
    let ready = reqwest::get(format!("{}/api/updates/ready", stack.url)).await;
    let detail = problem(ready.unwrap(), StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(detail, "Redis cannot be reached.");
}

#[tokio::test]
async fn a_flood_of_updates_leaves_the_streams_working() {
    let stack = Stack::with(&[], &[("UPDATES_PER_MINUTE", "20000")]).await;
    let mut viewer = stack.watch("/api/job-status/events/r").await;
    viewer.state().await;
    let calm = deliveries(&stack, &mut viewer, 1).await;
    let flood = async |organization: &str| {
        let options = ["--org", organization, "--scope", "status:write"];
        let token = stack.token(&options).await;
        let (mut taken, mut limited) = (0, 0);
        for batch in 0..60 {
            let updates: Vec<_> = (0..1000)
                .map(|number| own("test", &format!("t-{batch}-{number}"), "passed"))
                .collect();
            let body = json!({"updates": updates}).to_string();
            let response = stack.post_request(&token).body(body).send().await.unwrap();
            match response.status() {
                StatusCode::OK => taken += 1,
                StatusCode::TOO_MANY_REQUESTS => limited += 1,
                other => panic!("{other}"),
            }
        }
        (taken, limited)
    };
    let mut flooded = Vec::new();
    let mut floods = Box::pin(async { tokio::join!(flood("one"), flood("two")) });
    let (one, two) = loop {
        let next = 21 + flooded.len() as u64;
        tokio::select! {
            floods = &mut floods => break floods,
            latency = deliver(&stack, &mut viewer, next) => flooded.push(latency),
        }
    };
    flooded.sort();
    let (calm, flooded) = (calm[calm.len() / 2], flooded[flooded.len() / 2]);
    println!(
        "median delivery: calm {calm:?}, flooded {flooded:?}; {one:?}, {two:?} taken and limited"
    );
    for (taken, limited) in [one, two] {
        // 20 batches at once, and one more every three seconds.
        assert!(taken >= 20 && limited >= 1, "{taken}, {limited}");
    }
    // Twice as long, but for what a machine of two cores adds.
    assert!(flooded <= (calm * 2).max(Duration::from_millis(250)));
}

/// Sends twenty updates; returns the time of each from being sent to the viewer's frame, in order.
async fn deliveries(stack: &Stack, viewer: &mut Viewer, from: u64) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for seq in from..from + 20 {
        latencies.push(deliver(stack, viewer, seq).await);
    }
    latencies.sort();
    latencies
}

/// The time from sending an update through the worker to the viewer's frame.
async fn deliver(stack: &Stack, viewer: &mut Viewer, seq: u64) -> Duration {
    let sent = tokio::time::Instant::now();
    let arrived = async {
        assert_eq!(viewer.status().await, ("running".to_owned(), seq));
        sent.elapsed()
    };
    let publish = stack.publish("job", "r", "running");
    let both = async { tokio::join!(arrived, publish).0 };
    tokio::time::timeout(PATIENCE, both).await.unwrap()
}
