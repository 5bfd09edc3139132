//! `REDIS_*`.

use std::time::Duration;

use redis::IntoConnectionInfo;

use super::{ConfigError, Env, Secret};
use crate::{
    iam::{Cache, Signer},
    tls,
};

/// A connection must be authenticated again before 12 hours are over:
/// <https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>.
const REAUTHENTICATE_AFTER: Duration = Duration::from_hours(11);

/// How to reach Redis.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Address, credentials and whom to trust.
    pub connection: Secret<redis::ConnectionInfo>,
    /// IAM authentication instead of a password.
    pub iam: Option<RedisIam>,
    /// Whether it is a cluster.
    pub cluster: bool,
}

/// Who to be in an `ElastiCache`.
#[derive(Clone, Debug)]
pub struct RedisIam {
    /// The user's id, which is its name too.
    pub user: String,
    /// The cache.
    pub cache: Cache,
    /// Makes the tokens.
    pub signer: Signer,
    /// After how long a connection is authenticated again.
    pub reauthenticate_after: Duration,
}

impl Redis {
    /// Reads `REDIS_*`.
    ///
    /// # Errors
    /// Where one is missing or has a value it does not take.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let connection = redis_address(env, "REDIS_URL")?;
        Ok(Redis {
            iam: RedisIam::from_env(env, &connection)?,
            connection: Secret::new(connection),
            cluster: env.flag("REDIS_CLUSTER")?,
        })
    }

    /// Reads `QUEUE_REDIS_URL`, where it is set.
    pub(super) fn of_queues(env: &Env) -> Result<Self, ConfigError> {
        let Some(_) = env.get("QUEUE_REDIS_URL") else {
            return Redis::from_env(env);
        };
        Ok(Redis {
            connection: Secret::new(redis_address(env, "QUEUE_REDIS_URL")?),
            iam: None,
            cluster: false,
        })
    }
}

impl RedisIam {
    fn from_env(env: &Env, redis: &redis::ConnectionInfo) -> Result<Option<Self>, ConfigError> {
        let variable = "REDIS_IAM_USER";
        let Some(user) = env.get(variable) else {
            return Ok(None);
        };
        if !tls::is_used_by(redis) {
            // A token must not travel in the clear.
            return Err(ConfigError::new(
                variable,
                "needs REDIS_URL to be rediss://",
            ));
        }
        let takes = "replicationgroup:NAME or serverlesscache:NAME, as in the cache's ARN";
        let cache = match redis.addr() {
            redis::ConnectionAddr::TcpTls { host, .. } => Cache::of_host(host),
            _ => None,
        };
        let cache = match (env.get("REDIS_IAM_CACHE"), cache) {
            (None, Some(cache)) => cache,
            _ => env.required("REDIS_IAM_CACHE", takes, Cache::of_resource)?,
        };
        Ok(Some(RedisIam {
            user: user.to_owned(),
            cache,
            signer: env.signer(variable)?,
            reauthenticate_after: REAUTHENTICATE_AFTER,
        }))
    }
}

/// Reads a Redis URL, and `REDIS_CA_FILE`.
fn redis_address(env: &Env, variable: &'static str) -> Result<redis::ConnectionInfo, ConfigError> {
    let takes = "redis://[user:password@]host:port, or rediss:// for TLS";
    let address = env.required(variable, takes, |url| {
        // The client's way to say that a certificate is not to be verified.
        let verified = !url.contains('#');
        verified.then(|| url.into_connection_info().ok()).flatten()
    })?;
    let Some(roots) = env.roots("REDIS_CA_FILE")? else {
        return Ok(address);
    };
    if !tls::is_used_by(&address) && variable != "REDIS_URL" {
        return Ok(address);
    }
    let needs = || ConfigError::new("REDIS_CA_FILE", "needs REDIS_URL to be rediss://");
    roots.trusted_by(address).ok_or_else(needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::env;

    #[test]
    fn tls_and_iam_are_refused_where_they_would_be_in_vain() {
        let plain = ("REDIS_URL", "redis://localhost");
        let tls = ("REDIS_URL", "rediss://localhost");
        let cache = "rediss://status-ab12cd.serverless.euc1.cache.amazonaws.com:6379";
        let iam = ("REDIS_IAM_USER", "runcast");
        let takes = "takes replicationgroup:NAME";
        for (variables, refused) in [
            (
                vec![("REDIS_URL", "rediss://localhost/#insecure")],
                "REDIS_URL has a value",
            ),
            (
                vec![tls, ("REDIS_CA_FILE", "/dev/null")],
                "REDIS_CA_FILE has a value",
            ),
            (
                vec![tls, ("REDIS_CA_FILE", "/missing")],
                "PEM file of root certificates",
            ),
            (vec![tls, ("REDIS_CLUSTER", "yes")], "takes true or false"),
            (
                vec![plain, iam],
                "REDIS_IAM_USER needs REDIS_URL to be rediss://",
            ),
            (vec![tls, iam], "REDIS_IAM_CACHE is not set"),
            (vec![tls, iam, ("REDIS_IAM_CACHE", "status")], takes),
            (
                vec![("REDIS_URL", cache), iam, ("AWS_REGION", "")],
                "needs AWS_REGION",
            ),
        ] {
            let error = Redis::from_env(&env(&variables)).unwrap_err().to_string();
            assert!(error.contains(refused), "{error}");
        }
        let redis = Redis::from_env(&env(&[("REDIS_URL", cache), iam])).unwrap();
        assert_eq!(
            redis.iam.as_ref().map(|iam| iam.user.as_str()),
            Some("runcast")
        );
        assert!(!format!("{redis:?}").contains("hunter2"));
    }

    #[test]
    fn a_secret_is_not_printed() {
        let redis =
            Redis::from_env(&env(&[("REDIS_URL", "redis://:hunter2@localhost:1")])).unwrap();
        assert!(!format!("{redis:?}").contains("hunter2"));
    }
}
