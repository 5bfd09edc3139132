//! What stands before a cache or a database in AWS: TLS, and a token as the password.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use crate::authority::Identity;

/// A front, and what it has seen.
#[derive(Clone)]
pub struct Front {
    /// Where it listens.
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
    cuts: watch::Sender<u32>,
}

/// What a front has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How many connections were made.
    pub connections: usize,
    /// How many of them have ended.
    pub ended: usize,
    /// The tokens, in order.
    pub tokens: Vec<String>,
}

impl Front {
    /// `ElastiCache` before a Redis: the last token that it was shown is the user's only password.
    pub async fn elasticache(identity: &Identity, user: &'static str, redis_url: &str) -> Self {
        let client = redis::Client::open(redis_url).unwrap();
        let target = redis_url.trim_start_matches("redis://").trim_matches('/');
        let target = target.to_owned();
        Self::start(identity, move |front, stream| {
            cache(front, stream, user, client.clone(), target.clone())
        })
        .await
    }

    /// RDS before a Postgres that trusts whoever comes through it.
    pub async fn rds(identity: &Identity, target: String) -> Self {
        Self::start(identity, move |front, stream| {
            database(front, stream, target.clone())
        })
        .await
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    async fn start<F>(
        identity: &Identity,
        serve: impl Fn(Handshake, TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let front = Front {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
            cuts: watch::channel(0).0,
        };
        let handshake = Handshake {
            tls: acceptor(identity),
            seen: front.seen.clone(),
        };
        let (seen, cuts) = (front.seen.clone(), front.cuts.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.lock().unwrap().connections += 1;
                let served = serve(handshake.clone(), stream);
                let (seen, mut cut) = (seen.clone(), cuts.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = served => {}
                        _ = cut.changed() => {}
                    }
                    seen.lock().unwrap().ended += 1;
                });
            }
        });
        front
    }
}

#[derive(Clone)]
struct Handshake {
    tls: TlsAcceptor,
    seen: Arc<Mutex<Seen>>,
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(&identity.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// Passes Redis commands on; where one shows a token, makes it the user's password before.
async fn cache(
    handshake: Handshake,
    stream: TcpStream,
    user: &str,
    client: redis::Client,
    target: String,
) -> std::io::Result<()> {
    let mut stream = handshake.tls.accept(stream).await?;
    let mut server = TcpStream::connect(target).await?;
    let (mut question, mut answer) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            length = stream.read(&mut question) => {
                let question = &question[..length?];
                if question.is_empty() {
                    return Ok(());
                }
                if let Some(token) = token(question, user) {
                    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
                    let mut set = redis::cmd("ACL");
                    set.arg("SETUSER").arg(user).arg(&["reset", "on", "~*", "&*", "+@all"]);
                    set.arg(format!(">{token}")).exec_async(&mut redis).await.unwrap();
                    handshake.seen.lock().unwrap().tokens.push(token);
                }
                server.write_all(question).await?;
            }
            length = server.read(&mut answer) => {
                let answer = &answer[..length?];
                if answer.is_empty() {
                    return Ok(());
                }
                stream.write_all(answer).await?;
                stream.flush().await?;
            }
        }
    }
}

/// The token in `… user token …`, in RESP.
fn token(question: &[u8], user: &str) -> Option<String> {
    let text = String::from_utf8_lossy(question);
    if !text.contains("AUTH\r\n") {
        return None;
    }
    let (_, rest) = text.split_once(&format!("\r\n{user}\r\n"))?;
    rest.split("\r\n").nth(1).map(str::to_owned)
}

/// Lets Postgres's clients in, as RDS does: <https://www.postgresql.org/docs/current/protocol.html>.
async fn database(
    handshake: Handshake,
    mut stream: TcpStream,
    target: String,
) -> std::io::Result<()> {
    // `SSLRequest`: yes.
    message(&mut stream).await?;
    stream.write_all(b"S").await?;
    let mut stream: TlsStream<TcpStream> = handshake.tls.accept(stream).await?;
    let startup = message(&mut stream).await?;
    // `AuthenticationCleartextPassword`.
    stream.write_all(b"R\0\0\0\x08\0\0\0\x03").await?;
    stream.flush().await?;
    stream.read_u8().await?;
    let password = message(&mut stream).await?;
    let token = String::from_utf8_lossy(&password[4..password.len() - 1]).into_owned();
    handshake.seen.lock().unwrap().tokens.push(token);
    let mut server = TcpStream::connect(target).await?;
    server.write_all(&startup).await?;
    copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

/// A message without its type: its length, itself included, and the rest.
async fn message(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize(length as usize, 0);
    stream.read_exact(&mut message[4..]).await?;
    Ok(message)
}
