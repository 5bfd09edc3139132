//! Connecting to Postgres, with a new token each time where IAM is asked.

use std::{future::Future, pin::Pin};

use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config, Connection, Error, Socket, config::TargetSessionAttrs, tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{cause, config, tls};

type Connected = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

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
        let (client, connection) = self.to_writer(&mut address).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "the connection to Postgres broke");
            }
        });
        Ok((client, task))
    }
}

impl Connector {
    /// Connects to a server that takes writes, in no more round trips than to any: since version 14 it
    /// says so by itself (<https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>).
    /// Where it does not, or there are several to choose from, it is asked.
    async fn to_writer(&self, address: &mut Config) -> Result<(Client, Connected), Error> {
        if address.get_hosts().len() == 1 {
            address.target_session_attrs(TargetSessionAttrs::Any);
            let (client, connection) = address.connect(self.tls.clone()).await?;
            let says = ["in_hot_standby", "default_transaction_read_only"];
            if says.map(|name| connection.parameter(name)) == [Some("off"); 2] {
                return Ok((client, connection));
            }
        }
        address.target_session_attrs(TargetSessionAttrs::ReadWrite);
        address.connect(self.tls.clone()).await
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
