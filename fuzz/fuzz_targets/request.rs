//! Whatever a client sends, the answer is one of the contract's and tells nothing of what is
//! inside; and who holds no token that we signed gets no further than 401.
//!
//! An input is a request as it stands on the wire. Redis and Postgres are away.

#![no_main]

use std::sync::LazyLock;

use axum::{Router, body::Body};
use bytes::Bytes;
use fuzz::{
    request,
    token::{AUDIENCE, ISSUER, JWKS, TOKENS},
};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use lambda_http::{Context, RequestExt};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::{
    config::Env,
    execution::Kind,
    http::{Edge, status},
};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// An origin that may call.
const ORIGIN: &str = "https://app.example.com";

/// What must never be seen outside.
const INTERNALS: [&str; 9] = [
    "pass-word",
    "postgres://",
    "redis://",
    "127.0.0.1",
    "SELECT",
    "src/",
    "panicked",
    "refused",
    "os error",
];

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::start);

struct Functions {
    runtime: Runtime,
    job_status: Router,
    test_status: Router,
    /// What Lambda adds to a request.
    extensions: http::Extensions,
}

fuzz_target!(|data: &[u8]| {
    let Some(request) = request::read(data) else {
        return;
    };
    let (status, headers, body) = FUNCTIONS.call(&request);
    let allowed = [200, 204, 400, 401, 404, 405, 503];
    assert!(allowed.contains(&status.as_u16()), "{status}");
    check_headers(&request, &headers);
    let is_problem = status.is_client_error() || status.is_server_error();
    // What HEAD asks for has no body.
    if is_problem && request.method() != Method::HEAD {
        check_problem(status, &headers, &body);
    }
    let body = std::str::from_utf8(&body).unwrap();
    for internal in INTERNALS {
        // A caller's own words may come back.
        let told = body.contains(internal) && !request.method().as_str().contains(internal);
        assert!(!told, "{internal}: {body}");
    }
    let content_type = headers.get(header::CONTENT_TYPE);
    let streams = content_type.is_some_and(|content_type| content_type == "text/event-stream");
    let behind_the_door = streams || status == StatusCode::SERVICE_UNAVAILABLE;
    if behind_the_door && !request.uri().path().ends_with("/ready") {
        assert!(holds_token(&request), "let in without a token: {request:?}");
    }
});

impl Functions {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let env: Env = [
            // Nobody listens on port 1.
            ("REDIS_URL", "redis://:pass-word@127.0.0.1:1"),
            ("DATABASE_URL", "postgres://u:pass-word@127.0.0.1:1/d"),
            ("AUTH_JWKS", JWKS),
            ("AUTH_ISSUER", ISSUER),
            ("AUTH_AUDIENCE", AUDIENCE),
            ("CORS_ALLOWED_ORIGINS", ORIGIN),
        ]
        .into_iter()
        .map(|(variable, value)| (variable.to_owned(), value.to_owned()))
        .collect();
        let (job_status, test_status) = runtime.block_on(async {
            let (edge, log) = (Edge::from_env(&env).unwrap(), status::log(&env, 1).unwrap());
            let router = |kind| status::router(kind, &edge, &log);
            (router(Kind::Job), router(Kind::Test))
        });
        let event = include_str!("../../infra/events/job-status.json");
        let request = lambda_http::request::from_str(event).unwrap();
        let request = request.with_lambda_context(Context::default());
        Functions {
            runtime,
            job_status,
            test_status,
            extensions: request.into_parts().0.extensions,
        }
    }

    fn call(&self, request: &Request<Bytes>) -> (StatusCode, HeaderMap, Bytes) {
        let router = if request.uri().path().starts_with("/api/test-status/") {
            &self.test_status
        } else {
            &self.job_status
        };
        let mut request = request.clone().map(Body::from);
        let context = lambda::context(&self.extensions, request.headers());
        request.extensions_mut().insert(context);
        self.runtime.block_on(async {
            let response = router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (parts.status, parts.headers, body)
        })
    }
}

fn check_headers(request: &Request<Bytes>, headers: &HeaderMap) {
    assert_eq!(headers[header::CACHE_CONTROL], "no-cache, no-transform");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(
        headers[header::CONTENT_SECURITY_POLICY],
        "default-src 'none'"
    );
    assert!(!headers.contains_key(header::CONNECTION));
    for (name, value) in headers {
        let text = value.to_str();
        let text = text.unwrap_or_else(|_| panic!("{name}: {value:?}"));
        assert!(!INTERNALS.iter().any(|internal| text.contains(internal)));
    }
    if let Some(origin) = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        assert_eq!(origin, ORIGIN);
        assert_eq!(request.headers().get(header::ORIGIN), Some(origin));
    }
}

fn check_problem(status: StatusCode, headers: &HeaderMap, body: &[u8]) {
    assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = serde_json::from_slice(body).unwrap();
    let problem = problem.as_object().unwrap();
    let names: Vec<_> = problem.keys().map(String::as_str).collect();
    assert_eq!(names, ["detail", "requestId", "status", "title", "type"]);
    assert_eq!(problem["status"], status.as_u16());
    let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(headers.contains_key(header::RETRY_AFTER), unavailable);
    let detail = problem["detail"].as_str().unwrap();
    assert!(!detail.contains(char::is_control), "{detail:?}");
}

/// Whether one of our tokens stands anywhere in it.
fn holds_token(request: &Request<Bytes>) -> bool {
    let in_query = || {
        let query = request.uri().query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).any(|(_, value)| TOKENS.contains(&&*value))
    };
    let in_header = |value: &http::HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes());
        TOKENS.iter().any(|token| text.contains(token))
    };
    request.headers().values().any(in_header) || in_query()
}
