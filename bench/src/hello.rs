//! The floor of a cold start: the smallest streaming function on the same runtime.

use lambda_http::{Error, Request, Response, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_http::run_with_streaming_response(service_fn(hello)).await
}

async fn hello(_: Request) -> Result<Response<String>, Error> {
    Ok(Response::new("data: {\"seq\":0}\n\n".to_owned()))
}
