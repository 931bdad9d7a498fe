//! A connection to an address that was admitted, with TLS where the request says so.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use agentvm_policy::budget;
use agentvm_policy::egress::{Admitted, Host, Scheme};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use agentvm_policy::egress::Code;

/// Bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes TLS connections; the roots are the only say in whom to trust.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// TLS 1.2 and 1.3, without client certificates, trusting `roots`.
    ///
    /// # Errors
    ///
    /// Where the library offers none of these versions: never, as it is built.
    pub fn new(roots: rustls::RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

/// Connects to the first of `addresses` that answers, and to nothing else; the connection, and
/// which of them it was.
///
/// # Errors
///
/// The [`Code`] of the last one that did not.
pub async fn connect(
    tls: &Tls,
    scheme: Scheme,
    host: &Host,
    addresses: &[Admitted],
) -> Result<(Box<dyn Stream>, SocketAddr), Code> {
    let mut last = Code::ConnectionRefused;
    for &address in addresses {
        // The next one gets a turn while there is time for it.
        let tried = timeout(budget::ADDRESS_WITHIN.duration(), tcp(address)).await;
        match tried.unwrap_or(Err(Code::ConnectionTimeout)) {
            Ok(stream) => {
                let stream: Box<dyn Stream> = match scheme {
                    Scheme::Http => Box::new(stream),
                    Scheme::Https => secured(tls, host, stream).await?,
                };
                return Ok((stream, address.address()));
            }
            Err(code) => last = code,
        }
    }
    Err(last)
}

async fn tcp(address: Admitted) -> Result<TcpStream, Code> {
    let stream = socket(address)
        .map_err(|_no_descriptor_left| Code::Internal)?
        .connect(address.address())
        .await
        .map_err(|error| {
            if error.kind() == io::ErrorKind::TimedOut {
                Code::ConnectionTimeout
            } else {
                Code::ConnectionRefused
            }
        })?;
    // What was checked is what is spoken to, whatever is between here and the kernel.
    let is_same = stream
        .peer_addr()
        .is_ok_and(|peer| peer == address.address());
    if !is_same {
        return Err(Code::AddressProhibited);
    }
    Ok(stream)
}

/// A socket that is about to be connected, whose kernel buffers are bounded.
fn socket(address: Admitted) -> io::Result<TcpSocket> {
    let socket = if address.address().is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Small requests are what agents send; one that waits for more is a slow one.
    socket.set_nodelay(true)?;
    socket.set_send_buffer_size(budget::SOCKET_BYTES.u32())?;
    socket.set_recv_buffer_size(budget::SOCKET_BYTES.u32())?;
    Ok(socket)
}

async fn secured(tls: &Tls, host: &Host, stream: TcpStream) -> Result<Box<dyn Stream>, Code> {
    let name = match host {
        Host::Name(name) => ServerName::try_from(name.as_str().to_owned()),
        Host::Address(address) => Ok(ServerName::from(*address)),
    };
    let name = name.map_err(|_no_name_of_a_server| Code::TlsProtocol)?;
    match tls.0.connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(code_of(&error)),
    }
}

fn code_of(error: &io::Error) -> Code {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => Code::TlsCertificate,
        Some(_) => Code::TlsProtocol,
        None => Code::ConnectionRefused,
    }
}
