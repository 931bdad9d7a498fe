//! An authority that the gateway is told to trust, and certificates of it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{Certificate, CertificateParams, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// An authority of a test's.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: Certificate,
}

impl Default for Authority {
    fn default() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            own,
        }
    }
}

impl Authority {
    /// Its certificate, as what is trusted.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.der().clone()).unwrap();
        roots
    }

    /// Writes its certificate down, as PEM.
    pub fn write(&self, path: &Path) {
        fs::write(path, self.own.pem()).unwrap();
    }

    /// Serves with a certificate for `name`.
    pub fn acceptor(&self, name: &str) -> TlsAcceptor {
        self.acceptor_of(name, |_good| {})
    }

    /// Serves with a certificate for `name` that `change` makes a bad one.
    pub fn acceptor_of(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        acceptor(certificate.der().clone(), &key)
    }
}

/// Serves with a certificate that nobody has signed.
pub fn self_signed(name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    acceptor(params.self_signed(&key).unwrap().der().clone(), &key)
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
