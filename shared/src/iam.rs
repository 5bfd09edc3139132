//! IAM authentication: a password that is a presigned URL, good for 15 minutes and made anew for
//! each connection; and presigned URLs of objects in S3 ([`Object`]).
//!
//! <https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>,
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html>.
//!
//! AWS's own signer does it. `aws-config` is left out: its provider chain brings an HTTP client, a
//! second TLS stack and megabytes for what are two sources in Lambda ([`Credentials`]).

mod credentials;
mod object;

use std::time::{Duration, SystemTime};

use aws_sigv4::{
    http_request::{
        SignableBody, SignableRequest, SignatureLocation, SigningError, SigningSettings, sign,
    },
    sign::v4,
};
use thiserror::Error;

pub use self::{
    credentials::{Authorization, Credentials, CredentialsError},
    object::{Object, ObjectUrl, dns_suffix},
};

/// How long a token is accepted: the most that both services take.
const VALID_FOR: Duration = Duration::from_mins(15);

/// Signs tokens with the function's own role.
#[derive(Clone, Debug)]
pub struct Signer {
    region: String,
    credentials: Credentials,
}

/// A cache, as `ElastiCache` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    name: String,
    is_serverless: bool,
}

/// Why there is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The role's credentials could not be had.
    #[error("failed to read the role's credentials: {0}")]
    Credentials(#[from] CredentialsError),
    /// They could not be used.
    #[error("failed to sign")]
    Sign(#[from] SigningError),
    /// What to sign is not complete.
    #[error("failed to prepare a signature")]
    Prepare(#[from] v4::signing_params::BuildError),
    /// The name of a host does not fit into a URL.
    #[error("failed to write the request to sign: {0}")]
    Request(#[from] http::Error),
}

impl Signer {
    /// A signer for a region.
    #[must_use]
    pub fn new(region: &str, credentials: Credentials) -> Self {
        Signer {
            region: region.to_owned(),
            credentials,
        }
    }

    /// The password of a user of a cache.
    ///
    /// # Errors
    /// Where the role's credentials cannot be had.
    pub async fn cache_token(&self, cache: &Cache, user: &str) -> Result<String, TokenError> {
        self.token("elasticache", &cache.name, &cache.query(user))
            .await
    }

    /// The password of a database user, at a host and port.
    ///
    /// # Errors
    /// Where the role's credentials cannot be had.
    pub async fn database_token(
        &self,
        host: &str,
        port: u16,
        user: &str,
    ) -> Result<String, TokenError> {
        let query = query(&[("Action", "connect"), ("DBUser", user)]);
        self.token("rds-db", &format!("{host}:{port}"), &query)
            .await
    }

    /// Signs a request to a service of AWS, in its headers.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>
    ///
    /// # Errors
    /// Where the role's credentials cannot be had.
    pub async fn sign(
        &self,
        service: &str,
        request: &mut http::Request<String>,
    ) -> Result<(), TokenError> {
        let identity = self.credentials.current().await?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?;
        let headers = request.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let body = SignableBody::Bytes(request.body().as_bytes());
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.uri().to_string(),
            headers,
            body,
        )?;
        let (instructions, _) = sign(signable, &parameters.into())?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }

    async fn token(&self, service: &str, host: &str, query: &str) -> Result<String, TokenError> {
        let credentials = self.credentials.current().await?;
        let now = SystemTime::now();
        token(credentials, now, &self.region, service, host, query)
    }
}

impl Cache {
    /// Reads a name as it stands in the cache's ARN: `replicationgroup:NAME` or
    /// `serverlesscache:NAME`.
    #[must_use]
    pub fn of_resource(resource: &str) -> Option<Self> {
        let (kind, name) = resource.split_once(':')?;
        let is_serverless = match kind {
            "serverlesscache" => true,
            "replicationgroup" => false,
            _ => return None,
        };
        Self::new(name, is_serverless)
    }

    /// Reads the name from an endpoint of `ElastiCache`'s with TLS:
    /// `NAME-xxxxxx.serverless.….cache.amazonaws.com`, or `master.`, `replica.` or `clustercfg.`
    /// before `NAME.xxxxxx.….cache.amazonaws.com`.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let labels: Vec<_> = host.trim_end_matches('.').split('.').collect();
        if !labels.contains(&"cache") || !labels.contains(&"amazonaws") {
            return None;
        }
        match *labels.as_slice() {
            [endpoint, "serverless", ..] => {
                let (name, _suffix) = endpoint.rsplit_once('-')?;
                Self::new(name, true)
            }
            ["master" | "replica" | "clustercfg", name, ..] => Self::new(name, false),
            _ => None,
        }
    }

    /// The service wants the name in lower case.
    fn new(name: &str, is_serverless: bool) -> Option<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (!name.is_empty() && name.chars().all(fits)).then(|| Cache {
            name: name.to_ascii_lowercase(),
            is_serverless,
        })
    }

    fn query(&self, user: &str) -> String {
        let all = [
            ("Action", "connect"),
            ("User", user),
            ("ResourceType", "ServerlessCache"),
        ];
        query(if self.is_serverless { &all } else { &all[..2] })
    }
}

fn query(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| {
        let value = percent_encoding::utf8_percent_encode(value, UNRESERVED);
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// What `SigV4` leaves as it is (RFC 3986, section 2.3).
const UNRESERVED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A presigned URL without its scheme.
fn token(
    credentials: aws_credential_types::Credentials,
    now: SystemTime,
    region: &str,
    service: &str,
    host: &str,
    query: &str,
) -> Result<String, TokenError> {
    let url = format!("https://{host}/?{query}");
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(VALID_FOR);
    let body = SignableBody::Bytes(&[]);
    let url = presign(credentials, now, region, service, &url, settings, body)?;
    Ok(url.trim_start_matches("https://").to_owned())
}

/// A GET of this URL, signed in its query.
fn presign(
    credentials: aws_credential_types::Credentials,
    now: SystemTime,
    region: &str,
    service: &str,
    url: &str,
    mut settings: SigningSettings,
    body: SignableBody<'_>,
) -> Result<String, TokenError> {
    let identity = credentials.into();
    settings.signature_location = SignatureLocation::QueryParams;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(settings)
        .build()?;
    let mut request = http::Request::get(url).body(())?;
    let signable = SignableRequest::new("GET", url, [].into_iter(), body)?;
    let (instructions, _) = sign(signable, &parameters.into())?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request.uri().to_string())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// One of the tokens that botocore signed: `tests/iam/vectors.py`.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        region: String,
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
        unix_seconds: u64,
        cache: Option<String>,
        host: Option<String>,
        port: Option<u16>,
        user: String,
        token: String,
    }

    #[test]
    fn tokens_are_those_that_botocore_signs() {
        let vectors = include_str!("../../tests/iam/vectors.json");
        let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
        assert!(vectors.len() >= 8);
        for vector in vectors {
            let credentials = aws_credential_types::Credentials::new(
                vector.access_key_id,
                vector.secret_access_key,
                vector.session_token,
                None,
                "test",
            );
            let (service, host, query) = match (&vector.cache, &vector.host) {
                (Some(cache), _) => {
                    let cache = Cache::of_resource(cache).unwrap();
                    let query = cache.query(&vector.user);
                    ("elasticache", cache.name, query)
                }
                (_, Some(host)) => {
                    let query = query(&[("Action", "connect"), ("DBUser", &vector.user)]);
                    let host = format!("{host}:{}", vector.port.unwrap());
                    ("rds-db", host, query)
                }
                _ => panic!("neither a cache nor a host"),
            };
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(vector.unix_seconds);
            let token = token(credentials, now, &vector.region, service, &host, &query).unwrap();
            assert_eq!(sorted(&token), sorted(&vector.token));
        }
    }

    /// The order of a query's parts means nothing.
    pub(super) fn sorted(token: &str) -> Vec<&str> {
        let mut parts: Vec<_> = token.split(['&', '?']).collect();
        parts.sort_unstable();
        parts
    }

    #[test]
    fn a_cache_is_named_by_its_endpoint() {
        for (host, resource) in [
            (
                "My-Cache-ab12cd.serverless.use1.cache.amazonaws.com",
                "serverlesscache:my-cache",
            ),
            (
                "clustercfg.status.ab12cd.euc1.cache.amazonaws.com",
                "replicationgroup:status",
            ),
            (
                "master.status.ab12cd.cnn1.cache.amazonaws.com.cn",
                "replicationgroup:status",
            ),
        ] {
            assert_eq!(Cache::of_host(host), Cache::of_resource(resource), "{host}");
            assert!(Cache::of_host(host).is_some(), "{host}");
        }
        for host in ["localhost", "cache.example.com", "10.0.0.1", ""] {
            assert_eq!(Cache::of_host(host), None, "{host}");
        }
        for resource in ["", "status", "cluster:status", "replicationgroup:a/b"] {
            assert_eq!(Cache::of_resource(resource), None, "{resource}");
        }
    }
}
