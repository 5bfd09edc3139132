//! A certificate authority of a test's own.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// An authority, with a folder for what it makes.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A server's certificate and key, as files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority.
    #[must_use]
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        // By its name it is found; another of the same would merely have signed wrongly.
        let name = format!("authority {:08x}", rand::random::<u32>());
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let issuer = Issuer::new(parameters, key);
        Authority { issuer, folder }
    }

    /// The file with its certificate.
    #[must_use]
    pub fn file(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// A certificate for a host.
    #[must_use]
    pub fn identity(&self, host: &str) -> Identity {
        self.identity_until(host, 4000)
    }

    /// A certificate that was good until a year began.
    #[must_use]
    pub fn identity_until(&self, host: &str, year: i32) -> Identity {
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        parameters.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let path = |suffix: &str| self.folder.path().join(format!("{host}-{year}.{suffix}"));
        let identity = Identity {
            certificate: path("crt"),
            key: path("key"),
        };
        write(&identity.certificate, &certificate.pem());
        write(&identity.key, &key.serialize_pem());
        identity
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn write(path: &Path, pem: &str) {
    std::fs::write(path, pem).unwrap();
}
