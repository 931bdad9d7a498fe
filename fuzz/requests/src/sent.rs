//! What is sent of a permitted request, read by a parser that knows nothing of the one that wrote it.

use agentvm_gateway::forward::outgoing;
use agentvm_policy::egress::Permit;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;

/// The largest request that is written.
const MOST_BYTES: usize = 256 << 10;

/// One request on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Every `Host`.
    pub(crate) hosts: Vec<String>,
}

impl Sent {
    /// Writes a request without a body as the gateway does, and reads it back.
    pub(crate) fn of(permit: &Permit, headers: HeaderMap) -> Self {
        Self::read(&written(permit, headers))
    }

    fn read(bytes: &[u8]) -> Self {
        // Values of headers may be other than UTF-8.
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let (head, rest) = text.split_once("\r\n\r\n").expect("a head");
        assert_eq!(rest, "", "something follows the request");
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let parts: Vec<&str> = line.split(' ').collect();
        let &[method, target, "HTTP/1.1"] = parts.as_slice() else {
            panic!("{line:?} is no first line");
        };
        let mut sent = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            hosts: Vec::new(),
        };
        for line in lines {
            sent.field(line);
        }
        sent
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').expect("a header");
        let name = name.to_ascii_lowercase();
        assert!(
            !name.is_empty() && !line.starts_with([' ', '\t']),
            "{line:?}"
        );
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        let framing = ["transfer-encoding", "connection", "upgrade", "expect", "te"];
        assert!(!framing.contains(&name.as_str()), "{line:?}");
        if name == "host" {
            self.hosts.push(value.trim().to_owned());
        }
    }
}

fn written(permit: &Permit, headers: HeaderMap) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(MOST_BYTES);
        let handshake = http1::handshake(TokioIo::new(ours));
        let (mut sender, connection) = handshake.await.expect("a connection");
        let request = outgoing(permit.request(), headers, Empty::<Bytes>::new());
        let request = request.expect("what is permitted can be written");
        let asking = sender.send_request(request);
        let driving = async {
            let (_no_answer, _closed) = tokio::join!(asking, connection);
        };
        let mut bytes = Vec::new();
        let reading = async {
            while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                if theirs.read_buf(&mut bytes).await.expect("bytes") == 0 {
                    break;
                }
            }
        };
        tokio::select! {
            () = driving => {}
            () = reading => {}
        }
        bytes
    })
}
