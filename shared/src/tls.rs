//! Whom TLS trusts: the public roots, or those of a file.
//!
//! There is no way to skip verification: a certificate has to lead to a root, be of its time, and
//! name the host that was asked for.

use std::{fmt, sync::Arc};

use redis::{ConnectionAddr, ConnectionInfo, TlsCertificates};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The roots of a file, which stand instead of the public ones.
#[derive(Clone)]
pub struct Roots {
    store: RootCertStore,
    pem: Vec<u8>,
}

impl Roots {
    /// Reads a file of certificates; `None` where it cannot be read, or holds what is not one, or
    /// none at all.
    pub(crate) fn of_file(path: &str) -> Option<Self> {
        let pem = std::fs::read(path).ok()?;
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            store.add(certificate.ok()?).ok()?;
        }
        (!store.is_empty()).then_some(Roots { store, pem })
    }

    /// The same Redis, with these roots trusted; `None` where it is one without TLS.
    pub(crate) fn trusted_by(&self, redis: ConnectionInfo) -> Option<ConnectionInfo> {
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(self.pem.clone()),
        };
        let client = redis::Client::build_with_tls(redis, certificates).ok()?;
        Some(client.get_connection_info().clone())
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.store.len())
    }
}

/// Whether a Redis is reached over TLS.
pub(crate) fn is_used_by(redis: &ConnectionInfo) -> bool {
    matches!(redis.addr(), ConnectionAddr::TcpTls { .. })
}

/// How Postgres is spoken to where its URL asks for TLS.
pub(crate) fn for_postgres(roots: Option<&Roots>) -> MakeRustlsConnect {
    MakeRustlsConnect::new(client(roots))
}

/// A client that trusts these roots, or the public ones.
#[must_use]
pub fn client(roots: Option<&Roots>) -> ClientConfig {
    let roots = match roots {
        Some(roots) => roots.store.clone(),
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    #[expect(clippy::expect_used, reason = "ring has these versions")]
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3");
    config.with_root_certificates(roots).with_no_client_auth()
}
