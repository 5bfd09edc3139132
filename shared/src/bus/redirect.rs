//! Commands that a cluster redirects to the node that has their key.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ErrorKind, FromRedisValue, RedisError, RedisResult, Script,
    ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::time::Instant;

use crate::endpoint::{Endpoint, is_of_role};

/// How long a connection to another node may take, and each of its answers.
const NODE_TIMEOUT: Duration = Duration::from_millis(300);

/// How often a command follows: slots move while others do.
const REDIRECTIONS: u32 = 4;

/// Connections to the nodes that commands were redirected to.
///
/// Nothing remembers which node has which key. The command is asked of the process's own
/// connection first, which costs a round trip where another has it, and none at `ElastiCache`
/// Serverless, whose proxies take every key.
#[derive(Debug)]
pub(super) struct Redirects {
    endpoint: Endpoint,
    nodes: Mutex<HashMap<String, Opened>>,
}

#[derive(Clone, Debug)]
struct Opened {
    connection: MultiplexedConnection,
    at: Instant,
}

/// A script, the keys it touches, all of one slot, and its arguments.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: &'a [String],
    pub(super) arguments: &'a [String],
}

impl Redirects {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Redirects {
            endpoint,
            nodes: Mutex::default(),
        }
    }

    /// Runs a script on this connection or, where it redirects, where it redirects to.
    pub(super) async fn eval<T: FromRedisValue>(
        &self,
        link: &mut MultiplexedConnection,
        call: Call<'_>,
    ) -> RedisResult<T> {
        let mut answer = call.run(link).await;
        for _ in 0..REDIRECTIONS {
            let Err(error) = &answer else { break };
            let Some((node, _)) = error.redirect_node() else {
                break;
            };
            let is_moving = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
            answer = self.eval_at(node, is_moving, call).await;
        }
        answer
    }

    /// Runs a script at a node. A connection from before may have died since: then a new one.
    async fn eval_at<T: FromRedisValue>(
        &self,
        node: &str,
        is_moving: bool,
        call: Call<'_>,
    ) -> RedisResult<T> {
        let known = self.known(node);
        let is_new = known.is_none();
        let connection = match known {
            Some(connection) => connection,
            None => self.open(node).await?,
        };
        let answer = call.run_at(connection, is_moving).await;
        match answer {
            Err(error) if is_of_connection(&error) => {
                self.lock().remove(node);
                if is_new {
                    return Err(error);
                }
                call.run_at(self.open(node).await?, is_moving).await
            }
            answer => answer,
        }
    }

    fn known(&self, node: &str) -> Option<MultiplexedConnection> {
        let opened = self.lock().get(node)?.clone();
        let fresh = !self.endpoint.is_too_old(opened.at);
        fresh.then_some(opened.connection)
    }

    async fn open(&self, node: &str) -> RedisResult<MultiplexedConnection> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(NODE_TIMEOUT))
            .set_response_timeout(Some(NODE_TIMEOUT));
        let connection = self.endpoint.connect_to(node, &settings).await?;
        let opened = Opened {
            connection: connection.clone(),
            at: Instant::now(),
        };
        self.lock().insert(node.to_owned(), opened);
        Ok(connection)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Opened>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    async fn run<T: FromRedisValue>(self, link: &mut MultiplexedConnection) -> RedisResult<T> {
        let mut invocation = self.script.key(self.keys);
        invocation.arg(self.arguments).invoke_async(link).await
    }

    async fn run_at<T: FromRedisValue>(
        self,
        mut node: MultiplexedConnection,
        is_moving: bool,
    ) -> RedisResult<T> {
        if !is_moving {
            return self.run(&mut node).await;
        }
        let first = self.ask(&mut node).await;
        match first {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.script.load_async(&mut node).await?;
                self.ask(&mut node).await
            }
            answer => answer,
        }
    }

    /// Runs a script where its key is moving to: it is served there only right after `ASKING`.
    async fn ask<T: FromRedisValue>(self, node: &mut MultiplexedConnection) -> RedisResult<T> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore().cmd("EVALSHA");
        pipeline.arg(self.script.get_hash()).arg(self.keys.len());
        pipeline.arg(self.keys).arg(self.arguments);
        let (answer,) = pipeline.query_async(node).await?;
        Ok(answer)
    }
}

/// Whether it is the connection that failed, not the command.
pub(super) fn is_of_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || is_of_role(error)
}
