//! The credentials of the function's role.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use aws_credential_types::Credentials as Keys;
use chrono::DateTime;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    client::{self, ConnectError},
    config::Secret,
};

/// How long whoever hands out credentials, on this machine, may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How large an answer may be.
const MAX_ANSWER: usize = 64 * 1024;

/// Where the role's credentials come from.
#[derive(Clone)]
pub enum Credentials {
    /// The environment: Lambda replaces an execution environment before they end.
    Fixed(Secret<Keys>),
    /// An HTTP endpoint on this machine, for what lives longer than credentials do (Managed
    /// Instances, ECS, EKS):
    /// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.
    Served {
        /// Where they are.
        uri: Uri,
        /// What has to be sent for them.
        authorization: Option<Authorization>,
    },
}

/// What whoever hands out credentials asks for.
#[derive(Clone)]
pub enum Authorization {
    /// The header's value.
    Token(Secret<HeaderValue>),
    /// The file that holds it: EKS writes it anew before it ends.
    File(PathBuf),
}

impl Authorization {
    /// `token` as a header's value; `None` where it cannot be one.
    #[must_use]
    pub fn token(token: &str) -> Option<Self> {
        let value = HeaderValue::from_str(token).ok()?;
        Some(Authorization::Token(Secret::new(value)))
    }

    fn current(&self) -> Result<HeaderValue, CredentialsError> {
        match self {
            Authorization::Token(token) => Ok(token.expose().clone()),
            Authorization::File(path) => {
                // A kilobyte in memory: not worth a thread.
                let token = std::fs::read_to_string(path);
                let token = token.map_err(CredentialsError::Authorization)?;
                HeaderValue::from_str(token.trim()).map_err(|_| CredentialsError::Unreadable)
            }
        }
    }
}

/// Why there are no credentials.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// Nobody answers there.
    #[error("failed to connect to where they are served")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file with the authorization cannot be read.
    #[error("failed to read the file AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")]
    Authorization(#[source] std::io::Error),
    /// The exchange broke.
    #[error("failed to ask for them: {0}")]
    Ask(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("they are not served within {} ms", PATIENCE.as_millis())]
    TimedOut,
    /// The answer is an error.
    #[error("the answer is {0}")]
    Refused(http::StatusCode),
    /// The answer is no credentials.
    #[error("the answer cannot be read")]
    Unreadable,
}

impl Credentials {
    /// Credentials that are served at `uri`; `None` where it is not plain HTTP on this machine:
    /// anywhere else, they would travel in the clear.
    #[must_use]
    pub fn served(uri: &str, authorization: Option<Authorization>) -> Option<Self> {
        let uri: Uri = uri.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']);
        let is_here = match host.parse::<IpAddr>() {
            // The second are the endpoints of ECS and EKS.
            Ok(address) => address.is_loopback() || CONTAINER_HOSTS.contains(&host),
            Err(_) => host == "localhost",
        };
        let is_here = is_here && uri.scheme_str() == Some("http");
        is_here.then_some(Credentials::Served { uri, authorization })
    }

    /// The credentials that are good now.
    pub(super) async fn current(&self) -> Result<Keys, CredentialsError> {
        match self {
            Credentials::Fixed(keys) => Ok(keys.expose().clone()),
            Credentials::Served { uri, authorization } => {
                let asked = timeout(PATIENCE, ask(uri, authorization.as_ref())).await;
                asked.unwrap_or(Err(CredentialsError::TimedOut))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Fixed(_) => "Fixed",
            Credentials::Served { .. } => "Served",
        })
    }
}

const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Credentials as they are served.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Served {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

async fn ask(uri: &Uri, authorization: Option<&Authorization>) -> Result<Keys, CredentialsError> {
    let broke = |error: hyper::Error| CredentialsError::Ask(Box::new(error));
    let unreached = |error: ConnectError| CredentialsError::Connect(Box::new(error));
    let mut sender = client::connect(uri, None).await.map_err(unreached)?;
    let mut request = Request::get(uri);
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization.current()?);
    }
    let request = request
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| CredentialsError::Ask(Box::new(error)))?;
    let request = client::to_origin(request).map_err(unreached)?;
    let answer = sender.send_request(request).await.map_err(broke)?;
    if !answer.status().is_success() {
        return Err(CredentialsError::Refused(answer.status()));
    }
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(CredentialsError::Ask)?.to_bytes();
    // Not the error's own words: they may repeat what was read.
    let served: Served = serde_json::from_slice(&body).map_err(|_| CredentialsError::Unreadable)?;
    let expires_at = served.expiration;
    let expires_at = expires_at.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    Ok(Keys::new(
        served.access_key_id,
        served.secret_access_key,
        served.token,
        expires_at.map(Into::into),
        "container",
    ))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A server that gives one answer, and tells what it was asked.
    async fn serve(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let uri = format!("http://{}/v1/creds?x=1", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..length]).to_lowercase()
        });
        (uri, asked)
    }

    #[tokio::test]
    async fn credentials_are_taken_from_where_they_are_served() {
        const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 92\r\n\r\n\
             {\"AccessKeyId\":\"AKID\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Expiration\":\"2030-01-01T00:00:00Z\"}";
        let (uri, asked) = serve(ANSWER).await;
        let credentials = Credentials::served(&uri, Authorization::token("let me in")).unwrap();
        let keys = credentials.current().await.unwrap();
        assert_eq!(
            (keys.access_key_id(), keys.session_token()),
            ("AKID", Some("t"))
        );
        let year_2030 = SystemTime::UNIX_EPOCH + Duration::from_hours(525_960);
        assert_eq!(keys.expiry(), Some(year_2030));
        let asked = asked.await.unwrap();
        assert!(
            asked.starts_with("get /v1/creds?x=1 http/1.1\r\n"),
            "{asked}"
        );
        assert!(asked.contains("authorization: let me in\r\n"), "{asked}");

        // EKS replaces the file: it is read each time.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let authorization = Authorization::File(path.clone());
        for token in ["first", "second"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            let (uri, asked) = serve(ANSWER).await;
            let credentials = Credentials::served(&uri, Some(authorization.clone())).unwrap();
            credentials.current().await.unwrap();
            let asked = asked.await.unwrap();
            assert!(
                asked.contains(&format!("authorization: {token}\r\n")),
                "{asked}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_not_credentials_is_an_error_that_repeats_nothing() {
        for (answer, error) in [
            (
                "HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\nsecret",
                "403",
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n\"secret\"",
                "cannot be read",
            ),
            ("secret", "failed to ask"),
        ] {
            let (uri, _asked) = serve(answer).await;
            let credentials = Credentials::served(&uri, None).unwrap();
            let said = credentials.current().await.unwrap_err().to_string();
            assert!(said.contains(error) && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn credentials_are_asked_for_on_this_machine_only() {
        for here in [
            "http://127.0.0.1:9001/x",
            "http://localhost/x",
            "http://[::1]:1/",
        ] {
            assert!(Credentials::served(here, None).is_some(), "{here}");
        }
        for elsewhere in [
            "http://10.0.0.1/x",
            "https://127.0.0.1/x",
            "http://example.com/",
            "x",
        ] {
            assert!(
                Credentials::served(elsewhere, None).is_none(),
                "{elsewhere}"
            );
        }
    }
}
