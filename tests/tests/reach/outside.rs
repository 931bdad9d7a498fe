//! The internet: a name server and a few hosts, on a thread in a network of its own.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use agentvm_tests::node;
use tokio::sync::oneshot;

use agentvm_tests::internet::authority::Authority;
use agentvm_tests::internet::dns::{self, Dns};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{self, Script, Seen};

/// By https, for one who has the key.
pub(crate) const API: &str = "api.example.com";
/// By http.
pub(crate) const PLAIN: &str = "plain.example.com";
/// By http, with an answer that goes on for minutes.
pub(crate) const STREAM: &str = "stream.example.com";

/// It ends when this is dropped.
pub(crate) struct Outside {
    pub(crate) place: node::Outside,
    /// What [`API`] was sent.
    pub(crate) api: Seen,
    /// What [`PLAIN`] was sent.
    pub(crate) plain: Seen,
    pub(crate) dns: Dns,
    _stop: oneshot::Sender<()>,
    _thread: JoinHandle<()>,
}

struct Hosts {
    network: PathBuf,
    dns: Dns,
    api: Seen,
    plain: Seen,
}

impl Outside {
    /// Starts it; the certificate of its authority goes into `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        let roots = dir.join("roots.pem");
        let (ready_tx, ready_rx) = mpsc::channel();
        let (stop_tx, stop_rx) = oneshot::channel::<()>();
        let certificate = roots.clone();
        let thread = std::thread::spawn(move || {
            alone(move || async move {
                let hosts = Hosts::listen(&certificate).await;
                ready_tx.send(hosts).unwrap();
                let _dropped = stop_rx.await;
            });
        });
        let Hosts {
            network,
            dns,
            api,
            plain,
        } = ready_rx.recv().unwrap();
        Self {
            place: node::Outside {
                network,
                name_server: dns::ADDRESS,
                root_certificates: roots,
            },
            api,
            plain,
            dns,
            _stop: stop_tx,
            _thread: thread,
        }
    }
}

impl Hosts {
    async fn listen(certificate: &Path) -> Self {
        let authority = Authority::default();
        authority.write(certificate);
        let dns = Dns::start().await;
        for (name, address) in [
            (API, "93.184.215.1"),
            (PLAIN, "93.184.215.2"),
            (STREAM, "93.184.215.3"),
        ] {
            dns.addresses(name, &[address]);
        }
        let acceptor = authority.acceptor(API);
        let api = upstream::secure("93.184.215.1:443", upstream::ok("api"), acceptor).await;
        let plain = upstream::plain("93.184.215.2:80", upstream::ok("plain")).await;
        let _endless = upstream::plain("93.184.215.3:80", endless()).await;
        let (process, thread) = (std::process::id(), rustix::thread::gettid());
        Self {
            network: format!("/proc/{process}/task/{thread}/ns/net").into(),
            dns,
            api,
            plain,
        }
    }
}

/// An answer that goes on, a byte at a time.
fn endless() -> Script {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let mut script = vec![(Duration::ZERO, head.to_vec())];
    script.extend((0..10_000).map(|_| (Duration::from_millis(50), b"x".to_vec())));
    script
}
