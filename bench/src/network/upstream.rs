//! The host that all of them talk to: keeps connections, and says what it is asked for by path.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Where it listens: an address of the internet, in a network of the suite's own.
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(93, 184, 0, 1);
/// A small answer.
pub(super) const SMALL: &str = "/small";
/// A large one.
pub(super) const LARGE: &str = "/large";
/// One that begins, and does not go on.
pub(super) const OPEN: &str = "/open";

const SMALL_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"hello\":\"you\"}";

/// Listens from now on, with large answers of so many bytes.
pub(super) async fn listen(large_bytes: usize) -> Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((HOST, 80))).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, large_bytes));
        }
    });
    Ok(())
}

async fn serve(mut stream: TcpStream, large_bytes: usize) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8_lossy(&head);
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path.ends_with(SMALL) {
            stream.write_all(SMALL_ANSWER).await?;
        } else {
            let begin = format!("HTTP/1.1 200 OK\r\nContent-Length: {large_bytes}\r\n\r\n");
            stream.write_all(begin.as_bytes()).await?;
            if path.ends_with(OPEN) {
                stream.write_all(b"a").await?;
            } else {
                let piece = vec![b'a'; 64 << 10];
                for _ in 0..large_bytes / piece.len() {
                    stream.write_all(&piece).await?;
                }
            }
        }
    }
}
