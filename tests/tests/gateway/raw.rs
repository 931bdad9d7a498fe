//! HTTP/2 written by hand: what no library would send.

use std::time::Duration;

use agentvm_cell_api::gateway::VM_HEADER;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::world::UID;

/// What the gateway says to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// An answer of status 200.
    Ok,
    /// Another answer.
    No,
    /// No answer, but the end of the stream or of the channel.
    Reset,
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// The end of the headers, and of the stream.
const END: u8 = 5;
/// `:status: 200` of the static table.
const STATUS_200: u8 = 0x88;

/// Sends one request without a body: `:method`, `:scheme`, `:authority`, `:path`, as they are.
pub(crate) async fn ask(mut channel: UnixStream, request: [&[u8]; 4]) -> Said {
    let names: [&[u8]; 4] = [b":method", b":scheme", b":authority", b":path"];
    let mut block = Vec::new();
    for (name, value) in names.into_iter().zip(request) {
        block.extend(field(name, value));
    }
    block.extend(field(VM_HEADER.as_bytes(), UID.as_bytes()));
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    all.extend(frame(SETTINGS, 0, 0, &[]));
    all.extend(frame(HEADERS, END, 1, &block));
    channel.write_all(&all).await.unwrap();
    let within = Duration::from_secs(30);
    tokio::time::timeout(within, said(channel)).await.unwrap()
}

async fn said(mut channel: UnixStream) -> Said {
    let mut head = [0; 9];
    while channel.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if channel.read_exact(&mut payload).await.is_err() {
            break;
        }
        match head[3] {
            HEADERS if payload.first() == Some(&STATUS_200) => return Said::Ok,
            HEADERS => return Said::No,
            RESET | GOAWAY => return Said::Reset,
            _ => {}
        }
    }
    Said::Reset
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut all = vec![length[1], length[2], length[3], kind, flags];
    all.extend(stream.to_be_bytes());
    all.extend(payload);
    all
}

/// A header that is written out (RFC 7541, section 6.2.2), without Huffman's code.
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut all = vec![0];
    for text in [name, value] {
        all.extend(integer(text.len()));
        all.extend(text);
    }
    all
}

/// An integer with a prefix of seven bits.
fn integer(value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![u8::try_from(value).unwrap()];
    }
    let (mut all, mut rest) = (vec![127], value - 127);
    while rest >= 128 {
        all.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    all.push(u8::try_from(rest).unwrap());
    all
}
