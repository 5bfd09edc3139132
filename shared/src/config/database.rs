//! `DATABASE_*`.

use std::time::Duration;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::{ConfigError, Env, Secret};
use crate::{iam::Signer, tls::Roots};

/// How to reach Postgres.
#[derive(Clone, Debug)]
pub struct Database {
    /// Address and credentials.
    pub connection: Secret<tokio_postgres::Config>,
    /// Whom to trust, instead of the public roots.
    pub roots: Option<Roots>,
    /// IAM authentication instead of a password.
    pub iam: Option<DatabaseIam>,
    /// After how long an unused connection is closed.
    pub idle: Duration,
    /// Whether a proxy stands between that shares connections, such as RDS Proxy or `PgBouncer`: nothing
    /// is then kept on one.
    pub proxy: bool,
}

/// Who to be in a Postgres of RDS.
#[derive(Clone, Debug)]
pub struct DatabaseIam {
    /// The name of its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user's name.
    pub user: String,
    /// Makes the tokens.
    pub signer: Signer,
}

impl Database {
    /// Reads `DATABASE_*`.
    ///
    /// # Errors
    /// Where one is missing or has a value it does not take.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let takes = "postgres://user:password@host:port/database[?sslmode=require]";
        let mut connection = env.required("DATABASE_URL", takes, |url| {
            let config: tokio_postgres::Config = url.parse().ok()?;
            (!config.get_hosts().is_empty()).then_some(config)
        })?;
        // While a name still leads to a writer that has become a reader, its log may be behind.
        connection.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let roots = env.roots("DATABASE_CA_FILE")?;
        let iam = DatabaseIam::from_env(env, &connection)?;
        for (variable, is_set) in [
            ("DATABASE_CA_FILE", roots.is_some()),
            ("DATABASE_IAM_AUTH", iam.is_some()),
        ] {
            if is_set && connection.get_ssl_mode() == SslMode::Disable {
                return Err(ConfigError::new(
                    variable,
                    "needs DATABASE_URL to be without sslmode=disable",
                ));
            }
            if is_set {
                connection.ssl_mode(SslMode::Require);
            }
        }
        Ok(Database {
            connection: Secret::new(connection),
            roots,
            iam,
            idle: env.seconds("DATABASE_IDLE_SECONDS", 10, (1, 3600))?,
            proxy: env.flag("DATABASE_PROXY")?,
        })
    }
}

impl DatabaseIam {
    fn from_env(env: &Env, address: &tokio_postgres::Config) -> Result<Option<Self>, ConfigError> {
        let variable = "DATABASE_IAM_AUTH";
        if !env.flag(variable)? {
            return Ok(None);
        }
        // The token is for one host.
        let ([Host::Tcp(host)], Some(user)) = (address.get_hosts(), address.get_user()) else {
            return Err(ConfigError::new(
                variable,
                "needs DATABASE_URL to name a user and one host",
            ));
        };
        Ok(Some(DatabaseIam {
            host: host.clone(),
            port: address.get_ports().first().copied().unwrap_or(5432),
            user: user.to_owned(),
            signer: env.signer(variable)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::env;

    #[test]
    fn tls_and_iam_are_refused_where_they_would_be_in_vain() {
        let (iam, on) = (
            ("DATABASE_IAM_AUTH", "true"),
            "postgres://reader@host:6543/log",
        );
        for (url, refused) in [
            ("postgres://host/log", "name a user and one host"),
            ("postgres://reader@a,b/log", "name a user and one host"),
            (
                "postgres://reader@host/log?sslmode=disable",
                "without sslmode=disable",
            ),
        ] {
            let error = Database::from_env(&env(&[("DATABASE_URL", url), iam]));
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with("DATABASE_IAM_AUTH needs"), "{error}");
            assert!(error.contains(refused), "{error}");
        }
        let database = Database::from_env(&env(&[("DATABASE_URL", on), iam])).unwrap();
        assert_eq!(
            database.connection.expose().get_ssl_mode(),
            SslMode::Require
        );
        let error = Database::from_env(&env(&[("DATABASE_URL", on), ("DATABASE_CA_FILE", "/x")]));
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("DATABASE_CA_FILE has a value")
        );
    }
}
