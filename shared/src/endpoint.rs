//! Connecting to Redis: to the configured address or, in a cluster, to any node of it, with a new
//! token each time where IAM is asked.

mod nodes;

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, ProtocolVersion, RedisError, RedisResult,
    ServerErrorKind, Value, aio::MultiplexedConnection,
};
use tokio::time::Instant;

use self::nodes::{Node, Nodes};
use crate::{cause, config};

/// What a missing answer is.
pub(crate) fn silence() -> RedisError {
    (ErrorKind::Io, "Redis does not answer").into()
}

/// Whether the server is not, or not yet, the primary: the address leads elsewhere by now, or soon.
pub(crate) fn is_of_role(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    )
}

/// Asks a server which role it has, in any version of the protocol. Unlike ROLE and INFO, any user may.
/// <https://valkey.io/commands/hello/>
pub(crate) fn hello() -> Cmd {
    redis::cmd("HELLO")
}

/// Where connections are made to.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    redis: config::Redis,
    nodes: Arc<Nodes>,
}

impl Endpoint {
    pub(crate) fn new(redis: &config::Redis) -> Self {
        Endpoint {
            redis: redis.clone(),
            nodes: Arc::default(),
        }
    }

    /// The same, spoken to in RESP3: with pushed messages.
    pub(crate) fn pushing(redis: &config::Redis) -> Self {
        let mut redis = redis.clone();
        let address = redis.connection.expose().clone();
        let settings = address.redis_settings().clone();
        let settings = settings.set_protocol(ProtocolVersion::RESP3);
        redis.connection = config::Secret::new(address.set_redis_settings(settings));
        Self::new(&redis)
    }

    /// Makes a connection. The address is resolved anew. In a cluster, each is made to the next
    /// node, since what makes it necessary may be that one has died; where that fails, to the next.
    pub(crate) async fn connect(
        &self,
        settings: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let mut tried = 1;
        let connection = loop {
            match self.open(self.nodes.next(), settings).await {
                Ok(connection) => break connection,
                Err(error) if tried > self.nodes.count() => return Err(error),
                Err(error) => tracing::warn!(%error, "failed to connect to a node of Redis"),
            }
            tried += 1;
        };
        if self.redis.cluster {
            let (nodes, connection) = (self.nodes.clone(), connection.clone());
            tokio::spawn(async move { nodes.learn(connection).await });
        }
        Ok(connection)
    }

    /// Checks what a server answered to [`hello`]. A primary that was demoted goes on taking what is
    /// published, and its replicas' subscribers get nothing of it. In a cluster any node passes it on.
    pub(crate) fn check_role(&self, answer: &HashMap<String, Value>) -> RedisResult<()> {
        let is_replica = match answer.get("role") {
            Some(Value::BulkString(role)) => role == b"replica" || role == b"slave",
            Some(Value::SimpleString(role)) => role == "replica" || role == "slave",
            _ => false,
        };
        if is_replica && !self.redis.cluster {
            let error = ErrorKind::Server(ServerErrorKind::ReadOnly);
            return Err((error, "this Redis is a replica").into());
        }
        Ok(())
    }

    /// Makes a connection to the node that a redirection names, `host:port`.
    pub(crate) async fn connect_to(
        &self,
        node: &str,
        settings: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let node = Node::of_redirection(node).ok_or((
            ErrorKind::Client,
            "Redis redirects to what is not an address",
        ))?;
        self.open(Some(node), settings).await
    }

    /// After how long a connection is to be authenticated again, where it is to be at all.
    pub(crate) fn reauthenticate_after(&self) -> Option<Duration> {
        Some(self.redis.iam.as_ref()?.reauthenticate_after)
    }

    /// Whether a connection made at `since` is about to be closed for the age of its token.
    pub(crate) fn is_too_old(&self, since: Instant) -> bool {
        let after = self.reauthenticate_after();
        after.is_some_and(|after| since.elapsed() >= after)
    }

    /// Authenticates a connection that exists, with a new token.
    pub(crate) async fn authenticate(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let Some(iam) = &self.redis.iam else {
            return Ok(());
        };
        let token = token(iam).await?;
        let mut command = redis::cmd("AUTH");
        command.arg(&iam.user).arg(token);
        command.exec_async(connection).await
    }

    async fn open(
        &self,
        node: Option<Node>,
        settings: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let mut address = self.redis.connection.expose().clone();
        if let Some(node) = node {
            address = node.instead_of(address);
        }
        if let Some(iam) = &self.redis.iam {
            let settings = address.redis_settings().clone();
            let settings = settings.set_username(&iam.user);
            address = address.set_redis_settings(settings.set_password(token(iam).await?));
        }
        let client = Client::open(address)?;
        client
            .get_multiplexed_async_connection_with_config(settings)
            .await
    }
}

async fn token(iam: &config::RedisIam) -> RedisResult<String> {
    let token = iam.signer.cache_token(&iam.cache, &iam.user).await;
    token.map_err(|error| {
        let cause = cause::chain(&error);
        RedisError::from((ErrorKind::AuthenticationFailed, "no token for Redis", cause))
    })
}
