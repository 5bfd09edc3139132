//! Asking a server by HTTP/1.1.

use std::{io, sync::Arc};

use http::{HeaderValue, Request, Uri, header};
use hyper::{body::Body, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::tls::{self, Roots};

/// Why a server cannot be asked.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("the address is none")]
    Address,
    #[error("failed to connect")]
    Connect(#[from] io::Error),
    #[error("failed to speak HTTP")]
    Speak(#[from] hyper::Error),
}

/// Connects to the server of an address, by TLS where it is one of https: whom it then trusts, is either
/// these roots or the public ones. The connection ends with what is returned.
pub(crate) async fn connect<B>(
    uri: &Uri,
    roots: Option<&Roots>,
) -> Result<SendRequest<B>, ConnectError>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let host = uri.host().ok_or(ConnectError::Address)?;
    let host = host.trim_matches(['[', ']']);
    let is_tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    // What is sent is sent whole.
    let _ = stream.set_nodelay(true);
    if !is_tls {
        return handshake(stream).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Address)?;
    let connector = TlsConnector::from(Arc::new(tls::client(roots)));
    handshake(connector.connect(name, stream).await?).await
}

async fn handshake<S, B>(stream: S) -> Result<SendRequest<B>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A request as the server itself takes it (RFC 9112, section 3.2.1): its path, and `Host`.
pub(crate) fn to_origin<B>(mut request: Request<B>) -> Result<Request<B>, ConnectError> {
    let address = || ConnectError::Address;
    let authority = request.uri().authority().ok_or_else(address)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| address())?;
    let path = request.uri().path_and_query().ok_or_else(address)?.as_str();
    let path = path.parse().map_err(|_| address())?;
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = path;
    Ok(request)
}
