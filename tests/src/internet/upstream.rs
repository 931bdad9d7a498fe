//! A host on the internet: takes down every byte that reaches it, and answers as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

use super::message::{Message, Reader};

/// What has arrived.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Connections>>);

#[derive(Debug, Default)]
struct Connections {
    accepted: usize,
    closed: usize,
    bytes: Vec<Vec<u8>>,
    readers: Vec<Reader>,
    /// Bytes that were written to all of them.
    written: usize,
}

impl Seen {
    /// Connections, whether or not anything came by them.
    pub fn connections(&self) -> usize {
        self.0.lock().unwrap().accepted
    }

    /// What came by each connection that spoke.
    pub fn requests(&self) -> Vec<String> {
        let all = self.0.lock().unwrap();
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        all.bytes.iter().map(text).collect()
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        let all = self.0.lock().unwrap();
        all.accepted - all.closed
    }

    /// Every request, by connection.
    pub fn messages(&self) -> Vec<Vec<Message>> {
        let all = self.0.lock().unwrap();
        let of = |reader: &Reader| reader.messages().to_vec();
        all.readers.iter().map(of).collect()
    }

    /// How many requests came by each connection that spoke.
    pub fn counts(&self) -> Vec<usize> {
        self.messages().iter().map(Vec::len).collect()
    }

    /// Bytes that could be written.
    pub fn written(&self) -> usize {
        self.0.lock().unwrap().written
    }

    fn accept(&self) {
        self.0.lock().unwrap().accepted += 1;
    }

    fn close(&self) {
        self.0.lock().unwrap().closed += 1;
    }

    fn begin(&self) -> usize {
        let mut all = self.0.lock().unwrap();
        all.bytes.push(Vec::new());
        all.readers.push(Reader::default());
        all.bytes.len() - 1
    }

    fn add(&self, connection: usize, bytes: &[u8]) -> usize {
        let mut all = self.0.lock().unwrap();
        all.bytes[connection].extend(bytes);
        all.readers[connection].push(bytes)
    }

    fn wrote(&self, bytes: usize) {
        self.0.lock().unwrap().written += bytes;
    }
}

/// What is sent once a request's headers are there, for each request of a connection: pieces, with
/// a rest before each.
pub type Script = Vec<(Duration, Vec<u8>)>;

/// An answer that is sent at once, as it is.
pub fn at_once(text: &str) -> Script {
    vec![(Duration::ZERO, text.as_bytes().to_vec())]
}

/// An ordinary answer with this body.
pub fn ok(body: &str) -> Script {
    let length = body.len();
    at_once(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// Listens in the clear.
pub async fn plain(address: &str, script: Script) -> Seen {
    listen(address, script, None).await
}

/// Listens with TLS.
pub async fn secure(address: &str, script: Script, acceptor: TlsAcceptor) -> Seen {
    listen(address, script, Some(acceptor)).await
}

/// Listens in the clear; closes a connection when its second request comes.
#[expect(
    clippy::unused_async,
    reason = "it needs a runtime, and its kin may wait"
)]
pub async fn once(address: &str, script: Script) -> Seen {
    let seen = Seen::default();
    let listener = bind(address);
    let told = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            told.accept();
            let (told, script) = (told.clone(), script.clone());
            tokio::spawn(async move {
                talk(
                    stream,
                    vec![script, vec![(Duration::ZERO, CLOSE.to_vec())]],
                    &told,
                )
                .await;
                told.close();
            });
        }
    });
    seen
}

#[expect(
    clippy::unused_async,
    reason = "it needs a runtime, and its kin may wait"
)]
async fn listen(address: &str, script: Script, tls: Option<TlsAcceptor>) -> Seen {
    let listener = bind(address);
    let seen = Seen::default();
    let told = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            told.accept();
            let (told, script, tls) = (told.clone(), script.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => talk(stream, vec![script], &told).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            talk(stream, vec![script], &told).await;
                        }
                    }
                }
                told.close();
            });
        }
    });
    seen
}

/// A listener whose kernel buffers are small, so that what is written has almost arrived.
fn bind(address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
    .unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_send_buffer_size(16 << 10).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1_024).unwrap()
}

/// A piece of a script that closes the connection.
pub const CLOSE: &[u8] = b"(close)";

/// Takes down what comes, and plays a script for each request when its headers are there: one after
/// the other, and the last one for good.
async fn talk(stream: impl AsyncRead + AsyncWrite, scripts: Vec<Script>, seen: &Seen) {
    let (mut from, mut to) = tokio::io::split(stream);
    let connection = seen.begin();
    let (ready_tx, mut ready_rx) = tokio::sync::mpsc::unbounded_channel();
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            for _ in 0..seen.add(connection, &buffer[..length]) {
                let _gone = ready_tx.send(());
            }
        }
    };
    let writing = async {
        let mut number = 0;
        while let Some(()) = ready_rx.recv().await {
            let script = &scripts[number.min(scripts.len() - 1)];
            number += 1;
            for (rest, piece) in script {
                tokio::time::sleep(*rest).await;
                if piece == CLOSE {
                    return;
                }
                for part in piece.chunks(16 << 10) {
                    if to.write_all(part).await.is_err() || to.flush().await.is_err() {
                        return;
                    }
                    seen.wrote(part.len());
                }
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

/// Listens in the clear, and reads nothing at all.
pub fn deaf(address: &str) -> Seen {
    let listener = bind(address);
    let seen = Seen::default();
    let told = seen.clone();
    tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            told.accept();
            all.push(stream);
        }
    });
    seen
}
