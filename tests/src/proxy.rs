//! A TCP proxy that can break: between a stack and its servers, it cuts, delays, refuses, or
//! swallows bytes without closing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// What the proxy does with what passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// Every chunk waits so long.
    Delay(Duration),
    /// As [`Proxy::swallow`], and connections that are made meanwhile too.
    Swallow,
    /// New connections are closed at once.
    Refuse,
}

/// A proxy in front of a server on 127.0.0.1.
pub struct Proxy {
    port: u16,
    target: watch::Sender<u16>,
    mode: watch::Sender<Mode>,
    cuts: watch::Sender<u64>,
    swallows: watch::Sender<u64>,
    refused: watch::Receiver<u64>,
}

impl Proxy {
    /// A proxy in front of the server of `url`; returns it, and the URL through it.
    pub async fn before(url: &str) -> (Self, String) {
        let (head, tail) = url.rsplit_once("127.0.0.1:").expect("a local server");
        let (target, path) = tail.split_once('/').expect("a path");
        let proxy = Self::start(target.parse().expect("a port")).await;
        let through = format!("{head}127.0.0.1:{}/{path}", proxy.port);
        (proxy, through)
    }

    async fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, targets) = watch::channel(target);
        let mode = watch::channel(Mode::Pass).0;
        let (cuts, swallows) = (watch::channel(0).0, watch::channel(0).0);
        let modes = mode.subscribe();
        let (cut, swallow) = (cuts.subscribe(), swallows.subscribe());
        let (refusals, refused) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() == Mode::Refuse {
                    refusals.send_modify(|refusals| *refusals += 1);
                    continue;
                }
                let target = *targets.borrow();
                if let Ok(server) = connect(target).await {
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let swallowed = Arc::new(AtomicBool::new(false));
                    for (from, to) in [(from_client, to_server), (from_server, to_client)] {
                        let faults = (modes.clone(), cut.clone(), swallow.clone());
                        tokio::spawn(pump(from, to, faults, swallowed.clone()));
                    }
                }
            }
        });
        Proxy {
            port,
            target,
            mode,
            cuts,
            swallows,
            refused,
        }
    }

    /// Sets what happens from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits until a connection has been refused.
    pub async fn has_refused(&self) {
        let mut refused = self.refused.clone();
        refused.wait_for(|refused| *refused > 0).await.unwrap();
    }

    /// Leads new connections to the server at another port, as a name does after a failover.
    pub fn lead_to(&self, port: u16) {
        self.target.send_replace(port);
    }

    /// Lets every connection that there is go half-open for good: no data, no error.
    pub fn swallow(&self) {
        self.swallows.send_modify(|swallows| *swallows += 1);
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn connect(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", port)).await
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (mut modes, mut cut, mut swallow): (
        watch::Receiver<Mode>,
        watch::Receiver<u64>,
        watch::Receiver<u64>,
    ),
    swallowed: Arc<AtomicBool>,
) {
    cut.mark_unchanged();
    swallow.mark_unchanged();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if *modes.borrow_and_update() == Mode::Swallow {
            swallowed.store(true, Ordering::Relaxed);
        }
        let read = tokio::select! {
            // What came after a fault does not pass before it.
            biased;
            _ = cut.changed() => return,
            Ok(()) = swallow.changed() => {
                swallowed.store(true, Ordering::Relaxed);
                continue;
            }
            Ok(()) = modes.changed() => continue,
            read = from.read(&mut buffer) => read,
        };
        let Ok(length @ 1..) = read else { return };
        let mode = *modes.borrow();
        if swallowed.load(Ordering::Relaxed) || mode == Mode::Swallow {
            swallowed.store(true, Ordering::Relaxed);
            continue;
        }
        if let Mode::Delay(delay) = mode {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
