//! What every function's `main` does: logs, a runtime, one line where it cannot start, and requests as
//! Lambda brings them.

use std::{net::IpAddr, process::ExitCode};

use axum::{Router, response::Response};
use http::{Extensions, HeaderMap, Request, header};
use lambda_http::{RequestExt, request::RequestContext};
use lambda_runtime::Diagnostic;
use shared::{
    config::Env,
    http::Context,
    telemetry::{self, traces},
};
use tower::ServiceBuilder;

/// Why a function cannot start, or ended.
pub use lambda_runtime::Error;

/// Runs a function until Lambda ends it.
///
/// A function that cannot start says why in one line on stderr.
pub fn run<F>(function: impl FnOnce(Env) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Error>>,
{
    let env = Env::of_process();
    telemetry::init(&env);
    // One thread: it serves one stream as well as the 1,600 that Managed Instances may bring.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let result = match runtime.enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                ended = function(env) => ended,
                never = traces::send() => match never {},
            }
        }),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves requests as the Lambda runtime brings them.
///
/// # Errors
/// Where the Lambda runtime fails.
pub async fn serve(router: Router) -> Result<(), Error> {
    let service = ServiceBuilder::new()
        .map_request(|mut request: Request<lambda_http::Body>| {
            let context = context(request.extensions(), request.headers());
            request.extensions_mut().insert(context);
            request
        })
        // The answer is streamed: a length that axum knows would only be renamed on the way.
        .map_response(|mut response: Response| {
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response
        })
        .service(router);
    lambda_http::run_with_streaming_response_concurrent(service).await
}

/// What an invocation that fails is answered with. Without it, the answer would name a type of Rust's.
#[must_use]
pub fn failure(message: String) -> Diagnostic {
    Diagnostic {
        error_type: "Failure".to_owned(),
        error_message: message,
    }
}

/// What Lambda says of a request.
#[must_use]
pub fn context(extensions: &Extensions, headers: &HeaderMap) -> Context {
    let lambda = extensions.lambda_context_ref();
    Context {
        request_id: lambda.map(|lambda| lambda.request_id.clone()),
        deadline: lambda.map(lambda_http::Context::deadline),
        source: source(extensions, headers),
    }
}

/// From where a request came. Only a request that `CloudFront` signed (origin access control) is
/// believed what it says of its viewer: anyone can send such a header.
fn source(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let context = extensions.request_context_ref()?;
    let signed = context.authorizer().is_some_and(|by| by.iam.is_some());
    let viewer = || {
        let viewer = headers.get("x-viewer-address")?;
        viewer.to_str().ok()?.parse().ok()
    };
    let direct = match context {
        RequestContext::ApiGatewayV2(context) => &context.http.source_ip,
        RequestContext::ApiGatewayV1(context) => &context.identity.source_ip,
        _ => return None,
    };
    let viewer = signed.then(viewer).flatten();
    viewer.or_else(|| direct.as_ref()?.parse().ok())
}
