//! Counts what passes between the worker and a server: a proxy that looks at directions, and at
//! Postgres's statements.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// A counting proxy.
pub(crate) struct Wire {
    /// The server's URL through it.
    pub(crate) url: String,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    round_trips: AtomicU64,
    statements: AtomicU64,
    client_speaks: AtomicBool,
}

impl Wire {
    pub(crate) async fn before(url: &str) -> Self {
        let (head, tail) = url.rsplit_once("127.0.0.1:").expect("a local server");
        let (port, path) = tail.split_once('/').unwrap_or((tail, ""));
        let target: u16 = port.parse().expect("a port");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "{head}127.0.0.1:{}/{path}",
            listener.local_addr().unwrap().port()
        );
        let counts = Arc::new(Counts::default());
        let counted = counts.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, counted.clone(), true));
                tokio::spawn(pass(from_server, to_client, counted.clone(), false));
            }
        });
        Wire { url, counts }
    }

    /// Round trips and Postgres statements so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let counts = &self.counts;
        (
            counts.round_trips.load(Ordering::Relaxed),
            counts.statements.load(Ordering::Relaxed),
        )
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    counts: Arc<Counts>,
    of_client: bool,
) {
    let mut buffer = vec![0; 1 << 20];
    let mut messages = Messages {
        skip: 0,
        header: Vec::new(),
        started: false,
    };
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if of_client {
            if !counts.client_speaks.swap(true, Ordering::Relaxed) {
                counts.round_trips.fetch_add(1, Ordering::Relaxed);
            }
            counts
                .statements
                .fetch_add(messages.statements(&buffer[..length]), Ordering::Relaxed);
        } else {
            counts.client_speaks.store(false, Ordering::Relaxed);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// The code of a start-up message: protocol 3.0.
const PROTOCOL_3: usize = 3 << 16;

/// Postgres's messages, from their headers: a type and a length.
struct Messages {
    skip: usize,
    header: Vec<u8>,
    started: bool,
}

impl Messages {
    fn statements(&mut self, mut bytes: &[u8]) -> u64 {
        let mut statements = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
            // A start-up message is a length and a code; a type and a length begin the others.
            let wanted = if self.started { 5 } else { 8 };
            let taken = (wanted - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.skip > 0 || self.header.len() < wanted {
                return statements;
            }
            let number = |at: usize| {
                let bytes = [0, 1, 2, 3].map(|offset| self.header[at + offset]);
                u32::from_be_bytes(bytes) as usize
            };
            if self.started {
                // Execute, or a simple query.
                statements += u64::from(matches!(self.header[0], b'E' | b'Q'));
                self.skip = number(1) - 4;
            } else {
                // Before it, the client may have asked for TLS.
                self.started = number(4) == PROTOCOL_3;
                self.skip = number(0) - 8;
            }
            self.header.clear();
        }
    }
}
