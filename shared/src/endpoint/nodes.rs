//! The nodes of a cluster.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{ConnectionAddr, ConnectionInfo, Value, aio::MultiplexedConnection};
use tokio::time::timeout;

/// How long a cluster may take to tell its nodes.
const NODES_TIMEOUT: Duration = Duration::from_secs(2);

/// The nodes of a cluster, as one of them told.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Mutex<Vec<Node>>,
    /// Counts connections: each is made to the next node.
    turn: AtomicUsize,
}

/// A node: its host and port. Without a host, it is at that of the node that told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    host: String,
    port: u16,
}

impl Nodes {
    /// The node whose turn it is; `None` for the configured address.
    pub(super) fn next(&self) -> Option<Node> {
        let nodes = self.nodes();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % (nodes.len() + 1);
        nodes.get(turn.checked_sub(1)?).cloned()
    }

    pub(super) fn count(&self) -> usize {
        self.nodes().len()
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the nodes.
    pub(super) async fn learn(&self, mut connection: MultiplexedConnection) {
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

    pub(super) fn of_redirection(address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        Some(Node {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// The same address at this node.
    pub(super) fn instead_of(self, address: ConnectionInfo) -> ConnectionInfo {
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
        let known = Nodes::default();
        assert_eq!(known.next(), None);
        *known.nodes.lock().unwrap() = Node::of_slots(&slots);
        let turns: Vec<_> = (0..8)
            .map(|_| known.next().map(|node| (node.host, node.port)))
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
