//! The function as a custom resource: `CloudFormation` asks, and waits until the answer is put at a
//! URL that it gives.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref.html>

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Uri, header::HOST};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{
    cause,
    config::Database,
    log::{LogError, schema},
    tls,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

/// The schema is one thing, however often it is migrated: another id would make `CloudFormation`
/// delete the former.
const PHYSICAL_ID: &str = "runcast-schema";

/// How often the answer is tried: without it a stack waits for its timeout.
const TRIES: u32 = 4;

const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// What `CloudFormation` asks.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Request {
    #[serde(rename = "RequestType")]
    change: RequestType,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    #[serde(rename = "RequestId")]
    id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
    #[serde(default)]
    resource_properties: Properties,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum RequestType {
    Create,
    Update,
    Delete,
}

/// The resource's properties in the template. `CloudFormation` makes strings of all values.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Properties {
    grant_iam_logins: String,
}

/// Why an answer did not arrive. The URL is never repeated: who has it can answer.
#[derive(Debug, Error)]
enum PutError {
    #[error("the URL is not one that can be put to")]
    Url,
    #[error("failed to connect")]
    Connect(#[source] std::io::Error),
    #[error("failed to send")]
    Send(#[from] hyper::Error),
    #[error("the answer was refused with {0}")]
    Refused(http::StatusCode),
    #[error("no answer within {} s", TRY_TIMEOUT.as_secs())]
    TimedOut(#[from] tokio::time::error::Elapsed),
}

impl PutError {
    /// Whether another try may succeed. S3 wants a 5xx to be tried again.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ErrorBestPractices.html>
    fn may_pass(&self) -> bool {
        match self {
            PutError::Connect(_) | PutError::Send(_) | PutError::TimedOut(_) => true,
            PutError::Refused(status) => status.is_server_error(),
            PutError::Url => false,
        }
    }
}

impl Request {
    /// Reads an invocation's payload.
    pub(crate) fn read(payload: Value) -> Result<Self, String> {
        serde_json::from_value(payload)
            .map_err(|error| format!("not a request of CloudFormation ({error})"))
    }
}

/// Does what is asked, and tells `CloudFormation` how it went.
pub(crate) async fn serve(database: &Database, request: &Request) -> Result<Value, String> {
    let result = match request.change {
        RequestType::Create | RequestType::Update => migrate(database, request).await,
        // What is in the log stays.
        RequestType::Delete => Ok(Vec::new()),
    };
    let resource = request.physical_resource_id.as_deref();
    let mut answer = json!({
        "PhysicalResourceId": resource.unwrap_or(PHYSICAL_ID),
        "StackId": request.stack_id,
        "RequestId": request.id,
        "LogicalResourceId": request.logical_resource_id,
    });
    match result {
        Ok(applied) => {
            answer["Status"] = json!("SUCCESS");
            answer["Data"] = json!({"Applied": applied.join(", ")});
        }
        Err(error) => {
            answer["Status"] = json!("FAILED");
            answer["Reason"] = json!(crate::reason(&error));
        }
    }
    put(&request.response_url, answer.to_string().into())
        .await
        .map_err(|error| {
            tracing::error!(error = cause::chain(&error), "CloudFormation does not know");
            "the answer did not reach CloudFormation; see the function's log".to_owned()
        })?;
    Ok(answer)
}

async fn migrate(database: &Database, request: &Request) -> Result<Vec<String>, LogError> {
    let applied = schema::migrate(database).await?;
    if request.resource_properties.grant_iam_logins == "true" {
        schema::grant_iam_logins(database).await?;
    }
    Ok(applied)
}

async fn put(url: &str, body: Bytes) -> Result<(), PutError> {
    let uri: Uri = url.parse().map_err(|_| PutError::Url)?;
    let mut tries = 1;
    loop {
        let result = match timeout(TRY_TIMEOUT, put_once(&uri, body.clone())).await {
            Ok(result) => result,
            Err(elapsed) => Err(elapsed.into()),
        };
        match result {
            Err(error) if error.may_pass() && tries < TRIES => {
                sleep(Duration::from_millis(250) * 2_u32.pow(tries)).await;
                tries += 1;
            }
            result => return result,
        }
    }
}

async fn put_once(uri: &Uri, body: Bytes) -> Result<(), PutError> {
    let authority = uri.authority().ok_or(PutError::Url)?;
    let is_tls = uri.scheme_str() == Some("https");
    let port = authority
        .port_u16()
        .unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((authority.host(), port)).await;
    let stream = stream.map_err(PutError::Connect)?;
    if !is_tls {
        return put_through(stream, uri, body).await;
    }
    let name = ServerName::try_from(authority.host().to_owned()).map_err(|_| PutError::Url)?;
    let stream = TlsConnector::from(Arc::new(tls::client(None))).connect(name, stream);
    put_through(stream.await.map_err(PutError::Connect)?, uri, body).await
}

async fn put_through<S>(stream: S, uri: &Uri, body: Bytes) -> Result<(), PutError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    // Without a Content-Type: the presigned URL is for a request that has none.
    let request = hyper::Request::put(target)
        .header(HOST, host)
        .body(Full::new(body))
        .map_err(|_| PutError::Url)?;
    let response = sender.send_request(request).await?;
    if response.status().is_success() {
        Ok(())
    } else {
        Err(PutError::Refused(response.status()))
    }
}
