//! The stack's HTTP face: function URLs, the Invoke API, the report, the dashboard.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Path, Request, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json, value::RawValue};
use shared::error::Problem;
use tower_http::compression::CompressionLayer;

use crate::{
    buttons::{self, Buttons},
    dashboard, function_url,
    invocation::{NoAnswer, new_request_id},
    lambda::Lambda,
    report::Report,
    same_origin,
    signer::{Signer, TokenRequest},
};

/// The largest request that Lambda takes, in bytes.
const MAX_REQUEST_BYTES: usize = 6 * 1024 * 1024;

/// What the gateway serves.
pub(crate) struct Gateway {
    pub(crate) lambdas: Vec<Lambda>,
    pub(crate) report: Report,
    pub(crate) signer: Signer,
}

impl Gateway {
    fn lambda(&self, name: &str) -> Option<&Lambda> {
        self.lambdas.iter().find(|lambda| lambda.name() == name)
    }
}

pub(crate) fn router(gateway: Arc<Gateway>, buttons: Arc<Buttons>) -> Router {
    let servers = buttons.servers.clone();
    let local = Router::new()
        .route(
            "/config.json",
            get(dashboard::config).with_state(servers.clone()),
        )
        .route("/_local/report", get(report))
        .route("/_local/token", post(token))
        .route("/_local/scene", post(buttons::scene).with_state(buttons))
        .route(
            "/_local/faults/{server}",
            post(buttons::fault).with_state(servers),
        )
        .route("/2015-03-31/functions/{function}/invocations", post(invoke))
        .layer(middleware::from_fn(same_origin::only));
    Router::new()
        .merge(local)
        .route("/api", any(call_url))
        .route("/api/", any(call_url))
        .route("/api/{*rest}", any(call_url))
        .fallback_service(any(dashboard::serve).layer(CompressionLayer::new()))
        .with_state(gateway)
}

/// A function URL.
async fn call_url(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let path = request.uri().path().split('/').nth(2).unwrap_or_default();
    let mut lambdas = gateway.lambdas.iter();
    let lambda = lambdas.find(|lambda| lambda.paths().contains(&path));
    let Some(lambda) = lambda.cloned() else {
        return no_such_function(&gateway.lambdas);
    };
    let (parts, body) = request.into_parts();
    let body = match read(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let event = function_url::event(&parts, &body, peer);
    let answer = lambda.invoke(event.to_string().into()).await;
    function_url::response(answer).await
}

fn no_such_function(lambdas: &[Lambda]) -> Response {
    let served = lambdas.iter().flat_map(Lambda::paths);
    let served: Vec<_> = served.map(|path| format!("/api/{path}")).collect();
    let detail = format!("There is no such path. Here are {}.", served.join(", "));
    Problem::new(StatusCode::NOT_FOUND, detail).respond(&new_request_id())
}

/// The Invoke API.
///
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
async fn invoke(
    State(gateway): State<Arc<Gateway>>,
    Path(function): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let name = function.rsplit(':').next().unwrap_or_default();
    let Some(lambda) = gateway.lambda(name).cloned() else {
        let message = format!("Function not found: {function}");
        return api_error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message);
    };
    let payload = match read(body).await {
        Ok(payload) if payload.is_empty() => Bytes::from_static(b"{}"),
        Ok(payload) => payload,
        Err(response) => return response,
    };
    // Its form only: half an emoji is no text in Rust, but Lambda passes it on.
    if let Err(error) = serde_json::from_slice::<&RawValue>(&payload) {
        let message = format!("Could not parse request body into json: {error}");
        return api_error(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContentException",
            &message,
        );
    }
    match headers
        .get("x-amz-invocation-type")
        .map(http::HeaderValue::as_bytes)
    {
        Some(b"DryRun") => return StatusCode::NO_CONTENT.into_response(),
        Some(b"Event") => {
            tokio::spawn(async move { lambda.invoke(payload).await });
            return StatusCode::ACCEPTED.into_response();
        }
        _ => {}
    }
    let version = ("x-amz-executed-version", "$LATEST");
    let failed = |payload: Vec<u8>| {
        let headers = [version, ("x-amz-function-error", "Unhandled")];
        (headers, payload).into_response()
    };
    match lambda.invoke(payload).await {
        Ok(answer) => {
            let is_error = answer.is_error;
            match function_url::collect(answer.body).await {
                Ok(body) if is_error => failed(body),
                Ok(body) => ([version], body).into_response(),
                Err(broken) => failed(
                    json!({"errorMessage": broken.to_string()})
                        .to_string()
                        .into(),
                ),
            }
        }
        Err(error @ NoAnswer::Throttled) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            api_error(status, error.error_type(), &error.to_string())
        }
        Err(error) => failed(error.payload().to_string().into()),
    }
}

async fn report(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    let environments = gateway.lambdas.iter();
    let environments: Vec<_> = environments
        .map(|lambda| (lambda.name(), lambda.environments()))
        .collect();
    Json(gateway.report.to_json(&environments))
}

async fn token(State(gateway): State<Arc<Gateway>>, Json(request): Json<TokenRequest>) -> Response {
    match gateway.signer.sign(&request) {
        Ok(token) => Json(json!({"token": token})).into_response(),
        Err(error) => Problem::bad_request(error.to_string()).respond(&new_request_id()),
    }
}

async fn read(body: Body) -> Result<Bytes, Response> {
    to_bytes(body, MAX_REQUEST_BYTES).await.map_err(|_| {
        let message = format!("Request must be smaller than {MAX_REQUEST_BYTES} bytes");
        api_error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestTooLargeException",
            &message,
        )
    })
}

fn api_error(status: StatusCode, error_type: &'static str, message: &str) -> Response {
    let body = Json(json!({"Type": "User", "Message": message, "message": message}));
    (status, [("x-amzn-errortype", error_type)], body).into_response()
}
