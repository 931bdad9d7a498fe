//! The certificate authorities that hosts are verified by: read once, before the jail closes.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file can't be read, or is no PEM.
    #[error("--root-certificates {} can't be read: {why}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file has a certificate that is none of an authority.
    #[error("--root-certificates {} has a certificate that can't be used", path.display())]
    Bad {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// There is no certificate at all.
    #[error("no certificate authority was found: name a PEM file by --root-certificates")]
    None,
}

/// Reads those of `file`, or of the system.
pub(crate) fn read(file: Option<&Path>) -> Result<RootCertStore, RootsError> {
    let roots = match file {
        Some(path) => of_file(path)?,
        None => of_system(),
    };
    if roots.is_empty() {
        return Err(RootsError::None);
    }
    Ok(roots)
}

/// Every certificate of the file counts: one that can't be read is a mistake of whoever wrote it.
fn of_file(path: &Path) -> Result<RootCertStore, RootsError> {
    let unreadable = |error: rustls::pki_types::pem::Error| RootsError::Unreadable {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        roots.add(certificate).map_err(|source| RootsError::Bad {
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(roots)
}

/// Systems have a few that no library reads.
fn of_system() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate authority of the system can't be read");
    }
    let mut roots = RootCertStore::empty();
    let (_added, _ignored) = roots.add_parsable_certificates(found.certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_authorities_or_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roots.pem");
        let missing = read(Some(&path)).unwrap_err().to_string();
        assert!(missing.contains("roots.pem"), "{missing}");
        std::fs::write(&path, "no PEM").unwrap();
        assert!(matches!(read(Some(&path)), Err(RootsError::None)));
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        assert_eq!(read(Some(&path)).unwrap().len(), 1);
    }
}
