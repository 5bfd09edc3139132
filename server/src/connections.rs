//! HTTP/1.1 connections, from their acceptance to their end.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use metrics::gauge;
use shared::http::Context;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tower::Service;

use crate::routes::Routes;

/// How long a client may take to send a request's head: who sends it byte by byte holds nothing up.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// What streams take beyond the grace: their last frame, and leaving Redis.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How long nobody is accepted where the system has no more files.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts and serves connections; once asked to end, for no longer than the grace, or until all have
/// ended.
pub(crate) async fn serve(
    listener: TcpListener,
    front: Front,
    grace: Duration,
    asked_to_end: impl Future<Output = ()>,
) {
    let front = Arc::new(front);
    let (open, late) = (GracefulShutdown::new(), GracefulShutdown::new());
    tokio::select! {
        () = front.accept(&listener, &open, true) => {}
        () = asked_to_end => {}
    }
    // Who comes now is served, too: a balancer may not have heard yet that it ends.
    let ended = timeout(grace + LAST_WORDS, open.shutdown());
    tokio::select! {
        () = front.accept(&listener, &late, false) => {}
        _ = ended => {}
    }
    drop(listener);
    let _ = timeout(LAST_WORDS, late.shutdown()).await;
}

/// What all connections are served with.
pub(crate) struct Front {
    pub(crate) routes: Routes,
    /// How many proxies stand before it.
    pub(crate) proxies: usize,
}

impl Front {
    /// Accepts connections for ever.
    async fn accept(
        self: &Arc<Self>,
        listener: &TcpListener,
        open: &GracefulShutdown,
        keep_alive: bool,
    ) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.connected(stream, peer.ip(), open, keep_alive),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Serves a connection, until its client leaves: then whatever it asked for ends, too.
    fn connected(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        open: &GracefulShutdown,
        keep_alive: bool,
    ) {
        // A frame is sent the moment it is there.
        let _ = stream.set_nodelay(true);
        let front = self.clone();
        let service = service_fn(move |request| {
            let front = front.clone();
            async move { front.answer(request, peer).await }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .keep_alive(keep_alive)
            .serve_connection(TokioIo::new(stream), service);
        let served = open.watch(connection);
        tokio::spawn(async move {
            gauge!("Connections").increment(1.0);
            // Who leaves in the middle is no news.
            let _ = served.await;
            gauge!("Connections").decrement(1.0);
        });
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Result<Response, Infallible> {
        let mut request = request.map(Body::new);
        let context = Context {
            request_id: Some(format!("{:032x}", rand::random::<u128>())),
            deadline: None,
            source: Some(source(request.headers(), peer, self.proxies)),
        };
        request.extensions_mut().insert(context);
        let mut router = self.routes.of(request.uri().path()).clone();
        router.call(request).await
    }
}

/// From where a request came, as the outermost of so many proxies saw it: what stands before that in
/// `X-Forwarded-For`, anyone can have written.
fn source(headers: &HeaderMap, peer: IpAddr, proxies: usize) -> IpAddr {
    let lines = headers.get_all("x-forwarded-for").iter();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    let hops: Vec<IpAddr> = hops.filter_map(|hop| hop.trim().parse().ok()).collect();
    let hop = hops.len().checked_sub(proxies).filter(|_| proxies > 0);
    hop.and_then(|hop| hops.get(hop).copied()).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_proxies_have_written_is_believed() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "9.9.9.9, 1.1.1.1".parse().unwrap());
        headers.append("x-forwarded-for", "2.2.2.2".parse().unwrap());
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let of = |proxies| source(&headers, peer, proxies).to_string();
        assert_eq!(of(0), "127.0.0.1");
        assert_eq!(of(1), "2.2.2.2");
        assert_eq!(of(2), "1.1.1.1");
        assert_eq!(of(4), "127.0.0.1");
    }
}
