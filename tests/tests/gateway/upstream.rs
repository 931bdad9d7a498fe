//! A host on the internet: takes down every byte that reaches it, and answers as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What has arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Connections>>);

#[derive(Debug, Default)]
struct Connections {
    accepted: usize,
    bytes: Vec<Vec<u8>>,
}

impl Seen {
    /// Connections, whether or not anything came by them.
    pub(crate) fn connections(&self) -> usize {
        self.0.lock().unwrap().accepted
    }

    /// What came by each connection that spoke.
    pub(crate) fn requests(&self) -> Vec<String> {
        let all = self.0.lock().unwrap();
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        all.bytes.iter().map(text).collect()
    }

    fn accept(&self) {
        self.0.lock().unwrap().accepted += 1;
    }

    fn begin(&self) -> usize {
        let mut all = self.0.lock().unwrap();
        all.bytes.push(Vec::new());
        all.bytes.len() - 1
    }

    fn add(&self, connection: usize, bytes: &[u8]) {
        self.0.lock().unwrap().bytes[connection].extend(bytes);
    }
}

/// What is sent once a request's headers are there: pieces, with a rest before each.
pub(crate) type Script = Vec<(Duration, Vec<u8>)>;

/// An answer that is sent at once, as it is.
pub(crate) fn at_once(text: &str) -> Script {
    vec![(Duration::ZERO, text.as_bytes().to_vec())]
}

/// An ordinary answer with this body.
pub(crate) fn ok(body: &str) -> Script {
    let length = body.len();
    at_once(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// Listens in the clear.
pub(crate) async fn plain(address: &str, script: Script) -> Seen {
    listen(address, script, None).await
}

/// Listens with TLS.
pub(crate) async fn secure(address: &str, script: Script, acceptor: TlsAcceptor) -> Seen {
    listen(address, script, Some(acceptor)).await
}

async fn listen(address: &str, script: Script, tls: Option<TlsAcceptor>) -> Seen {
    let listener = TcpListener::bind(address.parse::<SocketAddr>().unwrap())
        .await
        .unwrap();
    let seen = Seen::default();
    let told = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            told.accept();
            let (told, script, tls) = (told.clone(), script.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => talk(stream, script, told).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            talk(stream, script, told).await;
                        }
                    }
                }
            });
        }
    });
    seen
}

/// Takes down what comes, and plays the script when the headers are there.
async fn talk(stream: impl AsyncRead + AsyncWrite, script: Script, seen: Seen) {
    let (mut from, mut to) = tokio::io::split(stream);
    let connection = seen.begin();
    let (ready_tx, ready_rx) = tokio::sync::oneshot::channel();
    let reading = async {
        let (mut buffer, mut head) = ([0; 4096], Vec::<u8>::new());
        let mut ready_tx = Some(ready_tx);
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            seen.add(connection, &buffer[..length]);
            head.extend(&buffer[..length]);
            if head.windows(4).any(|end| end == b"\r\n\r\n")
                && let Some(ready_tx) = ready_tx.take()
            {
                let _gone = ready_tx.send(());
            }
        }
    };
    let writing = async {
        if ready_rx.await.is_ok() {
            for (rest, piece) in script {
                tokio::time::sleep(rest).await;
                if to.write_all(&piece).await.is_err() || to.flush().await.is_err() {
                    break;
                }
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

/// An authority, and certificates of it.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    /// Serves with a certificate for `name`; `change` makes it a bad one.
    pub(crate) fn acceptor(
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
pub(crate) fn self_signed(name: &str) -> TlsAcceptor {
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
