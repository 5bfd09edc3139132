//! Connecting to Postgres, with a new token each time where IAM is asked.

use std::{future::Future, pin::Pin};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{cause, config, tls};

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    database: config::Database,
    tls: MakeRustlsConnect,
}

impl Connector {
    pub(super) fn new(database: &config::Database) -> Self {
        Connector {
            tls: tls::for_postgres(database.roots.as_ref()),
            database: database.clone(),
        }
    }

    /// A new connection, and the task that keeps it going.
    pub(super) async fn open(&self) -> Result<(Client, JoinHandle<()>), Error> {
        let mut address = self.database.connection.expose().clone();
        if let Some(iam) = &self.database.iam {
            let token = iam.signer.database_token(&iam.host, iam.port, &iam.user);
            match token.await {
                Ok(token) => drop(address.password(token)),
                // Postgres asks for a password then, and there is none.
                Err(error) => {
                    tracing::warn!(error = cause::chain(&error), "no token for Postgres");
                }
            }
        }
        let (client, connection) = address.connect(self.tls.clone()).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "the connection to Postgres broke");
            }
        });
        Ok((client, task))
    }
}

impl deadpool_postgres::Connect for Connector {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(self.open())
    }
}
