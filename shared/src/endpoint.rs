//! Connecting to Redis: to the configured address or, in a cluster, to any node of it, with a new
//! token each time where IAM is asked.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backon::ExponentialBuilder;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, ProtocolVersion,
    RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::time::{Instant, timeout};

use crate::{cause, config};

/// How long a cluster may take to tell its nodes.
const NODES_TIMEOUT: Duration = Duration::from_secs(2);

/// The waits between tries to reach Redis.
pub(crate) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
}

/// What a missing answer is.
pub(crate) fn silence() -> RedisError {
    (ErrorKind::Io, "Redis does not answer").into()
}

/// Where connections are made to.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    redis: config::Redis,
    others: Arc<Others>,
}

/// The nodes of a cluster, as one of them told.
#[derive(Debug, Default)]
struct Others {
    nodes: Mutex<Vec<Node>>,
    /// Counts connections: each is made to the next node.
    turn: AtomicUsize,
}

/// A node: its host and port. Without a host, it is at that of the node that told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    host: String,
    port: u16,
}

impl Endpoint {
    pub(crate) fn new(redis: &config::Redis) -> Self {
        Endpoint {
            redis: redis.clone(),
            others: Arc::default(),
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
            match self.open(self.others.next(), settings).await {
                Ok(connection) => break connection,
                Err(error) if tried > self.others.count() => return Err(error),
                Err(error) => tracing::warn!(%error, "failed to connect to a node of Redis"),
            }
            tried += 1;
        };
        if self.redis.cluster {
            let (others, connection) = (self.others.clone(), connection.clone());
            tokio::spawn(async move { others.learn(connection).await });
        }
        Ok(connection)
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

impl Others {
    /// The node whose turn it is; `None` for the configured address.
    fn next(&self) -> Option<Node> {
        let nodes = self.nodes();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % (nodes.len() + 1);
        nodes.get(turn.checked_sub(1)?).cloned()
    }

    fn count(&self) -> usize {
        self.nodes().len()
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the nodes.
    async fn learn(&self, mut connection: MultiplexedConnection) {
        let mut slots = redis::cmd("CLUSTER");
        let asked = slots.arg("SLOTS").query_async(&mut connection);
        match timeout(NODES_TIMEOUT, asked).await {
            Ok(Ok(slots)) => {
                *self.nodes() = Node::of_slots(&slots);
            }
            Ok(Err(error)) => tracing::warn!(%error, "failed to read the cluster's nodes"),
            // The connection is broken, which others see too.
            Err(_) => {}
        }
    }
}

impl Node {
    /// Reads the answer of `CLUSTER SLOTS`: ranges, each with its nodes, each with host and port.
    /// <https://valkey.io/commands/cluster-slots/>
    fn of_slots(slots: &Value) -> Vec<Self> {
        let mut nodes = Vec::new();
        for range in items(slots) {
            for node in items(range).iter().skip(2) {
                let [host, port, ..] = items(node) else {
                    continue;
                };
                let host: Option<String> = redis::from_redis_value_ref(host).unwrap_or_default();
                // An unknown host is told as null, "" or "?".
                let host = host.filter(|host| host != "?").unwrap_or_default();
                let Ok(port) = redis::from_redis_value_ref(port) else {
                    continue;
                };
                let node = Node { host, port };
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        nodes
    }

    fn of_redirection(address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        Some(Node {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// The same address at this node.
    fn instead_of(self, address: ConnectionInfo) -> ConnectionInfo {
        let host_or = |host: &String| match self.host.as_str() {
            "" => host.clone(),
            host => host.to_owned(),
        };
        let node = match address.addr() {
            ConnectionAddr::TcpTls {
                host,
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host: host_or(host),
                port: self.port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            ConnectionAddr::Tcp(host, _) => ConnectionAddr::Tcp(host_or(host), self.port),
            other => other.clone(),
        };
        address.set_addr(node)
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

async fn token(iam: &config::RedisIam) -> RedisResult<String> {
    let token = iam.signer.cache_token(&iam.cache, &iam.user).await;
    token.map_err(|error| {
        let cause = cause::chain(&error);
        RedisError::from((ErrorKind::AuthenticationFailed, "no token for Redis", cause))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn the_nodes_of_a_cluster_are_read_and_taken_in_turn() {
        let node = |host, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let range =
            |nodes: Vec<Value>| Value::Array([vec![Value::Int(0), Value::Int(5)], nodes].concat());
        let slots = Value::Array(vec![
            range(vec![node(text("a"), 1), node(text("b"), 2)]),
            range(vec![node(Value::Nil, 3), node(text("a"), 1)]),
            range(vec![Value::Nil]),
            Value::Nil,
        ]);
        let others = Others::default();
        assert_eq!(others.next(), None);
        *others.nodes.lock().unwrap() = Node::of_slots(&slots);
        let turns: Vec<_> = (0..8)
            .map(|_| others.next().map(|node| (node.host, node.port)))
            .collect();
        let named = |host: &str, port| Some((host.to_owned(), port));
        let round = [named("a", 1), named("b", 2), named("", 3), None];
        assert_eq!(turns, [round.clone(), round].concat());
    }

    #[test]
    fn a_node_is_reached_as_the_configured_address_is() {
        use redis::IntoConnectionInfo;
        for (url, node, then) in [
            ("rediss://u:p@h:1/", "n:2", "rediss://u:p@n:2/"),
            ("redis://u:p@h:1/", ":2", "redis://u:p@h:2/"),
            ("redis://h:1/", "::1:2", "redis://[::1]:2/"),
        ] {
            let url = url.into_connection_info().unwrap();
            let node = Node::of_redirection(node).unwrap().instead_of(url);
            let then = then.into_connection_info().unwrap();
            assert_eq!(node.addr().to_string(), then.addr().to_string());
            let password =
                |info: &ConnectionInfo| info.redis_settings().password().map(str::to_owned);
            assert_eq!(password(&node), password(&then));
        }
        for address in ["n", "n:", "n:x", "n:70000"] {
            assert_eq!(Node::of_redirection(address), None, "{address}");
        }
    }
}
