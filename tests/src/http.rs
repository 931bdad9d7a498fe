//! The smallest HTTP client: one request, one answer, over TCP or a Unix socket.
//!
//! Independent of every client in the product, so that it can judge the servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::Result;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// `GET` from a TCP server.
pub fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    exchange(stream, "GET", path)
}

/// `GET` from a Unix socket.
pub fn get_unix(socket: &Path, path: &str) -> Result<Answer> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    exchange(stream, "GET", path)
}

/// A loopback port that is free now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The loopback address of a port.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

// HTTP/1.0, so that the answer is never chunked and ends with the connection.
fn exchange(mut stream: impl Read + Write, method: &str, path: &str) -> Result<Answer> {
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: */*\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer is not HTTP")?;
    let status = head
        .split(' ')
        .nth(1)
        .context("the answer has no status")?
        .parse()?;
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}
